"""Disputes of ``money_back``: what the rail says of them, who bears a loss, and in which order. See ``money_back_life``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import orjson

from adapters.base import Mode
from adapters.operations import DisputeEvent, DisputeState, Funds
from orchestrator.database import tables
from orchestrator.database.unit import Row
from rates.money import Money
from tests.integration.payments.scene import ACCOUNT, BRL, RAIL
from tests.support.money_back_life import MERCHANTS, Fight, Life, Paid


async def tell_dispute(
    life: Life, number: int, which: int, state: DisputeState, funds: Funds, *, inquiry: bool = False
) -> None:
    paid = life.money[number % len(life.money)]
    id_ = f"dp_{paid.money_id}_{which}"
    amount = paid.units if which == 0 else paid.units // 2
    event = DisputeEvent(RAIL, ACCOUNT, Mode.TEST, f"{id_}_{life.next()}", id_, state, inquiry, funds, paid.money_id, None,
                         Money(amount, BRL), "fraudulent", life.scene.clock.now() + timedelta(days=9),
                         life.scene.clock.now())  # fmt: skip
    fight = life.fights.get(id_)
    if fight is None:
        fight = life.fights[id_] = Fight(paid, amount, state, inquiry)
    order = await _Order.before(life, id_, paid)
    for _ in range(2):
        await life.disputes.apply(event)
    if _rank(state, inquiry=inquiry) >= _rank(fight.state, inquiry=fight.inquiry):  # a word of an earlier step is late
        fight.state = state
    fight.inquiry &= inquiry
    _move_funds(life, fight, funds)
    if not fight.inquiry and fight.state is DisputeState.LOST and fight.withdrawn and not fight.clawed:
        _claw(life, fight, fight.withdrawn)
    await order.assert_kept(life, fight)


def _rank(state: DisputeState, *, inquiry: bool) -> tuple[bool, int]:
    steps = [DisputeState.NEEDS_ANSWER, DisputeState.UNDER_REVIEW]
    return not inquiry, steps.index(state) if state in steps else len(steps)


def _move_funds(life: Life, fight: Fight, funds: Funds) -> None:
    """The rail has the money while it took it once oftener than it gave it back, in whatever order we hear of that."""
    stood = fight.withdrawals - fight.returns
    fight.withdrawals += funds is Funds.WITHDRAWN
    fight.returns += funds is Funds.RETURNED
    if funds is Funds.WITHDRAWN and stood == 0:
        fight.withdrawn = min(fight.amount, fight.paid.room)
        fight.above = fight.amount - fight.withdrawn
        fight.paid.withdrawn += fight.withdrawn
        life.at_rail -= fight.amount
    elif funds is Funds.RETURNED and stood == 1:
        life.at_rail += fight.withdrawn + fight.above
        fight.paid.withdrawn -= fight.withdrawn
        fight.withdrawn = fight.above = 0
        life.together += fight.clawed
        life.customers += fight.clawed
        fight.clawed = 0


def _claw(life: Life, fight: Fight, local: int) -> None:
    """A loss costs the customer (as credit or as debt) what it is worth, but for the fee lines that we give back."""
    value = fight.paid.value * local // fight.paid.units
    units = value - sum(line * local // fight.paid.units for line in fight.paid.fees.values())
    fight.clawed += units
    life.together -= units
    life.customers -= units


def make_room(life: Life, paid: Paid, local: int) -> None:
    """A refund that is heard of late came first at the rail: disputes are of what it left, the last one gives way first."""
    wanted = max(0, local - paid.room)
    mine = [fight for fight in life.fights.values() if fight.paid is paid]
    for fight in reversed(mine):
        given = min(wanted, fight.withdrawn)
        wanted -= given
        clawed = bool(fight.clawed)
        life.together += fight.clawed
        life.customers += fight.clawed
        fight.clawed = 0
        fight.withdrawn -= given
        fight.above += given
        paid.withdrawn -= given
        if clawed and fight.withdrawn:
            _claw(life, fight, fight.withdrawn)


async def look(life: Life) -> None:
    """The worker looks: holds that ended leave more to freeze, refunds that failed leave more to withdraw."""
    life.scene.clock.pass_by(hours=2)
    waits = [fight for fight in life.fights.values() if fight.above and not fight.inquiry]
    await life.disputes.run_once()
    for fight in waits:
        units = min(fight.above, fight.paid.room)
        fight.above -= units
        fight.withdrawn += units
        fight.paid.withdrawn += units
        if units and fight.state is DisputeState.LOST:
            _claw(life, fight, units)


@dataclass
class _Order:
    """Who had how much before a loss: the rules say who bears it."""

    dispute: str
    lots: list[Row]
    own: str
    frozen: dict[str, int]
    side: dict[str, int]
    borne: dict[tuple[str, str], int]

    @classmethod
    async def before(cls, life: Life, dispute: str, paid: Paid) -> _Order:
        rows = await life.rows(tables.Dispute, rail_dispute_id=dispute)
        frozen = dict(orjson.loads(rows[0]["frozen"])) if rows else {}
        accounts = {row["code"]: -row["balance"] for row in await life.rows(tables.Account, asset="USD/9", subject="")}
        side = {name: max(0, accounts.get(f"merchant:{name}", 0)) for name in ("reserve", "available")}
        return cls(
            dispute, await life.rows(tables.Lot, open=1), paid.payment, frozen, side, await _borne(life, dispute)
        )

    async def assert_kept(self, life: Life, fight: Fight) -> None:
        """The disputed money's own credit first, other paid credit oldest first, reserve, available; then it is owed."""
        after = await _borne(life, self.dispute)
        taken = {key: units - self.borne.get(key, 0) for key, units in after.items() if units != self.borne.get(key, 0)}
        if not fight.clawed or not taken:
            assert all(units < 0 for units in taken.values()), "only a return gives back"
            return
        free = {
            lot["id"]: max(0, lot["remaining_units"] - lot["held_units"] - lot["frozen_units"]) for lot in self.lots
        }
        own = [lot for lot in self.lots if lot["kind"] == "paid" and lot["payment_id"] == self.own]
        others = sorted((lot for lot in self.lots if lot["kind"] == "paid" and lot not in own),
                        key=lambda lot: (lot["created_us"], lot["id"]))  # fmt: skip
        had = [("lot", lot["id"], free[lot["id"]] + self.frozen.get(lot["id"], 0)) for lot in own]
        had += [("lot", lot["id"], free[lot["id"]]) for lot in others]
        had += [(name, "", self.side[name]) for name in ("reserve", "available")]
        left, expected = fight.clawed, {}
        for source, subject, units in had:
            if part := min(left, units):
                expected[source, subject], left = part, left - part
        if left:
            expected["receivable", ""] = left
        assert {key: units for key, units in taken.items() if key[0] in {"lot", *MERCHANTS}} == expected


async def _borne(life: Life, dispute: str) -> dict[tuple[str, str], int]:
    rows = await life.rows(tables.Dispute, rail_dispute_id=dispute)
    found: dict[tuple[str, str], int] = {}
    for row in await life.rows(tables.DisputeAllocation, dispute_id=rows[0]["id"]) if rows else ():
        key = (row["source"], row["subject"])
        found[key] = found.get(key, 0) + row["units"]
    return found
