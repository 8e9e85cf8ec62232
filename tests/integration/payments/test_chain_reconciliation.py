"""``crossrail reconcile`` of a chain: balances of addresses x deposits x journal, and every way in which they can differ."""

from __future__ import annotations

import pytest

from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.reconciliation.chains import ChainDesk
from orchestrator.reconciliation.reports import AccountReport, Standing
from rates.money import Asset, Money
from tests.integration.payments.chain_scene import (
    ACCOUNT,
    CONFIRMATIONS,
    RAIL,
    ChainScene,
    opened_chain,
    pay,
)
from tests.integration.payments.scene import MERCHANT, MODE

USDT = Asset("USDT", 6)


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


async def reconciled(scene: ChainScene) -> AccountReport:
    desk = ChainDesk(scene.writer, scene.reads, {(RAIL, ACCOUNT): scene.chain}, scene.clock)
    return await desk.run(RAIL, ACCOUNT)


def usdt(report: AccountReport) -> Standing:
    return next(one for one in report.standings if one.asset == str(USDT))


async def paid(scene: ChainScene, customer: str = "c", blocks: int = CONFIRMATIONS) -> tuple[bytes, int]:
    address, attempt = await scene.awaiting(customer=customer)
    scene.chain.mine(pay(address, attempt["units"]), count=blocks)
    await scene.look()
    return address, int(attempt["units"])


async def test_what_lies_there_is_what_came_and_what_the_journal_says(url: str) -> None:
    async with opened_chain(url) as scene:
        units = sum([(await paid(scene, customer))[1] for customer in ("one", "two", "three")])
        address, waiting = await paid(scene, "four", 1)  # seen, not final
        scene.chain.mine(pay(address, 3))  # dust, or unallocated
        await scene.look()
        report = await reconciled(scene)
        assert report.ok, report.to_json()
        standing = usdt(report)
        assert standing.rail == units + waiting + 3
        assert standing.books + standing.not_booked == standing.rail
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        after = await reconciled(scene)
        assert after.ok, after.to_json()
        assert usdt(after).books >= units + waiting
        await scene.assert_books()


@pytest.mark.parametrize(("more", "broken"), [(5_000_000, "missing_here"), (-5_000_000, "missing_there")])
async def test_tokens_that_no_log_showed_are_a_break_and_a_review(url: str, more: int, broken: str) -> None:
    async with opened_chain(url) as scene:
        address, _ = await paid(scene)
        scene.chain.issued_without_a_log[address] = more
        report = await reconciled(scene)
        assert not report.ok
        assert {found["type"] for found in report.breaks} == {broken}
        assert report.breaks[0]["object"] == scene.chain.show_address(address)
        assert report.breaks[0]["amount"] == ("5" if more > 0 else "-5")
        assert usdt(report).unexplained == -more
        for _ in range(2):
            await reconciled(scene)
        reviews = [row for row in await scene.all(tables.Review) if row["reason"] == "address_balance_differs"]
        assert len(reviews) == len(report.breaks), "told once"
        scene.chain.issued_without_a_log.clear()
        assert (await reconciled(scene)).ok


async def test_a_block_that_is_not_read_yet_waits_and_is_no_break(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.reconciliation.chains.CATCH_UP_S_MAX", 0.0)
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        report = await reconciled(scene)
        assert (report.ok, report.waiting, usdt(report).not_reported) == (True, 1, -attempt["units"]), report.to_json()
        await scene.look()
        assert (await reconciled(scene)).ok


async def test_a_journal_that_says_more_than_the_chain_is_unexplained(url: str) -> None:
    async with opened_chain(url) as scene:
        await paid(scene)
        money, network = Money(1_000_000, USDT), scene.watch.network.name

        def decide(_view: View, changes: Changes) -> dict[str, object]:
            changes.post(
                entry("wrong", "f", debit(Account.CHAIN_FINAL, money, network), credit(Account.SUSPENSE, money, "x"))
            )
            return {}

        await scene.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
        report = await reconciled(scene)
        assert (report.ok, usdt(report).unexplained, report.breaks) == (False, 1_000_000, [])


async def test_a_deposit_that_nobody_was_asked_about_is_a_break(url: str) -> None:
    async with opened_chain(url) as scene:
        address, _ = await paid(scene)
        (row,) = await scene.all(tables.Deposit)

        def decide(_view: View, changes: Changes) -> dict[str, object]:
            changes.update("deposit", (row["merchant_id"], row["id"]), status="unallocated")
            return {}

        lock = row_lock("deposit", row["merchant_id"], row["id"])
        await scene.writer.submit(Unit(MERCHANT, MODE, None, (lock,), decide))
        report = await reconciled(scene)
        assert [(one["type"], one["kind"], one["object"]) for one in report.breaks] == [
            ("missing_here", "deposit", row["id"])
        ]
        assert address in {bytes(one["recipient"]) for one in await scene.all(tables.Deposit)}


@pytest.mark.parametrize("kept", [True, False], ids=["a final block", "the newest block only"])
async def test_the_report_says_at_which_block_a_difference_was_judged(url: str, kept: bool) -> None:
    async with opened_chain(url) as scene:
        scene.chain.keeps_old_state = kept
        address, _ = await paid(scene)
        scene.chain.mine(count=2)
        await scene.look()
        head = await scene.chain.head()
        assert (await reconciled(scene)).to_json()["compared_at"] == {"block": head.latest, "finality": "newest"}
        scene.chain.issued_without_a_log[address] = 5_000_000
        report = await reconciled(scene)
        assert {found["type"] for found in report.breaks} == {"missing_here"}
        block, word = (head.finalized, "finalized") if kept else (head.latest, "newest_twice")
        assert report.to_json()["compared_at"] == {"block": block, "finality": word}
        assert usdt(report).unexplained == -5_000_000


async def test_what_is_not_final_yet_is_no_break_where_the_chain_names_its_final_block(url: str) -> None:
    """Twice the same difference in the newest block was a break, and a reorganization could take it back."""
    async with opened_chain(url) as scene:
        scene.chain.keeps_old_state = True
        address, _ = await paid(scene)
        scene.chain.issued_without_a_log[address] = 5_000_000
        scene.chain.issued_at = len(scene.chain.blocks) - 1
        report = await reconciled(scene)
        assert (report.ok, report.breaks) == (True, []), report.to_json()
        assert report.waiting >= 1
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        report = await reconciled(scene)
        assert {found["amount"] for found in report.breaks} == {"5"}


async def test_a_final_block_that_the_scanner_has_not_read_is_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.reconciliation.chains.CATCH_UP_S_MAX", 0.0)
    async with opened_chain(url) as scene:
        scene.chain.keeps_old_state = True
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]), count=CONFIRMATIONS)  # final, and nobody has looked
        report = await reconciled(scene)
        assert (report.ok, report.waiting) == (True, 1), report.to_json()
        await scene.look()
        report = await reconciled(scene)
        assert (report.ok, report.compared_at) == (True, {"block": len(scene.chain.blocks) - 1, "finality": "newest"})


async def test_a_new_deposit_beside_a_break_changes_nothing_of_the_break(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.reconciliation.chains.CATCH_UP_S_MAX", 0.0)
    async with opened_chain(url) as scene:
        scene.chain.keeps_old_state = True
        address, _ = await paid(scene)
        scene.chain.issued_without_a_log[address] = 5_000_000
        scene.chain.mine(pay(address, 7_000_000))  # not final, and not read yet
        report = await reconciled(scene)
        assert {found["amount"] for found in report.breaks} == {"5"}
        assert usdt(report).unexplained == -5_000_000
