"""Permanent deposit addresses, one per wallet and family of chains; stored before they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import DepositAddress, table_of
from orchestrator.database.unit import Changes, Lock, View, row_lock


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
    """Every address of ours in memory, by mode and family: what the scanner matches recipients against."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._owners: dict[tuple[str, str], dict[bytes, AddressOwner]] = {}
        self._next_index: dict[tuple[str, str], int] = {}

    async def refresh(self, mode: str, family: str) -> None:
        """Load the addresses that were issued since the last time, by whichever process."""
        scope = (mode, family)
        table = table_of(DepositAddress)
        rows = await self._reads.all(
            select(table)
            .where(
                table.c.mode == mode,
                table.c.family == family,
                table.c.address_index >= self._next_index.get(scope, 0),
            )
            .order_by(table.c.address_index)
        )
        owners = self._owners.setdefault(scope, {})
        for row in rows:
            owners[bytes(row["address"])] = AddressOwner(row["merchant_id"], row["wallet_id"])
            self._next_index[scope] = row["address_index"] + 1

    def owner(self, mode: str, family: str, address: bytes) -> AddressOwner | None:
        return self._owners.get((mode, family), {}).get(address)
