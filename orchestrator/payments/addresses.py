"""Permanent deposit addresses, one per wallet and family of chains; stored before they are shown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import DepositAddress, table_of
from orchestrator.database.unit import Changes, Lock, View, row_lock

PAGE: Final = 10_000
LOOK_AHEAD: Final = 20


@dataclass(frozen=True, slots=True)
class AddressOwner:
    merchant_id: str
    wallet_id: str


def address_locks(merchant_id: str, mode: str, wallet_id: str, family: str) -> list[Lock]:
    return [
        row_lock("deposit_address", merchant_id, mode, wallet_id, family),
        row_lock("address_counter", mode, family),
    ]


def ensure_address(
    view: View, changes: Changes, *, owner: AddressOwner, mode: str, family: str, derive: Callable[[int], bytes]
) -> bytes:
    """Return the wallet's address on a family of chains, derived and stored where it has none yet. Inside a unit."""
    row = view.one("deposit_address", owner.merchant_id, mode, owner.wallet_id, family)
    if row is not None:
        return bytes(row["address"])
    counter = view.one("address_counter", mode, family)
    index = 0 if counter is None else int(counter["next_index"])
    if counter is None:
        changes.insert("address_counter", mode=mode, family=family, next_index=1)
    else:
        changes.update("address_counter", (mode, family), next_index=index + 1)
    address = derive(index)
    changes.insert(
        "deposit_address",
        merchant_id=owner.merchant_id,
        mode=mode,
        wallet_id=owner.wallet_id,
        family=family,
        address_index=index,
        address=address,
        created_us=view.now_us,
    )
    return address


class AddressBook:
    """Every address of ours in memory, by mode and family: what the scanner matches recipients against.

    20 bytes each, about 100 MB for a million; who owns an address is asked of the database, for hits only. The keys of a
    dictionary, not a set: one of atoms only is left out by the garbage collector, which else would visit all of them.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._known: dict[tuple[str, str], dict[bytes, None]] = {}
        self._ownerless: dict[tuple[str, str], dict[int, bytes]] = {}
        self._next_index: dict[tuple[str, str], int] = {}

    async def refresh(self, mode: str, family: str) -> None:
        """Load the addresses that were issued since the last time, by whichever process."""
        scope = (mode, family)
        table = table_of(DepositAddress)
        known = self._known.setdefault(scope, {})
        ownerless = self._ownerless.setdefault(scope, {})
        while True:
            rows = await self._reads.all(
                select(table.c.address_index, table.c.address)
                .where(
                    table.c.mode == mode,
                    table.c.family == family,
                    table.c.address_index >= self._next_index.get(scope, 0),
                )
                .order_by(table.c.address_index)
                .limit(PAGE)
            )
            for row in rows:
                known[bytes(row["address"])] = None
                ownerless.pop(row["address_index"], None)
            if rows:
                self._next_index[scope] = rows[-1]["address_index"] + 1
            if len(rows) < PAGE:
                return

    def add(self, mode: str, family: str, addresses: Iterable[bytes]) -> None:
        """Watch more addresses. Whose they are is still asked of the database."""
        self._known.setdefault((mode, family), {}).update(dict.fromkeys(addresses))

    def look_ahead(self, mode: str, family: str, derive: Callable[[int], bytes], *, count: int = LOOK_AHEAD) -> None:
        """Watch addresses that were not issued (or whose row a restore lost): what arrives there has no owner."""
        scope = (mode, family)
        following = self._next_index.get(scope, 0)
        ownerless = self._ownerless.setdefault(scope, {})
        for index in range(following, following + count):
            if index not in ownerless:
                ownerless[index] = derive(index)
        self.add(mode, family, ownerless.values())

    def watched(self, mode: str, family: str) -> Container[bytes]:
        """Return what recipients are matched against."""
        return self._known.setdefault((mode, family), {})

    async def owners(self, mode: str, family: str, addresses: Collection[bytes]) -> dict[bytes, AddressOwner]:
        """Return whose the addresses are; those without an owner are left out."""
        table = table_of(DepositAddress)
        found: dict[bytes, AddressOwner] = {}
        wanted = sorted(set(addresses))
        for start in range(0, len(wanted), 500):
            rows = await self._reads.all(
                select(table.c.address, table.c.merchant_id, table.c.wallet_id).where(
                    table.c.mode == mode, table.c.family == family, table.c.address.in_(wanted[start : start + 500])
                )
            )
            for row in rows:
                found[bytes(row["address"])] = AddressOwner(row["merchant_id"], row["wallet_id"])
        return found
