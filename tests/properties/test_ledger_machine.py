"""The real ledger lives beside a model: whatever is done to a wallet, in whatever order, both say the same.

Top-ups (also twice, also the same money again), grants, holds, captures below and above them, voids, expiry by the clock,
rated and given usage, repeated usage, bulk sequences with gaps, changing prices and policies, freezing, and restarts of the
whole writer. After every step: books balanced, rebuilt equal to materialised, no forbidden negative, lots and holds add up,
usage equal to its journal, the hash chain whole.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.database.unit import Changes, Unit, View
from orchestrator.errors import Conflict, Refusal
from orchestrator.ledger import grants
from orchestrator.ledger.expiry import CreditExpiry
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.holds import HoldTerms
from orchestrator.ledger.rebuild import verify
from orchestrator.metering.usage_input import read_event
from tests.integration.database.units import CENT, top_up
from tests.integration.metering.desk import MODE, Desk, opened_desk
from tests.support.databases import DatabaseKind, Databases
from tests.support.wallet_model import FOREVER, ModelLot, ModelWallet

EXAMPLES = 150 if settings.default is not None and settings.default.max_examples > 100 else 12
"""Each is a story over a real database; ``make soak`` lives through many more."""
NANO = st.integers(1, 3 * CENT)
SECOND_US = 1_000_000
PRICES = ("0.0000000000333", "0.00000015", "0.00000000777")

steps = st.one_of(
    st.tuples(st.just("top_up"), st.integers(0, 5), st.integers(1, 4)),
    st.tuples(
        st.just("grant"), NANO, st.sampled_from(["promotional", "compensation"]), st.none() | st.integers(1, 300)
    ),
    st.tuples(st.just("use"), st.lists(NANO, min_size=1, max_size=4)),
    st.tuples(st.just("rate"), st.lists(st.integers(1, 10**7), min_size=1, max_size=3)),
    st.tuples(st.just("again"), st.integers(0, 30)),
    st.tuples(st.just("sequence"), st.integers(-2, 2), NANO),
    st.tuples(st.just("hold"), NANO, st.integers(1, 300)),
    st.tuples(st.just("hold"), NANO, st.integers(1, 300)),
    st.tuples(st.just("capture"), st.integers(0, 9), st.integers(0, 5 * CENT)),
    st.tuples(st.just("void"), st.integers(0, 9)),
    st.tuples(st.just("wait"), st.integers(1, 200)),
    st.tuples(st.just("expire")),
    st.tuples(st.just("policy"), st.sampled_from([("hard", 0), ("grace", 2 * CENT), ("debt", 0)])),
    st.tuples(st.just("freeze"), st.booleans()),
    st.tuples(st.just("price"), st.sampled_from(PRICES), st.integers(0, 5000)),
    st.tuples(st.just("restart")),
)
STORIES = st.lists(steps, min_size=5, max_size=25)


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(story=STORIES)
def test_the_ledger_says_the_same_as_a_model_after_every_step(
    databases: Databases, database_kind: DatabaseKind, tmp_path: Path, story: list[tuple[Any, ...]]
) -> None:
    url, remove = databases.migrated(database_kind, Path(mkdtemp(dir=tmp_path)))
    asyncio.run(_live(url, [("top_up", 0, 3), *story]))
    remove()


@dataclass
class Life:
    """One wallet, its model, and what was said about it."""

    url: str
    desk: Desk
    wallet: str = ""
    model: ModelWallet = field(default_factory=ModelWallet)
    money: set[int] = field(default_factory=set)
    told: list[tuple[dict[str, Any], str | None]] = field(default_factory=list)
    """Events with what was charged for them; None where they were refused."""
    next_sequence: int = 1
    price: Fraction = Fraction(0)

    @property
    def holds(self) -> Holds:
        services = self.desk.services
        return Holds(services.writer, services.reads, services.clock)

    @property
    def now_us(self) -> int:
        return self.desk.services.clock.now_us()


async def _live(url: str, story: list[tuple[Any, ...]]) -> None:
    async with AsyncExitStack() as stack:
        life = Life(url, await stack.enter_async_context(opened_desk(url)))
        life.wallet = await life.desk.wallet()
        await _set_price(life, PRICES[0], 0)
        for step in story:
            if step == ("restart",):
                before = life.desk
                await stack.aclose()
                life.desk = await stack.enter_async_context(opened_desk(url))
                life.desk.merchant, life.desk.key = before.merchant, before.key
                life.desk.services.clock.ahead_us = before.services.clock.ahead_us
            else:
                await _take(life, step)
            await _agree(life)


async def _take(life: Life, step: tuple[Any, ...]) -> None:
    desk = life.desk
    match step:
        case ("top_up", int(number), int(cents)):
            await _top_up(life, number, cents)
        case ("grant", int(units), str(kind), lives):
            await _grant(life, units, kind, lives)
        case ("use", list(amounts)):
            events = [desk.event(life.wallet) | {"amount": f"0.{units:09}"} for units in amounts]
            for event in events:
                del event["tokens"], event["model"]
            await _use(life, events, [Fraction(units) for units in amounts])
        case ("rate", list(quantities)):
            events = [desk.event(life.wallet, "odd", input=quantity) for quantity in quantities]
            await _use(life, events, [quantity * life.price for quantity in quantities])
        case ("again", int(number)) if life.told:
            event, charged = life.told[number % len(life.told)]
            result = (await _record(life, [event]))[0]
            assert result["status"] == ("rejected" if charged is None else "duplicate")
        case ("sequence", int(offset), int(units)):
            await _sequence(life, offset, units)
        case _:
            await _take_other(life, step)


async def _take_other(life: Life, step: tuple[Any, ...]) -> None:
    desk, model = life.desk, life.model
    match step:
        case ("hold", int(units), int(lives_s)):
            await _hold(life, units, lives_s * SECOND_US)
        case ("capture", int(number), int(units)) if model.holds:
            await _capture(life, number, units)
        case ("void", int(number)) if model.holds:
            await _void(life, number)
        case ("wait", int(seconds)):
            desk.services.clock.ahead_us += seconds * SECOND_US
        case ("expire",):
            await _expire(life)
        case ("policy", (str(policy), int(limit))):
            await desk.set_wallet(life.wallet, overdraft=policy, overdraft_units=limit)
            model.policy, model.limit = policy, limit
        case ("freeze", bool(frozen)):
            await desk.set_wallet(life.wallet, status="frozen" if frozen else "active")
            model.frozen = frozen
        case ("price", str(price), int(markup_bps)):
            await _set_price(life, price, markup_bps)


async def _set_price(life: Life, price: str, markup_bps: int) -> None:
    await life.desk.price({"odd": {"input": price}}, markup_bps=markup_bps)
    life.price = Fraction(price) * 10**9 * (10_000 + markup_bps) / 10_000


async def _top_up(life: Life, number: int, cents: int) -> None:
    """Credit one of six monies; the second time it is the same money again, whatever amount it names."""
    writer = life.desk.services.writer
    name = f"m{number}"
    unit = top_up(name, cents, wallet=life.wallet, merchant=life.desk.merchant)
    applied = await asyncio.gather(*(writer.submit(unit) for _ in range(2)))
    credited = [one.answer["credited"] for one in applied]
    assert credited == ([0, 0] if number in life.money else [cents * CENT, 0])
    if number not in life.money:
        life.money.add(number)
        lots = [row for row in await life.desk.rows("lot") if row["source"] == f"cap_{life.desk.merchant}_{name}"]
        left = cents * CENT - life.model.debt
        assert [row["units"] for row in lots] == ([left] if left > 0 else [])
        life.model.credit(cents * CENT, ModelLot(lots[0]["id"], "paid", 0) if lots else None)


async def _grant(life: Life, units: int, kind: str, lives_s: int | None) -> None:
    desk = life.desk
    expires_us = None if lives_s is None else life.now_us + lives_s * SECOND_US
    lot_id = f"lot_g{len(life.model.lots):03}"
    grant = grants.Grant(desk.merchant, MODE, lot_id, life.wallet, kind, units, 0, expires_us, "a story")

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        return {"lot": grants.give(view, changes, grant)["id"]}

    unit = Unit(desk.merchant, MODE, None, grants.grant_locks(grant), decide)
    await asyncio.gather(*(desk.services.writer.submit(unit) for _ in range(2)))
    life.model.lots.append(ModelLot(lot_id, kind, units, FOREVER if expires_us is None else expires_us))


async def _record(life: Life, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    read = [read_event(event) for event in events]
    answer = await life.desk.services.metering.record(life.desk.merchant, MODE, read)
    results: list[dict[str, Any]] = answer["results"]
    return results


async def _use(life: Life, events: list[dict[str, Any]], costs: list[Fraction]) -> None:
    results = await _record(life, events)
    for event, cost, result in zip(events, costs, results, strict=True):
        charged = life.model.rate(cost, life.now_us)
        assert (result["status"] == "accepted") == (charged is not None), result
        if charged is not None:
            assert Fraction(result["amount"]) * 10**9 == charged
        life.told.append((event, result.get("amount")))


async def _sequence(life: Life, offset: int, units: int) -> None:
    sequence = max(1, life.next_sequence + offset)
    event = {"producer": "p", "epoch": 1, "sequence": sequence, "wallet": life.wallet, "amount": f"0.{units:09}"}
    result = (await _record(life, [event]))[0]
    if sequence < life.next_sequence:
        assert result["status"] == "duplicate"
    elif sequence > life.next_sequence:
        assert (result["reason"], result["expected"]) == ("sequence_gap", life.next_sequence)
    else:
        life.next_sequence += 1
        assert (result["status"] == "accepted") == (life.model.rate(Fraction(units), life.now_us) is not None)


async def _hold(life: Life, units: int, lives_us: int) -> None:
    id_ = f"hold_{len(life.model.holds):03}"
    terms = HoldTerms(life.desk.merchant, MODE, id_, life.wallet, "hold", units, lives_us)
    try:
        held = await life.holds.make(terms)
    except Refusal:
        assert life.model.frozen or units > life.model.spendable(life.now_us)
        return
    assert held["status"] == "open"
    assert life.model.hold(id_, units, life.now_us, lives_us)
    row = next(row for row in await life.desk.rows("hold") if row["id"] == id_)
    life.model.holds[id_].expires_us = row["expires_us"]


async def _capture(life: Life, number: int, units: int) -> None:
    hold = list(life.model.holds.values())[number % len(life.model.holds)]
    possible = life.model.capture(hold, units, life.now_us)
    for _ in range(2):  # asked again, it says the same and charges nothing
        try:
            await life.holds.capture(life.desk.merchant, MODE, hold.id, "hold", units)
        except Conflict:
            assert not possible
        else:
            assert possible


async def _void(life: Life, number: int) -> None:
    hold = list(life.model.holds.values())[number % len(life.model.holds)]
    try:
        await life.holds.void(life.desk.merchant, MODE, hold.id, "hold")
    except Conflict:
        assert hold.status == "captured"
        return
    assert hold.status != "captured"
    if hold.status == "open":
        life.model.give_back(hold, "voided")


async def _expire(life: Life) -> None:
    """Let both workers look: holds first, then credit."""
    services = life.desk.services
    now_us = life.now_us
    await life.holds.expire_due()
    for hold in life.model.holds.values():
        if hold.status == "open" and hold.expires_us <= now_us:
            life.model.give_back(hold, "expired")
    await CreditExpiry(services.writer, services.reads, services.clock).expire_due()
    life.model.expire_lots(now_us)


async def _agree(life: Life) -> None:
    desk, model = life.desk, life.model
    await desk.assert_sound()
    chain = await verify(desk.services.reads, life.now_us)
    assert chain.ok, chain.findings
    accounts: Counter[str] = Counter()
    for row in await desk.rows("account"):
        if row["merchant_id"] == desk.merchant and row["asset"] == "USD/9":
            accounts[row["code"]] += row["balance"]
    wallet = {code: units for code, units in accounts.items() if code.startswith("wallet:") and units}
    assert wallet == model.accounts()
    assert accounts["merchant:pending"] == -model.used_paid
    assert accounts["promo:funding"] == sum(lot.free + lot.held for lot in model.lots if lot.kind != "paid")
    assert accounts["merchant:unfunded"] == -model.debt
    assert Fraction((await desk.one_wallet(life.wallet))["rating_remainder"], 10**13) == model.carry
