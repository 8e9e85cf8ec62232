"""What happens in ``properties.test_money_back_machine``, and what must hold after each step. See ``money_back_life``."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from typing import Any

import orjson

from adapters.operations import DisputeState, Funds, RefundState
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.errors import Conflict, Refusal
from orchestrator.ledger import grants
from orchestrator.ledger.check import check
from orchestrator.ledger.earnings import Earnings
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.holds import HoldTerms
from orchestrator.ledger.payouts import Payouts, PayoutWanted
from orchestrator.ledger.rebuild import verify
from orchestrator.metering.price_book import NewVersion, PriceBook
from orchestrator.metering.price_content import Content, model_prices
from orchestrator.metering.rerating import Reratings
from orchestrator.metering.usage import Metering
from orchestrator.metering.usage_input import read_event
from orchestrator.payments.disputes import Disputes
from orchestrator.payments.payment import Fact, fold
from orchestrator.payments.pricing import Price
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.payments.refunds import Refunds
from orchestrator.settings import DisputePolicy, RefundPolicy
from rates.money import Money
from tests.integration.payments.scene import ACCOUNT, BRL, MERCHANT, MODE, RAIL, Scene, opened_scene
from tests.support.money_back_disputes import look, make_room, tell_dispute
from tests.support.money_back_life import BANK, ENDED, RETURNS, TIERS, USD, Life, Paid, RefundRail, refund_event

__all__ = ["USD", "live"]


async def live(url: str, story: list[tuple[Any, ...]]) -> None:
    async with opened_scene(url) as scene:
        life = await _begin(scene)
        for step in story:
            await _take(life, step)
            await _agree(life)


async def _begin(scene: Scene) -> Life:
    writer, reads, clock = scene.writer, scene.reads, scene.clock
    prices, rails = PriceBook(writer, reads, clock, lead_s=0), {(RAIL, ACCOUNT): RefundRail(scene.rail.account)}
    chain: Any = None  # nothing here lies on a chain
    life = Life(
        scene, Refunds(writer, reads, rails, clock, RefundPolicy(), chain, DisputePolicy()),
        Disputes(writer, reads, rails, clock, DisputePolicy()), Metering(writer, prices, clock), prices,
        Reratings(writer, reads, prices), Holds(writer, reads, clock), Earnings(writer, reads, clock, TIERS),
        Payouts(writer, reads, TIERS), rerated_us=clock.now_us(),
    )  # fmt: skip

    def decide(_view: View, changes: Changes) -> dict[str, Any]:
        changes.insert("merchant", id=MERCHANT, name="Acme", created_us=0)
        return {}

    await writer.submit(Unit(MERCHANT, "live", None, (), decide))
    await life.payouts.set_terms(MERCHANT, tier=None, destination=BANK, by="a")
    await life.payouts.confirm_destination(MERCHANT, BANK, "operator:zoe")
    await _set_price(life, "0.00000015")
    return life


async def _take(life: Life, step: tuple[Any, ...]) -> None:
    match step:
        case ("top_up", int(dollars)):
            await _top_up(life, dollars)
        case ("use", int(units)):
            await _use(life, {"amount": f"{units // USD}.{units % USD:09}"}, Fraction(units), None)
        case ("rate", int(quantity)):
            await _use(life, {"model": "odd", "tokens": {"input": quantity}}, quantity * life.price, quantity)
        case ("price", str(price)):
            await _set_price(life, price)
        case ("rerate",):
            await _rerate(life)
        case ("grant", int(units)):
            await _grant(life, units)
        case ("policy", str(policy)):
            await _policy(life, policy)
        case ("day",):
            life.scene.clock.pass_by(days=1)
            await life.holds.expire_due()
            await life.earnings.run_once()
        case ("hold" | "capture" | "void", *_):
            await _hold(life, step)
        case ("pay out",) | ("payout ends", *_):
            await _pay_out(life, step)
        case _:
            await _take_back(life, step)
    life.scene.clock.pass_by(seconds=1)


async def _take_back(life: Life, step: tuple[Any, ...]) -> None:
    match step:
        case ("refund", int(number), units, bool(forced)):
            await _refund(life, number, units, forced=forced)
        case ("refund ends", int(number), RefundState() as state, int(late)):
            await _end_refund(life, number, state, late)
        case ("refunded at rail", int(number), int(part)):
            await _refunded_at_rail(life, number, part)
        case ("warned", int(number), bool(closed)):
            state = DisputeState.CLOSED if closed else DisputeState.NEEDS_ANSWER
            await tell_dispute(life, number, 0, state, Funds.UNCHANGED, inquiry=True)
        case ("dispute", int(number), int(which), DisputeState() as state, Funds() as funds):
            await tell_dispute(life, number, which, state, funds)
        case ("look",):
            await look(life)
        case ("end",):
            await _end(life)
        case _:
            raise AssertionError(step)


# --- money in, money used -------------------------------------------------------------------------------------------


async def _top_up(life: Life, dollars: int) -> None:
    session = await life.scene.session(usd=dollars, customer="the customer")
    chosen = await life.scene.select(session)
    await life.scene.captured(chosen["attempt"], f"m{life.next()}")
    payment = await life.scene.payment(session)
    assert payment is not None
    life.wallet = payment["wallet_id"]
    (capture,) = await life.scene.captures(payment["id"])
    price = Price.from_json(orjson.loads(capture["lines"]))
    received = price.received()
    fees = {name: getattr(received, name).units for name in RETURNS}
    paid = Paid(payment["id"], capture["id"], capture["money_id"], capture["units"], received.value.units, fees)
    life.money.append(paid)
    life.at_rail += capture["units"]
    life.together += dollars * USD
    life.customers += dollars * USD


async def _use(life: Life, what: dict[str, Any], cost: Fraction, quantity: int | None) -> None:
    event = read_event({"id": f"use_{life.next()}", "wallet": life.wallet, **what})
    (result,) = (await life.metering.record(MERCHANT, MODE, [event]))["results"]
    if result["status"] != "accepted":
        assert result["reason"] == "insufficient_balance", result
        return
    units, life.carry = divmod(life.carry + cost, 1) if quantity is not None else (int(cost), life.carry)
    assert Fraction(result["amount"]) * USD == units
    life.customers -= units
    if quantity is not None:
        life.rated.append((quantity, life.price))


async def _set_price(life: Life, price: str) -> None:
    version, _ = await life.prices.put(
        MERCHANT, MODE, NewVersion(Content({"odd": model_prices({"input": price})}, 0), None, None, "tests")
    )
    life.price, life.version = Fraction(price) * USD, version.id


async def _rerate(life: Life) -> None:
    """Correct what was rated since the last time to the price of now; told twice it is corrected once."""
    now_us, id_ = life.scene.clock.now_us(), f"rr_{life.next()}"
    await life.reratings.report(
        MERCHANT, MODE, rerating_id=id_, from_us=life.rerated_us, to_us=now_us, version=life.version
    )
    for _ in range(2):
        await life.reratings.post(MERCHANT, MODE, id_)
    difference = sum((quantity * (life.price - was) for quantity, was in life.rated), Fraction(0))
    if difference:
        units, life.carry = divmod(life.carry + difference, 1)
        life.customers -= units
    life.rerated_us, life.rated = now_us, []


async def _grant(life: Life, units: int) -> None:
    grant = grants.Grant(
        MERCHANT, MODE, f"lot_g{life.next():03}", life.wallet, "promotional", units, 0, None, "a story"
    )

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        return {"lot": grants.give(view, changes, grant)["id"]}

    await life.scene.writer.submit(Unit(MERCHANT, MODE, None, grants.grant_locks(grant), decide))
    life.customers += units


async def _policy(life: Life, policy: str) -> None:
    def decide(_view: View, changes: Changes) -> dict[str, Any]:
        changes.update("wallet", (MERCHANT, life.wallet), overdraft=policy)
        return {}

    await life.scene.writer.submit(Unit(MERCHANT, MODE, None, (row_lock("wallet", MERCHANT, life.wallet),), decide))


async def _hold(life: Life, step: tuple[Any, ...]) -> None:
    try:
        match step:
            case ("hold", int(units)):
                id_ = f"hold_{life.next()}"
                await life.holds.make(HoldTerms(MERCHANT, MODE, id_, life.wallet, "hold", units, 40_000 * 1_000_000))
                life.held.append(id_)
            case ("capture", int(number), int(units)) if life.held:
                await life.holds.capture(MERCHANT, MODE, life.held.pop(number % len(life.held)), "hold", units)
                life.customers -= units
            case ("void", int(number)) if life.held:
                await life.holds.void(MERCHANT, MODE, life.held.pop(number % len(life.held)), "hold")
    except Refusal:
        if step[0] != "hold":
            raise


# --- money back -----------------------------------------------------------------------------------------------------


async def _refund(life: Life, number: int, units: int | None, *, forced: bool) -> None:
    paid = life.money[number % len(life.money)]
    id_ = f"ref_{life.next()}"
    wanted = RefundWanted(id_, MERCHANT, MODE, paid.payment, units, "a story", "source", forced=forced, by="a")
    try:
        refund = await life.refunds.request(wanted)
    except Refusal:
        assert await life.rows(tables.Refund, id=id_) == []
        return
    assert refund["local_units"] <= paid.room
    assert not any(
        fight.paid is paid and fight.state not in ENDED and not fight.inquiry for fight in life.fights.values()
    )
    paid.refunding += refund["local_units"]
    life.customers += _of_merchant(refund)
    life.asked.append(id_)


def _of_merchant(refund: Row) -> int:
    sources = orjson.loads(refund["sources"])
    return int(sources["available"] + sources["receivable"])


async def _end_refund(life: Life, number: int, state: RefundState, late: int = 0) -> None:
    """Through, failed, come back, through after all: what the rail said last, by its own clock, is so. ``late``: seconds."""
    if not life.asked:
        return
    id_ = life.asked[number % len(life.asked)]
    (before,) = await life.rows(tables.Refund, id=id_)
    paid = next(one for one in life.money if one.capture == before["money_id"])
    local, at = Money(before["local_units"], BRL), life.scene.clock.now() - timedelta(seconds=late)
    event = refund_event(id_, paid.money_id, state, local, state.value, at)
    for _ in range(2):
        await life.refunds.apply(event)
    (row,) = await life.rows(tables.Refund, id=id_)
    said, word = life.words.get(id_), (at, state is RefundState.FAILED)
    life.words[id_] = word if said is None else max(said, word)
    assert row["status"] == (RefundState.FAILED if life.words[id_][1] else RefundState.SUCCEEDED).value
    match before["status"], row["status"]:
        case was, now if was == now:
            return
        case "succeeded", "failed":
            paid.refunded -= before["local_units"]
            life.at_rail += before["local_units"] + before["above_units"]
            life.together += before["units"]
            life.customers += before["units"] - _of_merchant(before)
        case "failed", "succeeded":
            make_room(life, paid, local.units)
            assert row["local_units"] == min(local.units, paid.room)
            paid.refunded += row["local_units"]
            life.at_rail -= local.units
            life.together -= row["units"]
            life.customers -= row["units"] - _of_merchant(row)
        case _, "succeeded":
            paid.refunding -= local.units
            paid.refunded += local.units
            life.at_rail -= local.units
            life.together -= before["units"]
            life.customers -= before["units"]
        case _:
            paid.refunding -= local.units
            life.customers -= _of_merchant(before)


async def _refunded_at_rail(life: Life, number: int, part: int) -> None:
    paid = life.money[number % len(life.money)]
    local = Money(max(1, paid.units // part), BRL)
    event = refund_event(
        None, paid.money_id, RefundState.SUCCEEDED, local, f"rail{life.next()}", life.scene.clock.now()
    )
    known = {row["id"] for row in await life.rows(tables.Refund)}
    for _ in range(2):
        await life.refunds.apply(event)
    (row,) = [one for one in await life.rows(tables.Refund) if one["id"] not in known]
    make_room(life, paid, local.units)
    assert row["local_units"] == min(local.units, paid.room)
    paid.refunded += row["local_units"]
    life.at_rail -= local.units
    life.together -= row["units"]
    life.customers -= row["units"] - _of_merchant(row)
    life.asked.append(row["id"])
    life.words[row["id"]] = (event.occurred_at, False)


# --- payouts, the end, what must be ---------------------------------------------------------------------------------


async def _pay_out(life: Life, step: tuple[Any, ...]) -> None:
    try:
        match step:
            case ("pay out",):
                id_ = f"po_{life.next()}"
                await life.payouts.request(PayoutWanted(id_, MERCHANT, MODE, None, "key:k"))
                life.paid_out.append(id_)
                await life.payouts.approve(id_, "operator:eve")
            case ("payout ends", int(number), str(how)) if life.paid_out:
                id_ = life.paid_out[number % len(life.paid_out)]
                (before,) = await life.rows(tables.Payout, id=id_)
                calls = {"confirm": life.payouts.confirm, "fail": life.payouts.fail, "return": life.payouts.take_back}
                after = await calls[how](id_, "a word of the bank")
                if after["status"] != before["status"]:
                    life.together += {"paid": -1, "returned": 1}.get(after["status"], 0) * before["units"]
    except Conflict:  # nothing to pay out, or not in this state
        return


async def _end(life: Life) -> None:
    """Everything comes to its end: then nothing is set aside for a refund or a dispute."""
    for id_ in list(life.asked):
        await _end_refund(life, life.asked.index(id_), RefundState.SUCCEEDED)
    await look(life)
    for id_, fight in list(life.fights.items()):
        number, which = life.money.index(fight.paid), int(id_[-1])
        for _ in range(fight.withdrawals - fight.returns):
            await tell_dispute(life, number, which, DisputeState.WON, Funds.RETURNED)
        if (
            fight.state is not DisputeState.WON
        ):  # also where it was lost and nothing stands: what was set aside waits for the funds, or for another word
            await tell_dispute(life, number, which, DisputeState.CLOSED, Funds.UNCHANGED)
    sums = await _sums(life)
    assert not any(sums.get((code, asset)) for code in ("wallet:frozen", "wallet:refunding", "dispute:receivable")
                   for asset in ("USD/9", str(BRL)))  # fmt: skip


async def _sums(life: Life) -> dict[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for row in await life.rows(tables.Account, merchant_id=MERCHANT):
        key = (row["code"], row["asset"])
        found[key] = found.get(key, 0) + row["balance"]
    return found


async def _agree(life: Life) -> None:
    report = await check(life.scene.reads)
    assert report.ok, report.findings
    chain = await verify(life.scene.reads, life.scene.clock.now_us())
    assert chain.ok, chain.findings
    sums = await _sums(life)
    usd = {code: units for (code, asset), units in sums.items() if asset == "USD/9"}
    customers = -sum(units for code, units in usd.items() if code.startswith("wallet:"))
    merchants = -sum(units for code, units in usd.items() if code.startswith(("merchant:", "payout:")))
    assert customers == life.customers
    assert customers + merchants - usd.get("promo:funding", 0) == life.together
    assert sums.get(("clearing", str(BRL)), 0) == life.at_rail
    fights = life.fights.values()
    assert sums.get(("dispute:receivable", str(BRL)), 0) == sum(one.withdrawn for one in fights if not one.clawed)
    disputes = await life.rows(tables.Dispute)
    frozen = sum(units for row in disputes for _, units in orjson.loads(row["frozen"]))
    assert -usd.get("wallet:frozen", 0) == frozen
    assert {row["rail_dispute_id"]: (row["state"], row["withdrawn_units"], row["above_units"]) for row in disputes} == {
        id_: (one.state.value, one.withdrawn, one.above) for id_, one in life.fights.items()
    }
    open_ = [row for row in await life.rows(tables.Refund) if row["status"] in {"created", "sent", "pending"}]
    assert -usd.get("wallet:refunding", 0) == sum(row["units"] for row in open_)
    for paid in life.money:
        (capture,) = await life.rows(tables.Capture, id=paid.capture)
        said = tuple(capture[f"{name}_units"] for name in ("refunding", "refunded", "withdrawn"))
        assert said == (paid.refunding, paid.refunded, paid.withdrawn)
        facts = await life.rows(tables.PaymentFact, payment_id=paid.payment)
        (payment,) = await life.rows(tables.Payment, id=paid.payment)
        assert fold(Fact(row["kind"]) for row in facts).value == payment["status"]
