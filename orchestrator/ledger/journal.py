"""Entries that balance, or do not exist. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.database.unit import Entry, Line
from orchestrator.ledger.chart import Account
from rates.money import Money


class Unbalanced(ValueError):
    """The lines do not sum to zero per asset: the recipe is wrong."""


@dataclass(frozen=True, slots=True)
class Side:
    """One line before it is posted."""

    account: Account
    subject: str
    money: Money
    sign: int


def debit(account: Account, money: Money, subject: str = "") -> Side:
    return Side(account, subject, money, 1)


def credit(account: Account, money: Money, subject: str = "") -> Side:
    return Side(account, subject, money, -1)


def entry(kind: str, fact: str, *sides: Side, payment_id: str | None = None, merge: str | None = None) -> Entry:
    """Build an entry; lines of nothing are left out. ``merge``: see ``Entry``. Raises Unbalanced, per asset; ValueError on a negative line."""
    sums: dict[str, int] = {}
    lines: list[Line] = []
    for side in sides:
        if side.money.units < 0:
            raise ValueError(f"{kind}: {side.account} would take {side.money}; swap debit and credit instead")
        if side.money.units == 0:
            continue
        asset = str(side.money.asset)
        units = side.sign * side.money.units
        sums[asset] = sums.get(asset, 0) + units
        lines.append(Line(side.account.value, side.subject, asset, units))
    if any(sums.values()) or not lines:
        raise Unbalanced(f"{kind} {fact}: {sums}")
    return Entry(kind, fact, tuple(lines), payment_id, merge)
