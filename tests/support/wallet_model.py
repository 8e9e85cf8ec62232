"""What a prepaid wallet is, told a second time: plain integers, lists and sorting, nothing shared with the product.

Tests hold the real ledger against it after every step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

FOREVER = 2**63


@dataclass
class ModelLot:
    id: str
    kind: str
    free: int
    expires_us: int = FOREVER
    held: int = 0

    @property
    def place(self) -> tuple[int, int, str]:
        """Promotional credit that expires first, then paid, oldest first (ids are ordered by time)."""
        promotional = self.kind in {"promotional", "compensation"}
        return (0, self.expires_us, self.id) if promotional else (1, 0, self.id)


@dataclass
class ModelHold:
    id: str
    units: int
    expires_us: int
    parts: list[tuple[ModelLot, int]]
    uncovered: int
    status: str = "open"
    captured: int = 0


@dataclass
class ModelWallet:
    """Amounts are nano-dollars; ``carry`` is the exact fraction of one that rated usage has not charged yet."""

    lots: list[ModelLot] = field(default_factory=list)
    holds: dict[str, ModelHold] = field(default_factory=dict)
    debt: int = 0
    policy: str = "hard"
    limit: int = 0
    frozen: bool = False
    carry: Fraction = Fraction(0)
    used_paid: int = 0
    used_promo: int = 0
    expired: int = 0

    def usable(self, now_us: int) -> list[ModelLot]:
        return sorted((lot for lot in self.lots if lot.expires_us > now_us), key=lambda lot: lot.place)

    def free(self, now_us: int) -> int:
        return sum(lot.free for lot in self.usable(now_us))

    def spendable(self, now_us: int) -> int:
        room = {"hard": 0, "grace": max(0, self.limit - self.debt), "debt": FOREVER}[self.policy]
        uncovered = sum(hold.uncovered for hold in self.holds.values() if hold.status == "open")
        return self.free(now_us) + room - uncovered

    # --- what happens -----------------------------------------------------------------------------------------------

    def credit(self, units: int, lot: ModelLot | None) -> None:
        """Money comes in: debt is repaid first; ``lot`` is where the rest goes."""
        repaid = min(units, self.debt)
        self.debt -= repaid
        self.used_paid += repaid  # what the merchant had given on credit is earned now
        if lot is not None:
            lot.free = units - repaid
            self.lots.append(lot)

    def charge(self, units: int, now_us: int) -> bool:
        """Spend, unless it is refused."""
        if self.frozen or units > self.spendable(now_us):
            return False
        self.must_charge(units, now_us)
        return True

    def must_charge(self, units: int, now_us: int) -> None:
        left = units
        for lot in self.usable(now_us):
            take = min(lot.free, left)
            lot.free -= take
            left -= take
            self._used(lot, take)
        self.debt += left

    def rate(self, cost: Fraction, now_us: int) -> int | None:
        """Charge a cost in exact nano-dollars; return what was charged, or None where it was refused."""
        units, carry = divmod(self.carry + cost, 1)
        if not self.charge(int(units), now_us):
            return None
        self.carry = carry
        return int(units)

    def hold(self, id_: str, units: int, now_us: int, lives_us: int) -> bool:
        if self.frozen or units > self.spendable(now_us):
            return False
        left, parts = units, []
        for lot in self.usable(now_us):
            take = min(lot.free, left)
            if take:
                lot.free -= take
                lot.held += take
                left -= take
                parts.append((lot, take))
        self.holds[id_] = ModelHold(id_, units, now_us + lives_us, parts, left)
        return True

    def capture(self, hold: ModelHold, units: int, now_us: int) -> bool:
        """Never refused but where the hold was ended by its owner. What it is asked again says the same again."""
        if hold.status == "captured":
            return hold.captured == units
        if hold.status == "voided":
            return False
        left = units
        alive = hold.status == "open" and hold.expires_us > now_us
        for lot, part in hold.parts if hold.status == "open" else ():
            take = min(part, left) if alive else 0
            lot.held -= part
            lot.free += part - take
            left -= take
            self._used(lot, take)
        hold.status, hold.captured, hold.uncovered = "captured", units, 0
        self.must_charge(left, now_us)
        return True

    def give_back(self, hold: ModelHold, word: str) -> None:
        for lot, part in hold.parts:
            lot.held -= part
            lot.free += part
        hold.status, hold.uncovered = word, 0

    def expire_lots(self, now_us: int) -> None:
        """What is over goes, but for the part that an open hold still has."""
        for lot in self.lots:
            if lot.expires_us <= now_us:
                self.expired += lot.free
                lot.free = 0

    def _used(self, lot: ModelLot, units: int) -> None:
        if lot.kind == "paid":
            self.used_paid += units
        else:
            self.used_promo += units

    # --- what the books should say ----------------------------------------------------------------------------------

    def accounts(self) -> dict[str, int]:
        """Return the wallet's accounts, debit positive, those of nothing left out."""
        paid = [lot for lot in self.lots if lot.kind == "paid"]
        promo = [lot for lot in self.lots if lot.kind != "paid"]
        found = {
            "wallet:paid": -sum(lot.free for lot in paid),
            "wallet:held_paid": -sum(lot.held for lot in paid),
            "wallet:promo": -sum(lot.free for lot in promo),
            "wallet:held_promo": -sum(lot.held for lot in promo),
            "wallet:debt": self.debt,
        }
        return {code: units for code, units in found.items() if units}
