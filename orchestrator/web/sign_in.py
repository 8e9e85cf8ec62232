"""Who may see the dashboard: an operator's name and password, a signed cookie of eight hours, and tokens in every form."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from aiohttp import web
from itsdangerous import BadSignature, URLSafeTimedSerializer
from yarl import URL

from orchestrator.access import Access, Person
from orchestrator.services import Services
from orchestrator.web.door import Handler, rendered

COOKIE: Final = "crossrail_operator"
LOGIN_COOKIE: Final = "crossrail_login"
HOME: Final = "/dashboard"
SESSION_S: Final = 8 * 3600
LOGIN_FORM_S: Final = 3600
TRIES_MAX: Final = 5
TRIES_WINDOW_S: Final = 60.0
NAMES_WATCHED_MAX: Final = 10_000
CHECKS_AT_ONCE_MAX: Final = 2
"""A password takes 32 MiB and a third of a second to check: strangers must not be able to ask for many at once."""
_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class SignedIn:
    name: str
    role: str
    nonce: str
    """Names this signing-in: its forms' tokens hang on it, and signing out ends it."""


SIGNED_IN: Final = web.RequestKey("operator", SignedIn)
MAY_MOVE_MONEY: Final = frozenset({"operator", "admin"})
"""Roles; the others look."""


class Tries:
    """Counts tries per name and address: five a minute."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._tries: dict[tuple[str, str], deque[float]] = {}

    def allow(self, name: str, address: str) -> bool:
        """Count one more try; False where there were too many."""
        now_s = self._monotonic_s()
        key = (name[:200], address)
        tries = self._tries.pop(key, None) or deque(maxlen=TRIES_MAX)
        self._tries[key] = tries  # at the end: the one that waited longest is forgotten first
        if len(self._tries) > NAMES_WATCHED_MAX:
            self._tries.pop(next(iter(self._tries)))
        if len(tries) == TRIES_MAX and now_s - tries[0] < TRIES_WINDOW_S:
            return False
        tries.append(now_s)
        return True

    def forget(self, name: str, address: str) -> None:
        self._tries.pop((name[:200], address), None)


@dataclass(slots=True)
class SignIn:
    """Lets operators in and out."""

    services: Services
    access: Access
    tries: Tries = field(default_factory=Tries)
    _ended: dict[str, float] = field(default_factory=dict)
    _checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE_MAX))

    def required(self, handler: Handler) -> Handler:
        """Send whoever is not signed in to the form; refuse a POST without its token."""

        async def answer(request: web.Request) -> web.StreamResponse:
            person = self._signed_in(request)
            if person is None:
                return _go(str(URL(f"{HOME}/login").with_query(next=request.path)))
            if request.method not in {"GET", "HEAD"}:
                given = str((await request.post()).get("csrf", ""))
                if not hmac.compare_digest(given.encode(), self.csrf(person).encode()):
                    return self._form(request, "This form was too old. Please sign in again.", 403)
            request[SIGNED_IN] = person
            return await handler(request)

        return answer

    def csrf(self, person: SignedIn) -> str:
        """Return the token that this operator's forms carry."""
        key = self.services.secrets.server
        return hmac.new(key, f"dashboard-csrf-1\n{person.nonce}".encode(), hashlib.sha256).hexdigest()

    async def form(self, request: web.Request) -> web.StreamResponse:
        if self._signed_in(request) is not None:
            return _go(HOME)
        return self._form(request, "")

    async def enter(self, request: web.Request) -> web.StreamResponse:
        data = await request.post()
        name, password = str(data.get("name", "")), str(data.get("password", ""))
        address = request.remote or ""
        if not self._own_form(request, str(data.get("csrf", ""))):
            return self._form(request, "This form was too old. Please sign in again.", 403)
        if not self.tries.allow(name, address):
            _log.warning("sign_in_limited", name=name[:80], address=address)
            return self._form(request, "Too many tries. Wait a minute, then try again.", 429)
        async with self._checks:
            person = await self._person(name, password)
        if person is None:
            _log.warning("sign_in_refused", name=name[:80], address=address)
            return self._form(request, "Name or password is wrong.", 401)
        self.tries.forget(name, address)
        _log.info("operator_signed_in", name=person.name, role=person.role, address=address)
        wanted = str(data.get("next", ""))
        response = _go(wanted if wanted == HOME or wanted.startswith(HOME + "/") else HOME)
        body = {"name": person.name, "role": person.role, "nonce": secrets.token_urlsafe(16)}
        self._set(response, COOKIE, self._serializer("session").dumps(body), SESSION_S)
        response.del_cookie(LOGIN_COOKIE, path=HOME)
        return response

    async def leave(self, request: web.Request) -> web.StreamResponse:
        now_s = time.monotonic()
        self._ended = {nonce: until_s for nonce, until_s in self._ended.items() if until_s > now_s}
        self._ended[request[SIGNED_IN].nonce] = now_s + SESSION_S
        response = _go(f"{HOME}/login")
        response.del_cookie(COOKIE, path=HOME)
        return response

    async def _person(self, name: str, password: str) -> Person | None:
        """Return the operator: one that is stored, or the one of the configuration. As slow for either and for none."""
        stored = await self.access.verify_operator(name, password)
        admin, expected = self.services.settings.admin, self.services.secrets.operator_password
        same_name = hmac.compare_digest(_digest(name), _digest(admin.operator_name))
        same_password = hmac.compare_digest(_digest(password), _digest(expected))
        if expected and same_name and same_password:
            return Person("configured", admin.operator_name, "admin")
        return stored

    def _signed_in(self, request: web.Request) -> SignedIn | None:
        try:
            body: dict[str, Any] = self._serializer("session").loads(request.cookies.get(COOKIE, ""), SESSION_S)
        except BadSignature:
            return None
        return None if body["nonce"] in self._ended else SignedIn(body["name"], body["role"], body["nonce"])

    def _form(self, request: web.Request, said: str, status: int = 200) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        context = {
            "said": said,
            "csrf": self._serializer("login").dumps(nonce),
            "next": request.query.get("next", HOME),
        }
        response = rendered(request, "login.html", context, status)
        self._set(response, LOGIN_COOKIE, nonce, LOGIN_FORM_S)
        return response

    def _own_form(self, request: web.Request, given: str) -> bool:
        """Say whether the form came from us to this very browser."""
        try:
            nonce = str(self._serializer("login").loads(given, LOGIN_FORM_S))
        except BadSignature:
            return False
        return hmac.compare_digest(nonce.encode(), request.cookies.get(LOGIN_COOKIE, "").encode())

    def _serializer(self, salt: str) -> URLSafeTimedSerializer:
        signing = {"digest_method": hashlib.sha256}
        return URLSafeTimedSerializer(self.services.secrets.server, salt=f"dashboard-{salt}-1", signer_kwargs=signing)

    def _set(self, response: web.StreamResponse, name: str, value: str, seconds: int) -> None:
        secure = self.services.settings.service.public_url.startswith("https://")
        response.set_cookie(
            name, value, max_age=seconds, path=HOME, httponly=True, samesite="Strict", secure=secure
        )  # fmt: skip


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _go(to: str) -> web.Response:
    return web.Response(status=303, headers={"Location": to})
