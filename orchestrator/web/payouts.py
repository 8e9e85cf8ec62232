"""Payouts that wait for a person: an operator approves, confirms or fails them. Whoever asked cannot approve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web
from sqlalchemy import select

from orchestrator.database.tables import Payout, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Refusal
from orchestrator.ledger.payouts import payout_object
from orchestrator.services import Services
from orchestrator.web.dashboard import Dashboard
from orchestrator.web.sign_in import SIGNED_IN

HOME: Final = "/dashboard/payouts"
SHOWN_MAX: Final = 100
MAY_MOVE_MONEY: Final = frozenset({"operator", "admin"})
_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class PayoutDesk:
    services: Services
    board: Dashboard

    async def show(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request)

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Take one form: its token was checked when it came in."""
        person = request[SIGNED_IN]
        if person.role not in MAY_MOVE_MONEY:
            return await self._page(request, f"The role {person.role} looks; it moves no money.", 403)
        payout, verb = request.match_info["payout"], request.match_info["verb"]
        words = str((await request.post()).get("words", "")).strip()
        payouts = self.services.payouts
        try:
            match verb:
                case "approve":
                    await payouts.approve(payout, f"operator:{person.name}")
                case "confirm":
                    await payouts.confirm(payout, words)
                case "return":
                    await payouts.take_back(payout, words)
                case _:
                    await payouts.fail(payout, words)
        except Refusal as refusal:
            return await self._page(request, f"{payout}: {refusal.detail}", refusal.status)
        _log.warning("payout_decided", payout=payout, verb=verb, operator=person.name)
        return web.Response(status=303, headers={"Location": HOME})

    async def _page(self, request: web.Request, said: str = "", status: int = 200) -> web.Response:
        table = table_of(Payout)
        reads = self.services.reads
        query = select(table).order_by(table.c.id.desc()).limit(SHOWN_MAX)
        waiting = await reads.all(query.where(table.c.status.in_(("requested", "sent"))))
        ended = await reads.all(query.where(table.c.status.not_in(("requested", "sent"))))
        context = {
            "waiting": [_shown(row) for row in waiting],
            "ended": [_shown(row) for row in ended],
            "said": said,
            "may_act": request[SIGNED_IN].role in MAY_MOVE_MONEY,
            "myself": f"operator:{request[SIGNED_IN].name}",
        }
        return await self.board.page(request, "payouts.html", context, status)


def _shown(row: Row) -> dict[str, Any]:
    destination = payout_object(row)["destination"]
    return {**row, "destination": ", ".join(f"{name} {text}" for name, text in sorted(destination.items()))}
