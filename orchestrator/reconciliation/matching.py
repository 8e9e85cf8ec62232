"""One line of a rail's report against what we have of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.operations import LineKind
from orchestrator.database.unit import Entry, Row
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.recipes import Holding
from orchestrator.reconciliation.conversions import conversion_entry, fits_its_rate, is_converted
from rates.money import Asset, Money


class Break(StrEnum):
    """How report and books can differ."""

    MISSING_HERE = "missing_here"
    """The rail has it, we do not."""
    MISSING_THERE = "missing_there"
    """We have it, and the rail's report should have had it by now."""
    AMOUNT = "amount"
    CURRENCY = "currency"
    DUPLICATE = "duplicate"
    """A second line for money that has its line."""
    UNKNOWN_WORD = "unknown_word"
    """A kind of line that nobody taught us to read."""


class State(StrEnum):
    MATCHED = "matched"
    WAITING = "waiting"
    """The other side may still come: a difference of time, no break."""
    OPEN = "open"
    """A break that a person looks at."""
    ACCEPTED = "accepted"


SETTLES_US: Final = 7 * 86_400 * 1_000_000
"""A rail's report has what it took by then: later it is missing there."""
GRACE_US: Final = 3600 * 1_000_000
"""How long a line may wait for what it is about: webhooks and polls are faster as a rule."""
OWN_BOOK: Final = "platform"
SIGNS: Final = {
    LineKind.PAYMENT: 1,
    LineKind.REFUND: -1,
    LineKind.REFUND_FAILED: 1,
    LineKind.DISPUTE: -1,
    LineKind.DISPUTE_REVERSED: 1,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What we have that a line may be about."""

    merchant_id: str
    mode: str
    object_id: str
    payment_id: str
    amount: Money
    """Signed as the line should be: what came to us is positive."""
    happened: bool
    """False: it is known here, and not through yet."""
    worth: int | None = None
    """What we counted it as, USD/9, without its sign; None while nobody has counted it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    state: State
    broken: Break | None = None


def judge(line: Row, found: Found | None, *, now_us: int, taken: bool) -> Verdict:
    """Compare a line with what was found for it. ``taken``: that has another line of this kind already."""
    kind = LineKind(line["kind"])
    if kind in {LineKind.FEE, LineKind.PAYOUT}:
        return Verdict(State.MATCHED)
    if kind is LineKind.OTHER:
        return Verdict(State.OPEN, Break.UNKNOWN_WORD)
    if found is None or not found.happened:
        young = now_us - (line["recorded_us"] or now_us) < GRACE_US
        return Verdict(State.WAITING if young else State.OPEN, Break.MISSING_HERE)
    broken: Break | None = None
    if is_converted(line, found.amount.asset):
        broken = conversion_break(line, found) or (Break.DUPLICATE if taken else None)
    elif found.amount.units != line["gross_units"]:
        broken = Break.AMOUNT
    elif taken:
        broken = Break.DUPLICATE
    return Verdict(State.MATCHED if broken is None else State.OPEN, broken)


def conversion_break(line: Row, found: Found) -> Break | None:
    """Return what is wrong with a line in another currency; None where the rail itself says how it came about."""
    if line["original_asset"] != str(found.amount.asset) or found.worth is None or not fits_its_rate(line):
        return Break.CURRENCY
    return None if line["original_units"] == found.amount.units else Break.AMOUNT


def converted(line: Row, found: Found, holding: Holding) -> Entry | None:
    """Return the entry of a conversion inside the rail's balance; None where there was none."""
    if not is_converted(line, found.amount.asset):
        return None
    assert found.worth is not None, "such a line is a break"
    return conversion_entry(line, fact_of(line), holding, found.worth, found.payment_id)


def fee_entry(line: Row, holding: Holding, payment_id: str | None) -> Entry | None:
    """Book what the rail kept for itself; None where it kept nothing."""
    kind, fee = LineKind(line["kind"]), Money(line["fee_units"], Asset.parse(line["asset"]))
    if kind is LineKind.FEE:  # the line itself is the fee: what left is below zero
        fee = fee - Money(line["gross_units"], fee.asset)
    if not fee.units:
        return None
    cost = Account.DISPUTE_FEES if kind in {LineKind.DISPUTE, LineKind.DISPUTE_REVERSED} else Account.FEES_RAIL_COST
    taken = Money(abs(fee.units), fee.asset)
    sides = (debit(cost, taken), credit(holding.account, taken, holding.subject))
    if fee.units < 0:
        sides = (debit(holding.account, taken, holding.subject), credit(cost, taken))
    return entry("rail_fee", fact_of(line), *sides, payment_id=payment_id)


def payout_entry(line: Row, merchant_units: int, holding: Holding) -> Entry:
    """Book one merchant's part of what the rail paid into the bank."""
    paid = Money(abs(merchant_units), Asset.parse(line["asset"]))
    out, into = (
        (credit, debit) if merchant_units > 0 else (debit, credit)
    )  # more went back than came: others paid for it
    return entry("rail_payout", fact_of(line), into(Account.BANK, paid), out(holding.account, paid, holding.subject))


def fact_of(line: Row) -> str:
    return f"{line['rail']}/{line['account']}:{line['line_id']}"
