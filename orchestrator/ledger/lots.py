"""A wallet's open lots in the order in which they are spent. Pure; cheap to read: one hot wallet is read for each charge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.database.unit import Changes, Row

NEVER_US: Final = 2**63 - 1
"""Later than any expiry."""

_RANKS: Final = {"promotional": 0, "compensation": 0, "paid": 1, "provisional": 2}
PROMO_KINDS: Final = frozenset({"promotional", "compensation"})
"""Kinds whose credit stands in ``wallet:promo``."""


class Lot:
    """One open lot while a purse works on it. All amounts USD/9."""

    __slots__ = ("changed", "free", "held", "held_at_first", "id", "kind", "remaining", "usable")

    def __init__(self, row: Row, now_us: int) -> None:
        self.id: str = row["id"]
        self.kind: str = row["kind"]
        self.remaining: int = row["remaining_units"]
        self.held: int = row["held_units"]
        self.held_at_first = self.held
        expires_us = row["expires_us"]
        self.usable = expires_us is None or expires_us > now_us
        """False: its time is over, whether or not the expiry was booked yet."""
        self.free: int = self.remaining - self.held - row["frozen_units"] if self.usable else 0
        """What a charge may take."""
        self.changed = False


def in_order(rows: Sequence[Row], now_us: int) -> list[Lot]:
    """Return lots as they are consumed: free credit that expires first, then paid, oldest first, then provisional."""
    if len(rows) > 1:
        rows = sorted(rows, key=_place)
    return [Lot(row, now_us) for row in rows]


def _place(row: Row) -> tuple[int, int, int, str]:
    rank = _RANKS[row["kind"]]
    if rank:
        return (rank, row["created_us"], 0, row["id"])
    expires_us = row["expires_us"]
    return (rank, NEVER_US if expires_us is None else expires_us, row["priority"], row["id"])


def write_lots(changes: Changes, merchant_id: str, lots: Sequence[Lot]) -> None:
    """Write what changed; a lot of which nothing remains is closed and never read again.

    A column that stays is not named: ``open`` is in an index, which SQLite would write again.
    """
    for lot in lots:
        if lot.changed:
            columns = {"remaining_units": lot.remaining}
            if lot.held != lot.held_at_first:
                columns["held_units"] = lot.held
            if not lot.remaining:
                columns["open"] = 0
            changes.update("lot", (merchant_id, lot.id), **columns)
