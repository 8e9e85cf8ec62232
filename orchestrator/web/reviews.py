"""What needs a person: an operator decides an item with a form; who and why are kept with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from orchestrator.errors import Refusal
from orchestrator.payments.review_actions import Action, actions_of
from orchestrator.payments.reviews import Decision, reviews_of
from orchestrator.services import Services
from orchestrator.web.dashboard import QUERY_CHARS_MAX, Dashboard
from orchestrator.web.records import reviews_page
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN

HOME: Final = "/dashboard/reviews"
NOTE_CHARS_MIN: Final = 3
NOTE_CHARS_MAX: Final = 500
_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class ReviewDesk:
    services: Services
    board: Dashboard

    async def show(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request)

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Take one form: its token was checked when it came in."""
        person = request[SIGNED_IN]
        if person.role not in MAY_MOVE_MONEY:
            return await self._page(request, f"The role {person.role} looks; it decides nothing.", 403)
        review, form = request.match_info["review"], await request.post()
        action, note = str(form.get("action", "")), str(form.get("note", "")).strip()
        if action not in {*Action}:
            return await self._page(request, "There is no such action.", 422)
        if not NOTE_CHARS_MIN <= len(note) <= NOTE_CHARS_MAX:
            return await self._page(request, f"Say why, in {NOTE_CHARS_MIN} to {NOTE_CHARS_MAX} characters.", 422)
        try:
            await reviews_of(self.services).resolve(review, Decision(Action(action), note, f"operator:{person.name}"))
        except Refusal as refusal:
            return await self._page(request, f"{review}: {refusal.detail}", refusal.status)
        _log.warning("review_decided", review=review, action=action, operator=person.name)
        return web.Response(status=303, headers={"Location": HOME})

    async def _page(self, request: web.Request, said: str = "", status: int = 200) -> web.Response:
        wanted = "resolved" if request.query.get("status") == "resolved" else "open"
        after = request.query.get("after", "")[:QUERY_CHARS_MAX]
        rows, following = await reviews_page(self.services.reads, status=wanted, after=after)
        context = {
            "rows": [{**row, "actions": [action.value for action in actions_of(row)]} for row in rows],
            "following": following,
            "status": wanted,
            "said": said,
            "may_act": request[SIGNED_IN].role in MAY_MOVE_MONEY,
        }
        return await self.board.page(request, "reviews.html", context, status)
