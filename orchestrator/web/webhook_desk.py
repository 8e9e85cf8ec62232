"""A stored webhook of a payment, applied once more by an operator's form. Who and when stands in the payment's timeline."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from aiohttp import web

from orchestrator.errors import Refusal
from orchestrator.payments.stored_webhooks import StoredWebhooks
from orchestrator.web.dashboard import Dashboard
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN

_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class WebhookDesk:
    webhooks: StoredWebhooks
    board: Dashboard

    async def replay(self, request: web.Request) -> web.StreamResponse:
        """Apply what a rail said once more. What is known already changes nothing, so that sending it twice is harmless."""
        merchant, payment = request.match_info["merchant"], request.match_info["payment"]
        back, person = f"/dashboard/payments/{merchant}/{payment}", request[SIGNED_IN]
        if person.role not in MAY_MOVE_MONEY:
            said = f"The role {person.role} looks; it replays nothing."
            return await self.board.page(request, "not_done.html", {"said": said, "back": back}, 403)
        webhook = request.match_info["webhook"]
        try:
            found = await self.webhooks.replay(merchant, payment, webhook, f"operator:{person.name}")
        except Refusal as refusal:
            context = {"said": refusal.detail, "back": back}
            return await self.board.page(request, "not_done.html", context, refusal.status)
        _log.warning(
            "webhook_replayed", webhook=webhook, payment=payment, state=found["state"], operator=person.name
        )  # fmt: skip
        return web.Response(status=303, headers={"Location": f"{back}#webhooks"})
