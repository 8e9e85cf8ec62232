"""A wallet opened for spending, inside one decision. Pure; the one place that knows how a wallet is spent.

    purse = Purse.open(view, merchant_id, mode, wallet_id)      # the unit locks ``purse_locks(...)``
    purse.charge(150)                                           # as often as needed, in memory
    purse.write(changes, kind="usage", fact="...", merge=True)  # once: lots, wallet, one entry, events

Order of consumption: promotional and compensation credit that expires first (none last; then priority, then id), paid
credit, oldest first, provisional credit, then the overdraft that the wallet's policy allows (hard: none; grace: up to
``overdraft_units`` of debt; debt: any). A lot whose time is over is not touched, booked or not. What a hold has no lot for
(``held_uncovered_units``) lowers what others can spend, so that it is there when the hold is captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from orchestrator.database.unit import Changes, Lock, Row, View, accounts_lock, row_lock
from orchestrator.errors import NotFound
from orchestrator.ledger.alerts import tell_negative, watch_threshold
from orchestrator.ledger.chart import Account
from orchestrator.ledger.lots import PROMO_KINDS, Lot, in_order, write_lots
from orchestrator.ledger.refusals import insufficient, not_active
from orchestrator.ledger.spend_recipes import Spent
from rates.money import UNITS_MAX, WALLET_USD

_USD: Final = str(WALLET_USD)
OPEN_LOTS: Final = ("merchant_id", "wallet_id", "open")
"""The columns by which ``purse_locks`` locks a wallet's open lots; the last value is 1."""
_HELD_KINDS: Final = frozenset({"paid", *PROMO_KINDS})
"""Provisional credit is never set aside: it may vanish with its block. A hold counts it as uncovered."""


REMAINDER_END: Final = 10**13
"""USD/22 units in one nano-dollar."""


class AllocationUnknown(AssertionError):
    """A hold's allocation does not fit the lots: the hold was ended before, or the books are wrong."""


class Charged(NamedTuple):
    """What one charge took from where, USD/9."""

    units: int
    paid: int = 0
    promotional: int = 0
    """Compensation too."""
    provisional: int = 0
    debt: int = 0


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a hold set aside: parts of lots in the order of consumption, and what no lot backs. USD/9."""

    lots: tuple[tuple[str, str, int], ...]
    """Lot, kind, units."""
    uncovered: int = 0

    @property
    def units(self) -> int:
        return self.uncovered + sum(units for _, _, units in self.lots)

    def to_json(self) -> str:
        """Return the form of ``hold.allocations``; ``uncovered`` has a column of its own."""
        return orjson.dumps(self.lots).decode()

    @classmethod
    def of(cls, hold: Row) -> Allocation:
        """Read it from a hold's row."""
        return cls(tuple((lot, kind, units) for lot, kind, units in orjson.loads(hold["allocations"])),
                   hold["uncovered_units"])  # fmt: skip


@lru_cache(maxsize=4096)
def _locks(merchant_id: str, mode: str, wallet_id: str) -> tuple[Lock, ...]:
    return (
        row_lock("wallet", merchant_id, wallet_id),
        Lock("lot", OPEN_LOTS, (merchant_id, wallet_id, 1)),
        accounts_lock(merchant_id, mode, wallet_id),
    )


def purse_locks(merchant_id: str, mode: str, wallet_id: str) -> list[Lock]:
    """Return what a unit locks before it opens a purse: the wallet, its open lots, its accounts."""
    return list(_locks(merchant_id, mode, wallet_id))


class Purse:
    """One wallet while a decision spends from it. Nothing is written before ``write``; a refusal changes nothing."""

    __slots__ = ("_first", "_free", "_free_at_open", "_lots", "_mode", "_remainder", "_spent", "_uncovered", "_view",
                 "wallet")  # fmt: skip

    def __init__(self, view: View, mode: str, wallet: Row, lots: list[Lot]) -> None:
        self.wallet: Row = wallet
        """The locked row: do not change it."""
        self._view = view
        self._mode = mode
        self._lots = lots
        self._first = 0
        """Lots before this one have nothing free."""
        self._free = self._free_at_open = lots[0].free if len(lots) == 1 else sum(lot.free for lot in lots)
        self._uncovered: int = wallet["held_uncovered_units"]
        self._remainder: int = wallet["rating_remainder"]
        self._spent = Spent()

    @classmethod
    def open(cls, view: View, merchant_id: str, mode: str, wallet_id: str) -> Purse:
        """Read a wallet under its locks. Raises NotFound (wallet_not_found); NotLocked without ``purse_locks``."""
        wallet = view.one("wallet", merchant_id, wallet_id)
        if wallet is None or wallet["mode"] != mode:
            raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
        rows = view.many("lot", OPEN_LOTS, (merchant_id, wallet_id, 1))
        return cls(view, mode, wallet, in_order(rows, view.now_us))

    # --- what is in it ----------------------------------------------------------------------------------------------

    @property
    def available(self) -> int:
        """What can be charged now, USD/9; overdraft not counted."""
        return self._available(self._free, self._uncovered, self._spent.debt)

    @property
    def spendable(self) -> int:
        """What can be charged now, USD/9, overdraft counted. Below 0 where holds have more than the wallet can bear."""
        return self._free + self._overdraft_left(self._spent.debt) - self._uncovered

    @property
    def debt(self) -> int:
        """What the customer owes, USD/9, with what this purse added."""
        return self._debt_at_open() + self._spent.debt

    @property
    def rating_remainder(self) -> int:
        """What rated usage left below one nano-dollar, USD/22: 0 to 10**13 - 1."""
        return self._remainder

    @rating_remainder.setter
    def rating_remainder(self, value: int) -> None:
        if not 0 <= value < REMAINDER_END:
            raise ValueError(f"{value} is no remainder below one nano-dollar")
        self._remainder = value

    def _available(self, free: int, uncovered: int, more_debt: int) -> int:
        if not uncovered:
            return free
        return min(free, max(0, free + self._overdraft_left(more_debt) - uncovered))

    def _debt_at_open(self) -> int:
        wallet = self.wallet
        return self._view.balance(wallet["merchant_id"], self._mode, Account.WALLET_DEBT.value, wallet["id"], _USD)

    def _overdraft_left(self, more_debt: int) -> int:
        policy = self.wallet["overdraft"]
        if policy == "hard":
            return 0
        if policy == "debt":
            return UNITS_MAX
        return max(0, int(self.wallet["overdraft_units"]) - self._debt_at_open() - more_debt)

    def _check(self, units: int) -> None:
        """Raise a refusal where the wallet may not be spent, or not so far."""
        status = self.wallet["status"]
        if status != "active":
            raise not_active(self.wallet["id"], status)
        if units > self._free or self._uncovered:
            spendable = self.spendable
            if units > spendable:
                raise insufficient(self.wallet["id"], units, spendable)

    # --- spending ---------------------------------------------------------------------------------------------------

    def charge(self, units: int, *, must: bool = False) -> Charged:
        """Take USD/9 units from the lots in their order, then from the overdraft; return from where.

        ``must``: what was used already. Never refused; what no lot covers becomes ``wallet:debt``, whatever the policy.
        Raises InsufficientBalance (402), WalletFrozen (409), ValueError below 0.
        """
        if units < 0:
            raise ValueError("a charge is never negative: a correction is an entry of its own")
        if not must:
            self._check(units)
        paid = promo = provisional = 0
        left = units
        if left:
            lots, spent = self._lots, self._spent
            for place in range(self._first, len(lots)):
                lot = lots[place]
                take = min(lot.free, left)
                if take:
                    lot.free -= take
                    lot.remaining -= take
                    lot.changed = True
                    left -= take
                    if lot.kind == "paid":
                        paid += take
                    elif lot.kind == "provisional":
                        provisional += take
                    else:
                        promo += take
                if not left:
                    break
                self._first = place + 1
            self._free -= units - left
            spent.paid += paid
            spent.promo += promo
            spent.provisional += provisional
            spent.debt += left
        return Charged(units, paid, promo, provisional, left)

    def hold(self, units: int) -> Allocation:
        """Set USD/9 units aside: lots in their order; the rest, if the wallet can bear it, is uncovered.

        Raises InsufficientBalance (402), WalletFrozen (409), ValueError below 1.
        """
        if units <= 0:
            raise ValueError("a hold is for more than nothing")
        self._check(units)
        left, parts = units, []
        for lot in self._lots:
            take = min(lot.free, left) if lot.kind in _HELD_KINDS else 0
            if take:
                self._set_aside(lot, take)
                left -= take
                parts.append((lot.id, lot.kind, take))
            if not left:
                break
        self._uncovered += left
        return Allocation(tuple(parts), left)

    def release(self, allocation: Allocation) -> None:
        """Give back what a hold set aside. In a lot whose time is over it is free for its expiry only."""
        for lot, units in self._held_parts(allocation):
            self._set_aside(lot, -units)
        self._uncovered -= allocation.uncovered

    def capture(self, allocation: Allocation, units: int) -> Charged:
        """Charge what a hold was for: what it set aside first, then other credit, then debt. Never refused for money.

        What it set aside beyond ``units`` is given back. Raises ValueError below 0.
        """
        if units < 0:
            raise ValueError("a capture is never negative")
        paid = promo = 0
        left = units
        for lot, held in self._held_parts(allocation):
            take = min(held, left)
            lot.held -= take
            lot.remaining -= take
            lot.changed = True
            left -= take
            if lot.kind == "paid":
                paid += take
            else:
                promo += take
            if take < held:
                self._set_aside(lot, take - held)
        self._spent.captured_paid += paid
        self._spent.captured_promo += promo
        self._uncovered -= allocation.uncovered
        rest = self.charge(left, must=True)
        return Charged(units, paid + rest.paid, promo + rest.promotional, rest.provisional, rest.debt)

    def _held_parts(self, allocation: Allocation) -> list[tuple[Lot, int]]:
        """Return the lots of an allocation. Raises AllocationUnknown where the lots do not hold that much."""
        if allocation.uncovered > self._uncovered:
            raise AllocationUnknown(f"{self.wallet['id']}: {allocation.uncovered} uncovered, not {self._uncovered}")
        if not allocation.lots:
            return []
        by_id = {lot.id: lot for lot in self._lots}
        parts = []
        for lot_id, _, units in allocation.lots:
            lot = by_id.get(lot_id)
            if lot is None or lot.held < units:
                raise AllocationUnknown(f"{self.wallet['id']}: {lot_id} does not hold {units}")
            parts.append((lot, units))
        return parts

    def _set_aside(self, lot: Lot, units: int) -> None:
        """Move units of a lot into holds; below 0: back."""
        lot.held += units
        lot.changed = True
        if lot.usable:
            lot.free -= units
            self._free -= units
            if units < 0:
                self._first = 0
        if lot.kind == "paid":
            self._spent.held_paid += units
        else:
            self._spent.held_promo += units

    # --- writing ----------------------------------------------------------------------------------------------------

    def write(self, changes: Changes, *, kind: str, fact: str, merge: bool = False) -> None:
        """Write lots, the wallet's row, one entry and the events wallet.debited_low and wallet.negative. Once.

        ``merge``: the entry is summed up with the others of this kind in the book's flush; its fact is the flush's.
        """
        wallet, spent = self.wallet, self._spent
        merchant_id, wallet_id = wallet["merchant_id"], wallet["id"]
        write_lots(changes, merchant_id, self._lots)
        entry = spent.entry(kind, fact, wallet_id, kind if merge else None)
        if entry is not None:
            changes.post(entry)
        columns: dict[str, Any] = {}
        if self._remainder != wallet["rating_remainder"]:
            columns["rating_remainder"] = self._remainder
        if self._uncovered != wallet["held_uncovered_units"]:
            columns["held_uncovered_units"] = self._uncovered
        if wallet["low_balance_units"] is not None:
            before = self._available(self._free_at_open, wallet["held_uncovered_units"], 0)
            columns |= watch_threshold(changes, wallet, before, self.available, self._view.now_us)
        if columns:
            changes.update("wallet", (merchant_id, wallet_id), **columns)
        if spent.debt and not self._debt_at_open():
            tell_negative(changes, wallet, spent.debt)
