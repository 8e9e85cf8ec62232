"""Wallets: make one, read its balances, its entries, its deposit addresses."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.api.checkout import CustomerBody
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Page, Shown, listed
from orchestrator.clock import rfc3339
from orchestrator.database.tables import JournalEntry, Posting, table_of
from orchestrator.ledger.wallet_settings import settings_unit
from orchestrator.payments.story import usd_body
from orchestrator.payments.wallets import (
    deposit_addresses,
    ensure_deposit_addresses,
    ensure_wallet,
    find_wallet,
    wallet_object,
)
from orchestrator.services import Services
from rates.money import WALLET_USD


class CreateWallet(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"customer": {"reference": "alice", "country": "BR"}}]})

    customer: CustomerBody


class BalanceShown(Shown):
    available: str = Field(description="What can be spent; provisional and promotional are parts of it.")
    held: str
    provisional: str
    promotional: str
    debt: str


class AddressShown(Shown):
    family: str
    address: str
    chains: list[str] = Field(description="CAIP-2 names of the chains that are watched there.")
    methods: list[str]


class WalletShown(Shown):
    id: str
    customer: str
    reference: str
    currency: str
    balance: BalanceShown
    status: str = Field(description="active, frozen or closed")
    overdraft: str
    overdraft_limit: dict[str, str]
    low_balance: dict[str, str] | None
    runway_days: int | None
    deposit_addresses: list[AddressShown]
    created_at: str


class WalletSettings(Body):
    """How a wallet may be spent, when it warns. A limit or threshold is in USD."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"overdraft": "grace", "overdraft_limit": {"amount": "5.00", "currency": "USD"}}]
        }
    )

    status: Literal["active", "frozen"] = Field(
        default="active", description="A frozen wallet pays nothing; it takes credit and captures of open holds."
    )
    overdraft: Literal["hard", "grace", "debt"] = Field(
        default="hard", description="Of a charge above the balance: refused, taken up to the limit, always taken."
    )
    overdraft_limit: MoneyBody | None = Field(default=None, description="How far a `grace` wallet may go into debt.")
    low_balance: MoneyBody | None = Field(
        default=None, description="Below it, wallet.debited_low is sent; null: never."
    )
    runway_days: int | None = Field(
        default=None, ge=1, le=365,
        description="wallet.debited_low too when the balance lasts fewer days, at the rate of the last seven.",
    )  # fmt: skip

    def columns(self, *, only_given: bool) -> dict[str, Any]:
        """Return the columns of a wallet that this sets. Raises Invalid."""
        columns: dict[str, Any] = {"status": self.status, "overdraft": self.overdraft, "runway_days": self.runway_days}
        columns["overdraft_units"] = _units(self.overdraft_limit, "/overdraft_limit") or 0
        columns["low_balance_units"] = _units(self.low_balance, "/low_balance")
        if not only_given:
            return columns
        return {name: value for name, value in columns.items() if _FIELDS.get(name, name) in self.model_fields_set}


_FIELDS: Final = {"overdraft_units": "overdraft_limit", "low_balance_units": "low_balance"}


def _units(amount: MoneyBody | None, pointer: str) -> int | None:
    return None if amount is None else amount.money(WALLET_USD, pointer=pointer).units


class EntryShown(Shown):
    id: str = Field(description="Entry and line.")
    kind: str
    part: str = Field(description="Which part of the wallet: paid, promo, held_paid ...")
    amount: dict[str, str] = Field(description="Positive: credited to the wallet.")
    balance_after: dict[str, str] = Field(description="Of that part.")
    source: str = Field(description="The capture, deposit or grant that caused it.")
    payment: str | None
    created_at: str


async def create_wallet(context: Context[Services], body: CreateWallet) -> Answer:
    services = context.services
    wallet_id = await ensure_wallet(services.writer, body.customer.ref(context.merchant_id, context.mode))
    return await _shown(context, wallet_id)


async def get_wallet(context: Context[Services]) -> Answer:
    return await _shown(context, context.path["id"])


async def replace_settings(context: Context[Services], body: WalletSettings) -> Answer:
    return await _set(context, body.columns(only_given=False))


async def change_settings(context: Context[Services], body: WalletSettings) -> Answer:
    return await _set(context, body.columns(only_given=True))


async def _set(context: Context[Services], columns: dict[str, Any]) -> Answer:
    wallet_id = context.path["id"]
    await context.services.writer.submit(settings_unit(context.merchant_id, context.mode, wallet_id, columns))
    return await _shown(context, wallet_id)


async def _shown(context: Context[Services], wallet_id: str) -> Answer:
    services = context.services
    wallet = await find_wallet(services.reads, context.merchant_id, context.mode, wallet_id)
    return Answer(await wallet_object(services.reads, services.rails, wallet))


async def list_entries(context: Context[Services], query: Page) -> Answer:
    reads = context.services.reads
    wallet = await find_wallet(reads, context.merchant_id, context.mode, context.path["id"])
    posting, entry = table_of(Posting), table_of(JournalEntry)
    same = (posting.c.merchant_id == entry.c.merchant_id) & (posting.c.mode == entry.c.mode)
    wanted = (
        select(posting, entry.c.id, entry.c.kind, entry.c.fact, entry.c.payment_id, entry.c.created_us)
        .join(entry, same & (posting.c.sequence == entry.c.sequence))
        .where(
            posting.c.merchant_id == context.merchant_id,
            posting.c.mode == context.mode,
            posting.c.subject == wallet["id"],
        )
    )
    if query.after is not None:
        sequence, _, line = query.after.partition(".")
        if not (sequence.isdecimal() and line.isdecimal() and len(sequence) < 19 and len(line) < 6):
            return Answer({"data": [], "next_cursor": None})
        before = posting.c.sequence < int(sequence)
        wanted = wanted.where(before | ((posting.c.sequence == int(sequence)) & (posting.c.line < int(line))))
    found = await reads.all(wanted.order_by(posting.c.sequence.desc(), posting.c.line.desc()).limit(query.limit + 1))
    for row in found:
        row["cursor"] = f"{row['sequence']}.{row['line']}"
    rows, next_cursor = listed(found, query, cursor="cursor")
    return Answer({"data": [_entry(row) for row in rows], "next_cursor": next_cursor})


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    debt = row["code"] == "wallet:debt"
    sign = 1 if debt else -1  # what we owe to a customer is a credit in the books, and good news in a wallet
    return {
        "id": f"{row['id']}.{row['line']}",
        "kind": row["kind"],
        "part": row["code"].partition(":")[2],
        "amount": usd_body(sign * row["units"]),
        "balance_after": usd_body(sign * row["balance_after"]),
        "source": row["fact"],
        "payment": row["payment_id"],
        "created_at": rfc3339(row["created_us"]),
    }


async def list_deposit_addresses(context: Context[Services]) -> Answer:
    services = context.services
    wallet = await find_wallet(services.reads, context.merchant_id, context.mode, context.path["id"])
    await ensure_deposit_addresses(services.writer, services.rails, wallet)
    return Answer({"data": await deposit_addresses(services.reads, services.rails, wallet), "next_cursor": None})


ENDPOINTS = (
    Endpoint("POST", "/v1/wallets", create_wallet, summary="Create a customer's wallet, or find it", tag="Wallets",
             body=CreateWallet, answer=WalletShown, status=201),
    Endpoint("GET", "/v1/wallets/{id}", get_wallet, summary="Look at a wallet", tag="Wallets", answer=WalletShown),
    Endpoint("PUT", "/v1/wallets/{id}", replace_settings, summary="Set how a wallet may be spent; what is left out is as at "
             "first", tag="Wallets", body=WalletSettings, answer=WalletShown, refusals=(409,)),
    Endpoint("PATCH", "/v1/wallets/{id}", change_settings, summary="Change some of how a wallet may be spent",
             tag="Wallets", body=WalletSettings, answer=WalletShown, refusals=(409,)),
    Endpoint("GET", "/v1/wallets/{id}/entries", list_entries, summary="List a wallet's entries, newest first",
             tag="Wallets", query=Page, answer=Listed[EntryShown]),
    Endpoint("GET", "/v1/wallets/{id}/deposit_addresses", list_deposit_addresses, tag="Wallets",
             summary="List a wallet's permanent addresses; made at the first call", answer=Listed[AddressShown]),
)  # fmt: skip
