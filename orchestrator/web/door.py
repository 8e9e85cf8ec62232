"""What every page of ours answers with: security headers, nothing cached, refusals as pages for people."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp_jinja2
import jinja2
import structlog
from aiohttp import web

from orchestrator.web.locales import Language, choose

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATIC: Final = Path(__file__).parent / "static"
TEMPLATES: Final = Path(__file__).parent / "templates"
ENVIRONMENT: Final = web.AppKey("web_templates", jinja2.Environment)
SECURITY: Final = {
    # No form-action: choosing a method answers with a redirect to the rail's page, which Chromium counts as one.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=()",
    "Cache-Control": "no-store",
}
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

LANGUAGE_COOKIE: Final = "crossrail_lang"
_log = structlog.get_logger("page")


def asked_language(request: web.Request, session_locale: str = "") -> Language:
    """Return the language that the buyer picked, or the session's, or the browser's."""
    wanted = request.query.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    return choose(wanted, session_locale, request.headers.get("Accept-Language", ""))


class Assets:
    """Our static files, in memory; their addresses change with their content, so that a browser may keep them."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files = {file.name: file.read_bytes() for file in sorted(folder.iterdir()) if file.suffix in _TYPES}
        digest = hashlib.sha256(b"".join(name.encode() + body for name, body in self._files.items()))
        self.version = digest.hexdigest()[:12]

    def url(self, name: str) -> str:
        """Return the address of a file. Raises KeyError where there is no such file."""
        self._files[name]
        return f"/assets/{self.version}/{name}"

    async def serve(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound
        fresh = request.match_info["version"] == self.version
        headers = {
            "Cache-Control": "public, max-age=31536000, immutable" if fresh else "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=body, content_type=_TYPES[Path(name).suffix], charset="utf-8", headers=headers)


def guarded(handler: Handler, *, forms_stay: bool = False) -> Handler:
    """Put the security headers on whatever a handler answers, redirects and errors too.

    ``forms_stay``: forms of this page lead to us only.
    """
    policy = SECURITY["Content-Security-Policy"] + ("; form-action 'self'" if forms_stay else "")
    headers = {**SECURITY, "Content-Security-Policy": policy}

    async def answer(request: web.Request) -> web.StreamResponse:
        response: web.StreamResponse
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update(headers)
            raise
        except Exception:  # noqa: BLE001  # a bug of ours: logged whole; a person gets a page, and nothing of its inside
            _log.exception("page_broke", route=str(request.match_info.route.resource))
            response = rendered(request, "broke.html", {"language": asked_language(request)}, 500)
        for name, value in headers.items():
            response.headers.setdefault(name, value)  # a paper brings a policy of its own: its style is inside it
        return response

    return answer


def rendered(request: web.Request, template: str, context: dict[str, Any], status: int = 200) -> web.Response:
    return aiohttp_jinja2.render_template(template, request, context, app_key=ENVIRONMENT, status=status)


def rendered_text(request: web.Request, template: str, context: dict[str, Any]) -> str:
    return aiohttp_jinja2.render_string(template, request, context, app_key=ENVIRONMENT)
