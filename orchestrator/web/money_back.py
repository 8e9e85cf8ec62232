"""What goes back, and how the rails' accounts stand: refunds, disputes, reconciliation. A dispute is answered here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aiohttp import web
from sqlalchemy import select

from orchestrator.database.tables import Dispute, Refund, table_of
from orchestrator.payments.dispute_terms import dispute_object
from orchestrator.payments.refund_terms import refund_object
from orchestrator.services import Services
from orchestrator.web.dashboard import Dashboard
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN

SHOWN_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class MoneyBack:
    services: Services
    board: Dashboard

    async def show(self, request: web.Request) -> web.StreamResponse:
        """List the newest refunds and disputes, and what was read of the rails' reports."""
        reads, desk = self.services.reads, self.services.reconciliation
        refunds, disputes = table_of(Refund), table_of(Dispute)
        back = await reads.all(select(refunds).order_by(refunds.c.id.desc()).limit(SHOWN_MAX))
        taken = await reads.all(select(disputes).order_by(disputes.c.id.desc()).limit(SHOWN_MAX))
        context = {
            "may_act": request[SIGNED_IN].role in MAY_MOVE_MONEY,
            "refunds": [{**refund_object(row), "merchant": row["merchant_id"]} for row in back],
            "disputes": [{**dispute_object(row), "merchant": row["merchant_id"]} for row in taken],
            "rates": [
                {"merchant": merchant, "mode": mode, **one.to_json()}
                for (merchant, mode), standings in (await self.services.dispute_rates.of_month()).items()
                for one in standings
            ],
            "accounts": [(await desk.report(*place)).to_json() for place in desk.accounts()],
        }
        return await self.board.page(request, "money_back.html", context)
