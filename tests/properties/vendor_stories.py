"""One payment's life at a real simulator: the test says which of the vendor's messages arrives when, and how often.

``live`` plays a story for a merchant of its own and returns what is left at the end, in words that do not depend on ids.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

from sqlalchemy import select

from adapters.base import ReceivesWebhooks
from adapters.operations import AnswersDisputes, Document, Evidence, RefundOrder, Refunds, ReportsSettlement
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from orchestrator.metering.usage_input import read_event
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.inbox import PLATFORM
from orchestrator.payments.offers import offers_of
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.services import Services
from rates.money import WALLET_USD, Asset, Money
from tests.properties.vendor_stage import End, Post, Stage, Story
from tests.support.world import MODE

COUNTRY = {"stripe": "DE", "adyen": "BR"}
ROUNDS_MAX = 12
PDF = Document("answer.pdf", "application/pdf", b"%PDF-1.4 delivered")


async def usual_end(stage: Stage, story: Story) -> End:
    """Return what is left when every message comes once and in order."""
    if story not in stage.ends:
        stage.ends[story] = await Life(stage, story, None).live()
    return stage.ends[story]


@dataclass
class Life:
    """One story, lived once. ``chance``: how the letters travel; None = in order, each once."""

    stage: Stage
    story: Story
    chance: Random | None
    merchant: str = field(default_factory=lambda: new_id("mer"))
    late: list[Post] = field(default_factory=list)
    """Still on their way."""

    @property
    def services(self) -> Services:
        return self.stage.services

    async def live(self) -> End:
        rail = self.story.rail
        mark = new_id("we")
        customer = CustomerRef(self.merchant, MODE, "buyer", COUNTRY[rail])
        session = await self.services.checkout.create(NewSession(customer, Money.parse("20.00", WALLET_USD)))
        offer = next(one for one in offers_of(session) if one.rail == rail)
        chosen = await self.services.selection.select(self.merchant, MODE, session["id"], offer.id)
        page = chosen["next_action"]["url"]
        await self._buy(page)
        await self._travel()
        await self._until_credited()
        (capture,) = await self._rows(tables.Capture)
        if self.story.spent != "0":
            await self._spend(capture)
        await self._refund(capture)
        await self._travel()
        await self._dispute(page, capture)
        await self._settle()
        stuck = [row for row in await self._all(tables.RawWebhook) if row["id"] > mark and row["state"] != "processed"]
        assert not stuck, [(row["state"], row["note"], row["body"]) for row in stuck]
        report = await check(self.services.reads)
        assert report.ok, report.findings
        return await self._end()

    # --- at the vendor ------------------------------------------------------------------------------------------------

    async def _buy(self, page: str) -> None:
        stripe = self.story.rail == "stripe"
        if self.story.declined:
            await self._post(page, {"card": "4000000000009995"} if stripe else {"outcome": "refused", "reason": "12"})
            await self._travel()
        comes_back = self.story.refund == "comes back"
        card = "4000000000005126" if comes_back else "4242424242424242"
        await self._post(page, {"card": card} if stripe else {"outcome": "paid"})

    async def _spend(self, capture: Row) -> None:
        (payment,) = await self._rows(tables.Payment, id=capture["payment_id"])
        usage = {"id": new_id("use"), "wallet": payment["wallet_id"], "amount": self.story.spent, "model": "m"}
        await self.services.metering.record(self.merchant, MODE, [read_event(usage)])

    async def _refund(self, capture: Row) -> None:
        kind, rail = self.story.refund, self.story.rail
        if kind == "comes back" and rail == "adyen":
            await self._control({"refund_fails": "account closed"})
        if kind != "none":
            units = None if kind == "whole" else 5 * 10**9
            await self.services.refunds.request(
                RefundWanted(new_id("ref"), self.merchant, MODE, capture["payment_id"], units, "asked", "source",
                             forced=True, by="ops")
            )  # fmt: skip
        if self.story.dashboard != "none" and kind != "whole":
            await self._in_dashboard(capture)
        if rail == "stripe":
            await self._post(f"{self.stage.here.sandbox_url}/stripe/main/_bank/refunds", {})
        else:
            await self._control({"refund_fails": ""})

    async def _in_dashboard(self, capture: Row) -> None:
        gone = sum(row["local_units"] for row in await self._rows(tables.Refund))
        # All that is left is more than its share (fees go too), so it takes what credit is left: that depends on whether
        # one of ours came back by then. See docs/decisions/0012.
        part = self.story.dashboard == "part" or self.story.refund == "comes back"
        units = 300 if part else capture["units"] - gone
        local = Money(units, Asset.parse(capture["asset"]))
        if self.story.rail == "stripe":
            account = self.services.settings.rails["stripe"].accounts["main"]
            async with self.stage.here.http.post(
                f"{self.stage.here.sandbox_url}/stripe/main/v1/refunds",
                data={"payment_intent": capture["money_id"], "amount": str(local.units)},
                headers={"Authorization": f"Bearer {account.options['api_key']}"},
            ) as answer:
                assert answer.status == 200, await answer.text()
            return
        adapter = self.services.rails["adyen", "main"]
        assert isinstance(adapter, Refunds)
        order = RefundOrder(f"dashboard-{new_id('x')}", "", capture["money_id"], local, datetime.now(UTC))
        await adapter.refund_payment(order)

    async def _dispute(self, page: str, capture: Row) -> None:
        how, rail = self.story.dispute, self.story.rail
        if how == "none":
            return
        adapter = self.services.rails[rail, "main"]
        assert isinstance(adapter, AnswersDisputes)
        if rail == "stripe":
            asked = {"status": "warning_needs_response"} if how == "asked" else {}
            opened = await self._post(
                f"{self.stage.here.sandbox_url}/stripe/main/_bank/disputes",
                {"payment_intent": capture["money_id"], **asked},
            )
            dispute = opened["id"]
        else:
            outcome = {"unannounced": "unannounced_chargeback", "capture fails": "capture_failed"}.get(
                how, "chargeback"
            )
            dispute = (await self._post(page, {"outcome": outcome}))["psp_reference"]
        if how in {"won", "again"} and rail == "adyen":
            await adapter.submit_evidence(dispute, Evidence("", documents=(PDF,)))
            if how == "again":
                await self._post(page, {"outcome": "second_chargeback"})
        elif how == "won":
            await adapter.submit_evidence(dispute, Evidence("winning_evidence"))
        elif how == "lost" or (how == "again" and rail == "stripe"):
            await adapter.accept_dispute(dispute)

    async def _post(self, url: str, body: dict[str, Any]) -> Any:
        return await self.stage.here.post(url, body)

    async def _control(self, switches: dict[str, Any]) -> None:
        await self.stage.here.control(self.story.rail, "main", switches)

    # --- on the way ---------------------------------------------------------------------------------------------------

    async def _travel(self) -> None:
        """Let letters arrive: in any order, some twice, some later, some never."""
        if self.chance is None:
            await self._all_arrive()
            return
        self.late += await self.stage.caught(self.story.rail)
        waiting, self.late = sorted(self.late, key=lambda post: post.name), []
        self.chance.shuffle(waiting)
        for post in waiting:
            match self.chance.choice(("now", "now", "twice", "again later", "later", "never")):
                case "now":
                    await self._arrive(post)
                case "twice":
                    await self._arrive(post)
                    await self._arrive(post)
                case "again later":
                    await self._arrive(post)
                    self.late.append(post)
                case "never" if post.may_be_lost:
                    pass
                case _:
                    self.late.append(post)
            if self.chance.random() < 0.3:
                await self._poll()

    async def _all_arrive(self) -> None:
        self.late += await self.stage.caught(self.story.rail)
        waiting, self.late = self.late, []
        for post in waiting:
            await self._arrive(post)

    async def _arrive(self, post: Post) -> None:
        adapter = self.services.rails[post.rail, "main"]
        assert isinstance(adapter, ReceivesWebhooks)
        assert await self.services.inbox.take(post.rail, "main", post.headers, post.body) == adapter.webhook_answer()
        await self.services.inbox.run_once()

    async def _until_credited(self) -> None:
        payment: Row = {}
        for _ in range(ROUNDS_MAX):
            (payment,) = await self._rows(tables.Payment)
            if payment["status"] == "credited":
                return
            await self._travel()
            await self._poll()
        raise AssertionError(f"not credited: {payment}")

    async def _settle(self) -> None:
        """Let all that may still come, come; then ask until nothing is new."""
        await self._travel()
        await self._all_arrive()
        before = None
        for _ in range(ROUNDS_MAX):
            await self._poll()
            await self._reconcile()
            await self._all_arrive()
            now = await self._end()
            if now == before:
                return
            before = now
        raise AssertionError(f"it does not come to rest: {before}")

    async def _reconcile(self) -> None:
        if isinstance(self.services.rails[self.story.rail, "main"], ReportsSettlement):
            await self.services.reconciliation.run(self.story.rail, "main")

    async def _poll(self) -> None:
        """Make everything due and ask."""
        await self._make_due()
        await self.services.watch.run_once()
        await self.services.reservations.run_once()
        await self.services.inbox.run_once()
        await RefundWatch(self.services.refunds).run_once()
        await self.services.disputes.poll()
        await self.services.disputes.run_once()

    async def _make_due(self) -> None:
        for name, model in (("attempt", tables.Attempt), ("refund", tables.Refund), ("dispute", tables.Dispute)):
            for row in await self._rows(model):
                await self._due(name, "next_check_us", self.merchant, (self.merchant, row["id"]))
        for row in await self._rows(tables.Reservation):
            await self._due("reservation", "next_us", self.merchant, (self.merchant, row["attempt_id"]))
        for row in await self._all(tables.RawWebhook):
            if row["state"] == "received":
                await self._due("raw_webhook", "next_try_us", PLATFORM, (row["id"],))

    async def _due(self, table: str, column: str, merchant: str, key: tuple[str, ...]) -> None:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            changes.update(table, key, **{column: view.now_us - 1})
            return {}

        mode = "" if merchant == PLATFORM else MODE
        await self.services.writer.submit(Unit(merchant, mode, None, (row_lock(table, *key),), decide))

    # --- at the end ---------------------------------------------------------------------------------------------------

    async def _end(self) -> End:
        (payment,) = await self._rows(tables.Payment)
        exact: dict[str, Any] = {"payment": payment["status"]}
        nanos = Counter({f"payment {name}": payment[name] for name in ("refunded_units", "refunding_units")})
        exact["credited"] = payment["credited_units"]
        for row in await self._rows(tables.Account):
            mine = nanos if row["asset"] == "USD/9" else exact
            if row["balance"]:
                mine[f"{row['code']} {row['subject'].replace(payment['wallet_id'], '')} {row['asset']}"] = row[
                    "balance"
                ]
        for row in await self._rows(tables.Lot):
            for part in ("remaining_units", "frozen_units", "held_units"):
                nanos[f"lots {row['kind']} {part}"] += row[part]
        exact["session"] = [row["status"] for row in await self._rows(tables.CheckoutSession)]
        exact["attempts"] = [
            _only(row, "status", "received_units", "open_at_rail") for row in await self._rows(tables.Attempt)
        ]
        exact["reservations"] = [row["state"] for row in await self._rows(tables.Reservation)]
        exact["captures"] = [
            _only(row, "status", "units", "credited_units", "refunding_units", "refunded_units", "withdrawn_units")
            for row in await self._rows(tables.Capture)
        ]
        refunds = await self._rows(tables.Refund)
        exact["refunds"] = sorted(_only(row, "origin", "status", "local_units") for row in refunds)
        for row in refunds:
            nanos[f"refunds {row['origin']} {row['status']}"] += row["units"]
        for row in await self._rows(tables.Dispute):
            exact["dispute"] = _only(
                row, "state", "inquiry", "withdrawn_units", "above_units", "withdrawals", "returns"
            )  # fmt: skip
            nanos["clawed back"] = row["clawed_units"]
        return End(exact, {name: units for name, units in nanos.items() if units})

    async def _rows(self, model: Any, **where: Any) -> list[Row]:
        return await self._all(model, merchant_id=self.merchant, **where)

    async def _all(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))
        return await self.services.reads.all(query.order_by(*table.primary_key.columns))


def _only(row: Row, *names: str) -> tuple[tuple[str, Any], ...]:
    return tuple((name, row[name]) for name in names)
