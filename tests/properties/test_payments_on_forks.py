"""Whatever a chain does (forks there and back, transfers in other blocks, crashes): each transfer is credited at most once.

A chain and the payments on it beside a small model: what lies deep enough on the branch that is in force is credited
(small sums before that, provisionally), what fell away is taken back, spent or not, and what came back is credited again.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.base import BlockScan, FinalityRule, FinalityTier
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ids import new_id
from orchestrator.ledger.purse import Purse, purse_locks
from rates.money import WALLET_USD, Money
from tests.integration.payments.chain_scene import CONFIRMATIONS, ChainScene, Paid, ScriptedChain, opened_chain, pay
from tests.integration.payments.scene import MERCHANT, MODE

EARLY = FinalityRule(
    CONFIRMATIONS,
    tiers=(FinalityTier(Money(10**10, WALLET_USD), 1), FinalityTier(Money(10**11, WALLET_USD), 2)),
    customer_max=Money(5 * 10**10, WALLET_USD),
    chain_max=Money(10**12, WALLET_USD),
    merchant_unsecured=Money(10**12, WALLET_USD),
)
EXAMPLES = 120 if settings.default is not None and settings.default.max_examples > 100 else 10

steps = st.one_of(
    st.tuples(st.just("mine"), st.integers(1, 4)),
    st.tuples(st.just("pay"), st.sampled_from(["exact", "half", "other"]), st.integers(1, 2)),
    st.tuples(st.just("fork"), st.integers(1, 7), st.booleans()),
    st.tuples(st.just("spend"), st.integers(1, 9)),
    st.tuples(st.just("back")),
    st.tuples(st.just("look")),
    st.tuples(st.just("crash"), st.integers(1, 3)),
    st.tuples(st.just("session")),
    st.tuples(st.just("late")),
)  # fmt: skip


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(story=st.lists(steps, min_size=3, max_size=16))
def test_each_transfer_is_credited_at_most_once_and_exactly_once_where_it_stays(
    sqlite_url: str, story: list[tuple[Any, ...]]
) -> None:
    asyncio.run(_live(sqlite_url, story))


async def _live(url: str, story: list[tuple[Any, ...]]) -> None:
    chain = ScriptedChain(chain=f"eip155:{new_id('c')}", finality=EARLY)  # each story has a chain of its own
    customer = new_id("c")
    branches: list[list[BlockScan]] = []
    async with opened_chain(url, chain) as scene:
        address, attempt = await scene.awaiting("20", customer)
        for step in story:
            if step[0] == "spend":
                await _spend(scene, attempt, step[1])
            else:
                await _take(scene, branches, step, address, attempt["units"], customer)
            await _sound(scene)
        chain.mine(count=12 + CONFIRMATIONS)  # longer than any fork of this story: everything is decided
        for _ in range(3):
            await scene.look()
        await _sound(scene)
        await _decided(scene)


async def _take(
    scene: ChainScene, branches: list[list[BlockScan]], step: tuple[Any, ...], address: bytes, units: int, customer: str
) -> None:
    chain = scene.chain
    match step:
        case ("mine", int(count)):
            chain.mine(count=count)
        case ("pay", str(how), int(times)):
            amount = {"exact": units, "half": units // 2, "other": 7_000_000}[how]
            chain.mine(pay(address, *[amount] * times))
        case ("fork", int(depth), bool(again)):
            _fork(chain, branches, depth, again=again)
        case ("back",):
            chain.put_back(branches.pop() if branches else chain.blocks)
            chain.mine(count=6)
        case ("look",):
            await scene.look()
        case ("crash", int(blocks)):  # blocks are stored, the process ends before anything is credited
            await _crash(scene, blocks)
        case ("session",):
            await scene.awaiting("20", customer)
        case ("late",):
            scene.clock.pass_by(hours=1)


def _fork(chain: ScriptedChain, branches: list[list[BlockScan]], depth: int, *, again: bool) -> None:
    """Replace the newest blocks, but for the first of all; ``again``: what they held is mined in the next one."""
    depth = min(depth, len(chain.blocks) - 1)
    if depth == 0:
        return
    dropped = [transfer for block in chain.blocks[-depth:] for transfer in block.transfers]
    branches.append(chain.drop(depth))
    chain.mine(count=depth + 1)
    if again:
        last = chain.blocks[-1]
        chain.blocks[-1] = BlockScan(last.chain, last.header, tuple(dropped))


async def _crash(scene: ChainScene, blocks: int) -> None:
    await scene.deposits.book.refresh("test", "evm")
    for _ in range(blocks):
        cursor = await _cursor(scene)
        if cursor["number"] < (await scene.chain.head()).latest:
            await scene.watch._step(scene.watch.network, cursor)


async def _cursor(scene: ChainScene) -> dict[str, Any]:
    return (await scene.all(tables.ChainCursor, network=scene.watch.network.name))[0]


async def _deposits(scene: ChainScene) -> list[dict[str, Any]]:
    return await scene.all(tables.Deposit, network=scene.watch.network.name)


async def _spend(scene: ChainScene, attempt: dict[str, Any], tenths: int) -> None:
    """Use a part of what the wallet has, if it may be used."""
    wallet = attempt["wallet_id"]

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        purse = Purse.open(view, MERCHANT, MODE, wallet)
        if purse.wallet["status"] == "active":
            purse.charge(purse.available * tenths // 10)
            purse.write(changes, kind="used", fact=new_id("use"))
        return {}

    await scene.writer.submit(Unit(MERCHANT, MODE, None, purse_locks(MERCHANT, MODE, wallet), decide))


async def _sound(scene: ChainScene) -> None:
    await scene.assert_books()
    await scene.assert_payments()
    for row in await _deposits(scene):
        posted = [entry["kind"] for entry in await scene.all(tables.JournalEntry, fact=row["id"])]
        assert posted in ([], ["topup"], ["suspense"]), "credited for the first time once"
        lives = [entry for entry in await scene.all(tables.JournalEntry) if entry["fact"].startswith(f"{row['id']}/")]
        ups = len(posted) + sum(entry["kind"] in {"topup_again", "suspense_again"} for entry in lives)
        downs = sum(entry["kind"] in {"topup_orphaned", "suspense_orphaned"} for entry in lives)
        assert ups - downs == (row["status"] in {"credited", "unallocated"}), row


async def _decided(scene: ChainScene) -> None:
    on_branch = {
        (transfer.tx_hash, transfer.receipt_ordinal) for block in scene.chain.blocks for transfer in block.transfers
    }
    rows = {(row["tx_hash"], row["ordinal"]): row for row in await _deposits(scene)}
    seen_late = {key for key in on_branch if key not in rows}
    assert not seen_late, "every transfer on the branch in force was seen"
    for key, row in rows.items():
        assert row["status"] == ("credited" if key in on_branch else "orphaned"), row


def test_the_model_names_its_transactions_apart() -> None:
    assert pay(b"x", 1).transfers()[0].tx_hash != Paid(b"x", (1,)).transfers()[0].tx_hash
