"""What goes back in the demo: a refund, a dispute that is lost after its credit was spent, and the rails' own reports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from orchestrator.cli.buyers import GOOD_CARD, PATIENCE_S, Buyer, Played, Shop
from orchestrator.cli.console import Failure
from orchestrator.cli.spenders import nano
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Capture, table_of
from orchestrator.ids import new_id

REFUNDED: Final = "GB"
DISPUTED: Final = "IT"
PART: Final = "5.00"


@dataclass(frozen=True, slots=True)
class Reversed:
    """What came of it."""

    refund: Mapping[str, Any]
    dispute: Mapping[str, Any]
    debt: str
    """What the customer owed when the dispute was lost, USD."""
    debt_after_topup: str
    topups: int
    reconciled: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        paid = nano(self.debt) > 0 == nano(self.debt_after_topup)
        ended = self.refund["status"] == "succeeded" and self.dispute["status"] == "lost"
        return bool(paid and ended and self.reconciled["ok"])

    def to_json(self) -> dict[str, Any]:
        return {
            "refund": dict(self.refund), "dispute": dict(self.dispute), "debt": self.debt,
            "debt_after_topup": self.debt_after_topup, "reconciliation": dict(self.reconciled), "ok": self.ok,
        }  # fmt: skip

    def print(self) -> None:
        refund, dispute, accounts = self.refund, self.dispute, self.reconciled["accounts"]
        back, taken = refund["paid_back"], dispute["disputed"]
        print(f"refund: {refund['amount']['amount']} USD of the credit, {back['amount']} {back['currency']} to the payer, "
              f"{refund['status']}")  # fmt: skip
        print(f"dispute: {taken['amount']} {taken['currency']}, {dispute['status']} after the credit was spent; the "
              f"customer owed {self.debt} USD, and after the next top-up {self.debt_after_topup}")  # fmt: skip
        for one in accounts:
            print(f"reconciled {one['rail']}/{one['account']}: {one['lines']} lines, {one['matched']} matched, "
                  f"{len(one['breaks'])} breaks")  # fmt: skip


async def reverse(shop: Shop, admin_token: str, reads: Reads, played: list[Played]) -> Reversed:
    """Refund one payment, have another taken back by its bank, then read the rails' reports."""
    by_country = {one.buyer.country: one for one in played}
    refund = await _refund(shop, by_country[REFUNDED])
    dispute, debt, after, topups = await _dispute(shop, reads, by_country[DISPUTED])
    admin = Shop(shop.http, shop.url, admin_token, shop.sandbox_url, shop.merchant)
    return Reversed(refund, dispute, debt, after, topups, await admin.call("POST", "/v1/reconciliations", {}))


async def _refund(shop: Shop, paid: Played) -> Mapping[str, Any]:
    body = {"amount": {"amount": PART, "currency": "USD"}, "reason": "asked by the customer"}
    made = await shop.call("POST", f"/v1/payments/{paid.payment}/refunds", body)
    return await _until(lambda: shop.call("GET", f"/v1/refunds/{made['id']}"), lambda one: one["status"] != "pending")


async def _dispute(shop: Shop, reads: Reads, paid: Played) -> tuple[Mapping[str, Any], str, str, int]:
    payment = await shop.call("GET", f"/v1/payments/{paid.payment}")
    wallet = payment["wallet"]
    left = (await shop.call("GET", f"/v1/wallets/{wallet}"))["balance"]["available"]
    used = {"id": new_id("use"), "wallet": wallet, "model": "demo-chat", "amount": left}
    await shop.call("POST", "/v1/usage", {"events": [used]})
    await _bank_takes_back(shop, reads, paid.payment)
    query = f"/v1/disputes?payment={paid.payment}"
    found = await _until(lambda: shop.call("GET", query), lambda one: bool(one["data"]))
    place = f"/v1/disputes/{found['data'][0]['id']}"
    await shop.call("POST", f"{place}/accept")
    lost = await _until(lambda: shop.call("GET", place), lambda one: nano(one["clawed_back"]["amount"]) > 0)
    debt = (await shop.call("GET", f"/v1/wallets/{wallet}"))["balance"]["debt"]
    again = await shop.play(Buyer(paid.buyer.country, paid.buyer.story, "card", amount="50.00", pays=GOOD_CARD))
    after = (await shop.call("GET", f"/v1/wallets/{wallet}"))["balance"]["debt"]
    return lost, debt, after, 1 if again.ok else 0


async def _bank_takes_back(shop: Shop, reads: Reads, payment: str) -> None:
    table = table_of(Capture)
    capture = await reads.one(select(table.c.money_id).where(table.c.payment_id == payment))
    if capture is None:
        raise Failure(f"{payment} has no capture")
    asked = {"payment_intent": capture["money_id"], "reason": "fraudulent"}
    async with shop.http.post(f"{shop.sandbox_url}/stripe/main/_bank/disputes", json=asked) as response:
        if response.status >= 400:
            raise Failure(f"the bank's dispute: {response.status} {await response.text()}")


async def _until(
    ask: Callable[[], Awaitable[dict[str, Any]]], true: Callable[[Mapping[str, Any]], bool]
) -> Mapping[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        seen = await ask()
        if true(seen) or time.monotonic() > deadline:
            return seen
        await asyncio.sleep(0.1)
