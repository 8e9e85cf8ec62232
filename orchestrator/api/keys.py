"""API keys: made by the platform for a merchant, or by a merchant's key that may (scope ``keys``), for its own mode."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM, key_shown
from orchestrator.api.endpoint import Answer, ApiServices, Caller, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import ApiKey, table_of
from orchestrator.errors import Forbidden, Invalid

Mode = Literal["test", "live"]
Scope = Literal["read", "write", "keys"]


class Whose(Body):
    """A merchant's key leaves both out; the admin token needs both."""

    merchant: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_]{1,80}$", description="With the admin token only."
    )
    mode: Mode | None = Field(default=None, description="Of a merchant's key: its own, and no other.")

    def of(self, caller: Caller) -> tuple[str, str]:
        """Return merchant and mode that the caller means and may touch. Raises Invalid, Forbidden."""
        if PLATFORM in caller.scopes:
            if self.merchant is None or self.mode is None:
                field = "merchant" if self.merchant is None else "mode"
                raise Invalid("merchant_and_mode_needed", "the admin token says whose key it means: merchant and mode",
                              pointer=f"/{field}")  # fmt: skip
            return self.merchant, self.mode
        if self.merchant not in {None, caller.merchant_id}:
            raise Forbidden("other_merchant", "a merchant's key speaks for its own merchant only", pointer="/merchant")
        if self.mode not in {None, caller.mode}:
            raise Forbidden("other_mode", "test keys make test keys, live keys make live keys", pointer="/mode")
        return caller.merchant_id, caller.mode


class CreateKey(Whose):
    model_config = ConfigDict(json_schema_extra={"examples": [{"scopes": ["read", "write"]}]})

    scopes: list[Scope] = Field(default=["read", "write"], min_length=1, max_length=3)


class ListKeys(Whose, Page):
    pass


class KeyShown(Shown):
    id: str = Field(examples=["key_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"])
    merchant: str
    mode: Mode
    hint: str = Field(description="The key's last four characters.")
    scopes: list[Scope]
    created_at: str = Field(description="RFC 3339, UTC")
    revoked_at: str | None


class NewKeyShown(KeyShown):
    secret: str | None = Field(
        description="The key itself, shown this once; null when the request is repeated under its Idempotency-Key.",
        examples=["sk_test_..."],
    )


async def create_key(context: Context[ApiServices], body: CreateKey) -> Answer:
    merchant_id, mode = body.of(context.caller)
    excess = set(body.scopes) - context.caller.scopes
    if PLATFORM not in context.caller.scopes and excess:
        raise Forbidden("scope_beyond_own", f"this key has no scope {', '.join(sorted(excess))} to pass on")
    new = await context.services.access.create_key(merchant_id, mode, body.scopes, key_id=context.resource_id)
    return Answer({**new.key, "secret": new.secret}, kept={**new.key, "secret": None})


async def list_keys(context: Context[ApiServices], query: ListKeys) -> Answer:
    merchant_id, mode = query.of(context.caller)
    table = table_of(ApiKey)
    wanted = select(table).where(table.c.merchant_id == merchant_id, table.c.mode == mode)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    found = await context.services.reads.all(wanted.order_by(table.c.id.desc()).limit(query.limit + 1))
    rows, next_cursor = listed(found, query)
    return Answer({"data": [key_shown(row) for row in rows], "next_cursor": next_cursor})


async def revoke_key(context: Context[ApiServices], query: Whose) -> Answer:
    merchant_id, mode = query.of(context.caller)
    return Answer(await context.services.access.revoke_key(merchant_id, mode, context.path["id"]))


_MAY = ("keys", PLATFORM)

ENDPOINTS = (
    Endpoint("POST", "/v1/keys", create_key, summary="Create an API key", tag="Keys", scopes=_MAY, body=CreateKey,
             answer=NewKeyShown, status=201, creates="key", refusals=(404,)),
    Endpoint("GET", "/v1/keys", list_keys, summary="List API keys, newest first", tag="Keys", scopes=_MAY,
             query=ListKeys, answer=Listed[KeyShown]),
    Endpoint("DELETE", "/v1/keys/{id}", revoke_key, summary="Revoke an API key: it opens nothing after 5 s at most",
             tag="Keys", scopes=_MAY, query=Whose, answer=KeyShown),
)  # fmt: skip
