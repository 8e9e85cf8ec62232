"""Who is calling: an API key, the platform's admin token, or a buyer's page with its session's ``client_secret``."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

import orjson
from aiohttp import web
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.body import read_body
from orchestrator.api.endpoint import BODY_BYTES_MAX, NOBODY, ApiServices, Auth, Caller, Endpoint
from orchestrator.database.tables import CheckoutSession, table_of
from orchestrator.errors import Forbidden, Unauthenticated
from orchestrator.payments.client_secret import is_client_secret

PLATFORM_CALLER: Final = Caller(PLATFORM, "live", "admin_token", frozenset({PLATFORM}))
SESSION_SCOPE: Final = "session"
"""What the holder of a ``client_secret`` may do: nothing but the endpoints with ``Auth.SESSION``, for that session."""
TOKEN_CHARS_MAX: Final = 300


async def caller_of(services: ApiServices, endpoint: Endpoint, request: web.Request) -> Caller:
    """Return who calls. Raises Unauthenticated, Forbidden."""
    if endpoint.auth is Auth.PUBLIC:
        return NOBODY
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if not kind and endpoint.auth is Auth.SESSION:
        kind, token = "bearer", await _client_secret_of(request)
    if kind.lower() != "bearer" or not token or len(token) > TOKEN_CHARS_MAX:
        raise Unauthenticated("key_missing", "send the header Authorization: Bearer sk_test_... (or sk_live_...)")
    if token.startswith("sk_"):
        grant = await services.access.grant_of(token)
        if grant is None:
            raise Unauthenticated("key_unknown", "this key is not known here, or was revoked")
        caller = Caller(grant.merchant_id, grant.mode, grant.key_id, grant.scopes)
    elif token.startswith("cs_"):
        return await _session_caller(services, endpoint, request.match_info.get("id", ""), token)
    elif is_admin_token(services.secrets.admin_token, token):
        caller = PLATFORM_CALLER
    else:
        raise Unauthenticated("key_unknown", "this key is not known here, or was revoked")
    if caller.scopes.isdisjoint(endpoint.allowed_scopes):
        wanted = " or ".join(sorted(endpoint.allowed_scopes))
        raise Forbidden("scope_missing", f"this needs a key with the scope {wanted}")
    return caller


async def _client_secret_of(request: web.Request) -> str:
    """Return the ``client_secret`` of the query or of the JSON body, as a page without headers sends it; or ""."""
    given: object = request.query.get("client_secret")
    if given is None and request.can_read_body:
        try:
            body = orjson.loads(await read_body(request, BODY_BYTES_MAX))
        except orjson.JSONDecodeError:
            return ""  # whoever sent it is nobody yet: what is wrong with a body is told to callers only
        given = body.get("client_secret") if isinstance(body, dict) else None
    return given if isinstance(given, str) and given.startswith("cs_") else ""


async def _session_caller(services: ApiServices, endpoint: Endpoint, session_id: str, token: str) -> Caller:
    right = is_client_secret(services.secrets.server, session_id, token)
    if endpoint.auth is not Auth.SESSION:
        raise Forbidden("client_secret_not_enough", "a client_secret opens its own session only: use an API key")
    if not right:
        raise Unauthenticated("client_secret_wrong", "this client_secret does not open this session")
    table = table_of(CheckoutSession)
    row = await services.reads.one(select(table.c.merchant_id, table.c.mode).where(table.c.id == session_id))
    if row is None:
        raise Unauthenticated("client_secret_wrong", "this client_secret does not open this session")
    return Caller(row["merchant_id"], row["mode"], session_id, frozenset({SESSION_SCOPE}))


def is_admin_token(admin_token: str, given: str) -> bool:
    """Say whether the token is the platform's, in constant time. An empty one is nobody's."""
    if not admin_token:
        return False
    # Hashed first: compare_digest tells lengths apart by its time.
    one, other = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (admin_token, given))
    return hmac.compare_digest(one, other)
