"""Reading wallets: the balance of each part, entries, deposit addresses; and making a customer's wallet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import select

from adapters.base import RailAdapter, ScansChain
from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, DepositAddress, Wallet, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.errors import NotFound
from orchestrator.ledger.wallet_settings import settings_shown
from orchestrator.payments.addresses import AddressOwner, address_locks, ensure_address
from orchestrator.payments.customers import CustomerRef, ensure_customer
from orchestrator.payments.story import usd_body
from rates.money import WALLET_USD

BALANCE_PARTS: Mapping[str, tuple[str, ...]] = {
    "available": ("wallet:paid", "wallet:promo", "wallet:provisional"),
    "held": ("wallet:held_paid", "wallet:held_promo", "wallet:frozen", "wallet:refunding"),
    "provisional": ("wallet:provisional",),
    "promotional": ("wallet:promo",),
    "debt": ("wallet:debt",),
}
"""What of the chart each field of a balance adds up; ``provisional`` and ``promotional`` are parts of ``available``."""
_PARTS: Final = sorted({code for codes in BALANCE_PARTS.values() for code in codes})


async def find_wallet(reads: Reads, merchant_id: str, mode: str, wallet_id: str) -> Row:
    """Return a wallet's row. Raises NotFound."""
    table = table_of(Wallet)
    row = await reads.one(
        select(table).where(table.c.merchant_id == merchant_id, table.c.id == wallet_id, table.c.mode == mode)
    )
    if row is None:
        raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
    return row


async def ensure_wallet(writer: Writer, ref: CustomerRef) -> str:
    """Return the id of the customer's wallet, made where there is none."""

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        return {"wallet": ensure_customer(view, changes, ref)["wallet_id"]}

    applied = await writer.submit(Unit(ref.merchant_id, ref.mode, None, (ref.lock(),), decide))
    wallet_id: str = applied.answer["wallet"]
    return wallet_id


async def wallet_object(reads: Reads, rails: Mapping[tuple[str, str], RailAdapter], wallet: Row) -> dict[str, Any]:
    """Return a wallet as the API shows it; balances as decimal strings."""
    accounts = table_of(Account)
    rows = await reads.all(
        select(accounts.c.code, accounts.c.balance).where(
            accounts.c.merchant_id == wallet["merchant_id"],
            accounts.c.mode == wallet["mode"],
            accounts.c.code.in_(_PARTS),  # the key begins with it: without, every account of the merchant is read
            accounts.c.subject == wallet["id"],
            accounts.c.asset == str(WALLET_USD),
        )
    )
    parts = {row["code"]: row["balance"] for row in rows}
    # The books count what we owe to a customer as negative; a debt is what the customer owes.
    balance = {
        name: usd_body((1 if name == "debt" else -1) * sum(parts.get(code, 0) for code in codes))["amount"]
        for name, codes in BALANCE_PARTS.items()
    }
    return {
        "id": wallet["id"],
        "customer": wallet["customer_id"],
        "reference": wallet["customer_reference"],
        "currency": WALLET_USD.code,
        "balance": balance,
        "status": wallet["status"],
        **settings_shown(wallet),
        "deposit_addresses": await deposit_addresses(reads, rails, wallet),
        "created_at": rfc3339(wallet["created_us"]),
    }


async def deposit_addresses(
    reads: Reads, rails: Mapping[tuple[str, str], RailAdapter], wallet: Row
) -> list[dict[str, Any]]:
    """Return the wallet's permanent addresses: one per family, with every chain and token that is watched there."""
    table = table_of(DepositAddress)
    rows = await reads.all(
        select(table).where(
            table.c.merchant_id == wallet["merchant_id"],
            table.c.mode == wallet["mode"],
            table.c.wallet_id == wallet["id"],
        )
    )
    shown = []
    for row in rows:
        scanners = _scanners(rails, wallet["mode"], row["family"])
        if scanners:
            methods = sorted({token.method for scanner in scanners for token in scanner.tokens})
            chains = sorted(scanner.chain for scanner in scanners)
            address = scanners[0].show_address(bytes(row["address"]))
            shown.append({"family": row["family"], "address": address, "chains": chains, "methods": methods})
    return shown


async def ensure_deposit_addresses(writer: Writer, rails: Mapping[tuple[str, str], RailAdapter], wallet: Row) -> None:
    """Give a wallet its address on every family of chains that is watched; stored before anybody sees it."""
    merchant, mode, owner = wallet["merchant_id"], wallet["mode"], AddressOwner(wallet["merchant_id"], wallet["id"])
    families = {
        adapter.family: adapter
        for adapter in rails.values()
        if isinstance(adapter, ScansChain) and adapter.account.mode.value == mode
    }
    for family, scanner in sorted(families.items()):

        def decide(view: View, changes: Changes, family: str = family, scanner: ScansChain = scanner) -> dict[str, Any]:
            derive = scanner.derive_address
            ensure_address(view, changes, owner=owner, mode=mode, family=family, derive=derive)
            return {}

        locks = address_locks(merchant, mode, wallet["id"], family)
        await writer.submit(Unit(merchant, mode, None, locks, decide))


def _scanners(rails: Mapping[tuple[str, str], RailAdapter], mode: str, family: str) -> list[ScansChain]:
    return [
        adapter
        for adapter in rails.values()
        if isinstance(adapter, ScansChain) and adapter.family == family and adapter.account.mode.value == mode
    ]
