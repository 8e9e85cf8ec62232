"""The hosted payment page: one session, opened with its client secret, on a phone first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiohttp import web

from orchestrator.database.unit import Row
from orchestrator.errors import NotFound, Refusal
from orchestrator.payments.client_secret import client_secret, is_client_secret
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.nudge import check_soon
from orchestrator.services import Services
from orchestrator.web.door import LANGUAGE_COOKIE, asked_language, rendered, rendered_text
from orchestrator.web.locales import LANGUAGES, Language, own_name
from orchestrator.web.panel import panel_of, web_address
from orchestrator.web.sight import Sight, find_session, look

COOKIE: Final = "crossrail_pay"
COOKIE_AFTER_S: Final = 86_400
"""How long after a session's end its browser may still look."""
STRANGER_CHECKS_MAX: Final = 3
"""A visitor without the secret can hurry the first checks of an attempt, no more."""
_NEUTRAL: Final = {"merchant": "", "test": False}
_log = structlog.get_logger("page")


@dataclass(frozen=True, slots=True)
class PayPage:
    services: Services

    async def show(self, request: web.Request) -> web.StreamResponse:
        language = asked_language(request)
        session = await self._admitted(request, request.query.get("client_secret"))
        if session is None:
            return self._missing(request, language)
        sight = await self._sight(session)
        language = asked_language(request, session["locale"])
        response = rendered(request, "pay.html", self._context(sight, language))
        self._remember(response, session, language)
        return response

    async def state(self, request: web.Request) -> web.StreamResponse:
        """Answer the page's poll: the phase, and the panel's HTML where it is not the one that the page has."""
        session = await self._admitted(request, request.query.get("client_secret"))
        if session is None:
            return web.json_response({"error": "not_found"}, status=404)
        language = asked_language(request, session["locale"])
        sight = await self._sight(session)
        context = self._context(sight, language)
        panel = context["panel"]
        body: dict[str, Any] = {
            "phase": panel.phase.value,
            "status": sight.payment["status"] if sight.payment else "created",
            "revision": panel.revision,
            "poll_ms": panel.poll_ms,
            "transfers": [
                {"confirmations": seen.confirmations, "needed": seen.needed, "status": seen.deposit["status"]}
                for seen in sight.seen
            ],
        }
        if request.query.get("have") != panel.revision:
            body["html"] = rendered_text(request, "panel.html", context)
        return web.json_response(body)

    async def select(self, request: web.Request) -> web.StreamResponse:
        """Take the buyer's choice. The secret inside the form is what tells it from another site's form."""
        form = await request.post()
        session = await self._admitted(request, str(form.get("client_secret", "")), cookie=False)
        language = asked_language(request, session["locale"] if session else "")
        if session is None:
            return self._missing(request, language)
        try:
            chosen = await self.services.selection.select(
                session["merchant_id"], session["mode"], session["id"], str(form.get("offer", ""))
            )
        except Refusal as refusal:
            _log.info("choice_refused", session=session["id"], code=refusal.code)
            back = self._address(session, language)
            context = {"language": language, "back": back, **_NEUTRAL, "refusal": refusal}
            return rendered(request, "problem.html", context, refusal.status)
        action = chosen["next_action"]
        to_rail = web_address(action["url"]) if action["type"] == "redirect" else ""
        return web.Response(status=303, headers={"Location": to_rail or self._address(session, language)})

    async def came_back(self, request: web.Request) -> web.StreamResponse:
        """Meet the buyer whom the rail sends back; ask the rail now rather than later."""
        session_id = request.match_info["session"]
        session = await self._admitted(request, None)
        known = session if session is not None else await find_session(self.services.reads, session_id)
        if known is not None:
            await self._hurry(known, None if session is not None else STRANGER_CHECKS_MAX)
        if session is None:
            return rendered(request, "return.html", {"language": asked_language(request), **_NEUTRAL})
        return web.Response(status=303, headers={"Location": f"/pay/{session_id}"})

    async def _hurry(self, session: Row, checks_max: int | None) -> None:
        sight = await self._sight(session)
        if sight.attempt is not None:
            await check_soon(self.services.writer, AttemptAt.of_row(sight.attempt), checks_max=checks_max)

    async def _admitted(self, request: web.Request, given: str | None, *, cookie: bool = True) -> Row | None:
        """Return the session if the visitor knows its secret."""
        session_id = request.match_info["session"]
        secret = given if given or not cookie else request.cookies.get(COOKIE, "")
        if not secret or not is_client_secret(self.services.secrets.server, session_id, secret):
            return None
        return await find_session(self.services.reads, session_id)

    async def _sight(self, session: Row) -> Sight:
        services = self.services
        return await look(services.reads, services.rails, session, services.clock.now_us())

    def _context(self, sight: Sight, language: Language) -> dict[str, Any]:
        session = sight.session
        return {
            "panel": panel_of(sight, self.services.rails, language),
            "language": language,
            "languages": [(code, own_name(code)) for code in LANGUAGES],
            "session_id": session["id"],
            "secret": client_secret(self.services.secrets.server, session["id"]),
            "merchant": sight.merchant,
            "test": session["mode"] == "test",
        }

    def _address(self, session: Row, language: Language) -> str:
        secret = client_secret(self.services.secrets.server, session["id"])
        return f"/pay/{session['id']}?client_secret={secret}&lang={language.code}"

    def _remember(self, response: web.StreamResponse, session: Row, language: Language) -> None:
        """Let this browser in again without the secret in the address: the rail sends it back to a bare one."""
        ends_s = (session["expires_us"] - self.services.clock.now_us()) // 1_000_000
        secret = client_secret(self.services.secrets.server, session["id"])
        for name, value in ((COOKIE, secret), (LANGUAGE_COOKIE, language.code)):
            response.set_cookie(
                name,
                value,
                max_age=max(0, ends_s) + COOKIE_AFTER_S,
                path=f"/pay/{session['id']}",
                httponly=True,
                samesite="Lax",
                secure=self.services.settings.service.public_url.startswith("https://"),
            )

    @staticmethod
    def _missing(request: web.Request, language: Language) -> web.Response:
        return rendered(request, "missing.html", {"language": language, **_NEUTRAL}, NotFound.status)
