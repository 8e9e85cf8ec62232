"""The merchant's side, from pending to the bank: one pure function per business fact. Source: the money rules, "Recipes".

Amounts are decided from locked balances: what is not there is not moved, what the merchant owes comes back first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from rates.money import WALLET_USD, Money

EARNING: Final = "earning"
"""Kind of the entry by which a day matures."""
RESERVE_RELEASE: Final = "reserve_release"
PAYOUT: Final = "payout"
PAYOUT_PAID: Final = "payout_paid"
PAYOUT_FAILED: Final = "payout_failed"
PAYOUT_RETURNED: Final = "payout_returned"
BPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class MerchantSide:
    """What stands in the merchant's accounts, USD/9. Positive is good news for the merchant, but for ``receivable``."""

    pending: int
    """Below zero where a correction took back more than was there."""
    available: int
    reserve: int
    receivable: int
    """What the merchant owes us."""

    @property
    def payable(self) -> int:
        """What may leave now: never what a negative pending balance or a receivable will need. Never below zero."""
        return max(0, self.available - self.owed)

    @property
    def owed(self) -> int:
        return max(0, -self.pending) + max(0, self.receivable)


@dataclass(frozen=True, slots=True)
class Matured:
    """What one day's maturity does. All in USD/9."""

    entry: Entry | None
    """None: nothing moves."""
    available: int
    """To ``merchant:available``; below zero: taken from it, because pending was overdrawn."""
    reserve: int
    repaid: int
    """To ``merchant:receivable``; below zero: what the merchant owes now."""
    left: int
    """Carried to the next day: not there yet where positive, owed to it where negative."""


def mature(fact: str, due: int, side: MerchantSide, reserve_bps: int) -> Matured:
    """Move one day's earnings out of pending. ``due``: its units and what the days before it left over.

    Never more than pending holds; a receivable is repaid first; the reserve is rounded up, for it guards the platform.
    A day that is due to *bring* money, because pending is overdrawn, takes it from available, then it is owed.
    """
    if due > 0:
        moved = min(due, max(0, side.pending))
        repaid = min(moved, max(0, side.receivable))
        reserve = -(-(moved - repaid) * reserve_bps // BPS)
        available = moved - repaid - reserve
        return Matured(
            _entry(EARNING, fact, pending=-moved, available=available, reserve=reserve, receivable=-repaid),
            available, reserve, repaid, due - moved,
        )  # fmt: skip
    back = min(-due, max(0, -side.pending))
    taken = min(back, max(0, side.available))
    posted = _entry(EARNING, fact, pending=back, available=-taken, receivable=back - taken)
    return Matured(posted, -taken, 0, taken - back, due + back)


@dataclass(frozen=True, slots=True)
class Released:
    entry: Entry | None
    available: int
    repaid: int
    left: int
    """Of the reserve, what was not there: carried to the next day."""


def release(fact: str, due: int, side: MerchantSide) -> Released:
    """Give back a day's reserve. Never more than the reserve holds; a receivable is repaid first."""
    moved = min(due, max(0, side.reserve))
    repaid = min(moved, max(0, side.receivable))
    posted = _entry(RESERVE_RELEASE, fact, reserve=-moved, available=moved - repaid, receivable=-repaid)
    return Released(posted, moved - repaid, repaid, due - moved)


def request_payout(payout_id: str, units: int) -> Entry:
    return entry(PAYOUT, payout_id, debit(Account.MERCHANT_AVAILABLE, _usd(units)),
                 credit(Account.PAYOUT_TRANSIT, _usd(units)))  # fmt: skip


def confirm_payout(payout_id: str, units: int) -> Entry:
    """The bank paid it."""
    return entry(PAYOUT_PAID, payout_id, debit(Account.PAYOUT_TRANSIT, _usd(units)),
                 credit(Account.BANK, _usd(units)))  # fmt: skip


def fail_payout(payout_id: str, units: int) -> Entry:
    """It was refused, or did not arrive: the merchant has it again."""
    return entry(PAYOUT_FAILED, payout_id, debit(Account.PAYOUT_TRANSIT, _usd(units)),
                 credit(Account.MERCHANT_AVAILABLE, _usd(units)))  # fmt: skip


def return_payout(payout_id: str, units: int) -> Entry:
    """The bank paid it and sent it back weeks later: the merchant has it again."""
    return entry(PAYOUT_RETURNED, payout_id, debit(Account.BANK, _usd(units)),
                 credit(Account.MERCHANT_AVAILABLE, _usd(units)))  # fmt: skip


def _entry(
    kind: str, fact: str, *, pending: int = 0, available: int = 0, reserve: int = 0, receivable: int = 0
) -> Entry | None:
    """Build an entry from what each account gains (for the merchant); a receivable that grows is a debit."""
    gains = (
        (Account.MERCHANT_PENDING, pending),
        (Account.MERCHANT_AVAILABLE, available),
        (Account.MERCHANT_RESERVE, reserve),
        (Account.MERCHANT_RECEIVABLE, -receivable),
    )
    sides = [
        credit(account, _usd(units)) if units > 0 else debit(account, _usd(-units)) for account, units in gains if units
    ]
    return entry(kind, fact, *sides) if sides else None


def _usd(units: int) -> Money:
    return Money(units, WALLET_USD)
