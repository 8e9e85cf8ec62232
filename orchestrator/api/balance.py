"""The merchant's own balance: what is earned, what may be paid out, what is kept, and when more comes."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field
from sqlalchemy import select

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Shown
from orchestrator.clock import DAY_US, from_us, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, Earning, table_of
from orchestrator.ledger.payout_recipes import MerchantSide
from orchestrator.ledger.payouts import whole_cents
from orchestrator.payments.story import usd_body
from orchestrator.services import Services
from rates.money import WALLET_USD

RELEASES_SHOWN: Final = 10
_CODES: Final = ("merchant:pending", "merchant:available", "merchant:reserve", "merchant:unfunded",
                 "merchant:receivable", "payout:transit")  # fmt: skip


class ReleaseShown(Shown):
    earned_on: str = Field(description="The UTC day whose earnings these are.")
    amount: str = Field(description="As planned: what is not there by then is not released.")
    at: str


class MerchantBalance(Shown):
    currency: str
    pending: str = Field(description="Earned, and waiting for its delay; below zero where corrections took more.")
    available: str
    payable: str = Field(description="What a payout can take now: available without what is owed, in whole cents.")
    reserve: str
    unfunded: str = Field(description="Used, but not covered by settled money (debt, provisional credit).")
    receivable: str = Field(description="What the merchant owes: repaid first.")
    in_transit: str = Field(description="Asked for or sent to the bank.")
    next_available: list[ReleaseShown] = Field(description="From pending, the next ten days.")
    next_reserve: list[ReleaseShown] = Field(description="From the reserve, the next ten.")


async def merchant_balance(context: Context[Services]) -> Answer:
    reads, merchant_id, mode = context.services.reads, context.merchant_id, context.mode
    accounts = table_of(Account)
    rows = await reads.all(
        select(accounts.c.code, accounts.c.balance).where(
            accounts.c.merchant_id == merchant_id,
            accounts.c.mode == mode,
            accounts.c.code.in_(_CODES),
            accounts.c.subject == "",
            accounts.c.asset == str(WALLET_USD),
        )
    )
    found = {row["code"]: row["balance"] for row in rows}
    pending, available, reserve, unfunded, receivable, transit = (found.get(code, 0) for code in _CODES)
    side = MerchantSide(-pending, -available, -reserve, receivable)
    shown = {
        "pending": side.pending, "available": side.available, "payable": whole_cents(side.payable),
        "reserve": side.reserve, "unfunded": -unfunded, "receivable": side.receivable, "in_transit": -transit,
    }  # fmt: skip
    return Answer({
        "currency": WALLET_USD.code,
        **{name: usd_body(units)["amount"] for name, units in shown.items()},
        "next_available": await _releases(reads, merchant_id, mode, "pending", "units", "due_us"),
        "next_reserve": await _releases(reads, merchant_id, mode, "available", "reserve_units", "reserve_due_us"),
    })  # fmt: skip


async def _releases(
    reads: Reads, merchant_id: str, mode: str, status: str, amount: str, due: str
) -> list[dict[str, Any]]:
    table = table_of(Earning)
    query = select(table).where(
        table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.status == status, table.c[amount] != 0
    )
    return [
        {
            "earned_on": from_us(row["day"] * DAY_US).date().isoformat(),
            "amount": usd_body(row[amount])["amount"],
            "at": rfc3339(row[due]),
        }
        for row in await reads.all(query.order_by(table.c.day).limit(RELEASES_SHOWN))
    ]


ENDPOINTS = (
    Endpoint("GET", "/v1/balance", merchant_balance, summary="Look at the merchant's own balance", tag="Payouts",
             answer=MerchantBalance),
)  # fmt: skip
