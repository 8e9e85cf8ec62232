"""A merchant's webhook endpoints: made, listed, changed, given a new secret, ended."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.schema import METADATA
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.errors import Conflict, NotFound
from orchestrator.events.catalog import check_filters
from orchestrator.ids import new_id

ENABLED: Final = "enabled"
DISABLED: Final = "disabled"
"""Nothing is sent; what happens meanwhile is sent when it is enabled again."""
DELETED: Final = "deleted"
ENDPOINTS_MAX: Final = 20
SECRETS_LIVE_MAX: Final = 2
"""While the older one lives deliveries are signed by both, so that a receiver can change its own without losing one."""
OLD_SECRET_LIVES_S: Final = 86_400
OLD_SECRET_LIVES_S_MAX: Final = 7 * 86_400


def new_secret() -> str:
    """Return ``whsec_`` and 256 random bits in base64. Source: Standard Webhooks 1.0.0, "Signature scheme"."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def live_secrets(endpoint: Row, now_us: int) -> list[str]:
    """Return the secrets to sign with, newest first."""
    newest, *older = str(endpoint["secret"]).split(" ")
    ends_us = endpoint["old_secret_ends_us"]
    return [newest, *older] if ends_us is not None and now_us < ends_us else [newest]


def shown(endpoint: Row) -> dict[str, Any]:
    """Return an endpoint as the API shows it: without its secret."""
    return {
        "id": endpoint["id"],
        "url": endpoint["url"],
        "event_types": orjson.loads(endpoint["event_types"]),
        "status": endpoint["status"],
        "disabled_reason": endpoint["disabled_reason"] or None,
        "ordered": bool(endpoint["ordered"]),
        "failing_since": _time(endpoint["failing_since_us"]),
        "old_secret_ends_at": _time(endpoint["old_secret_ends_us"]),
        "livemode": endpoint["mode"] == "live",
        "created_at": rfc3339(endpoint["created_us"]),
    }


def _time(us: int | None) -> str | None:
    return None if us is None else rfc3339(us)


def create_endpoint(
    *,
    merchant_id: str,
    mode: str,
    url: str,
    event_types: Sequence[str],
    from_start: bool = False,
    ordered: bool = False,
    endpoint_id: str | None = None,
    key: str | None = None,
) -> Unit:
    """Return the unit that makes an endpoint; its answer is the endpoint with its ``secret``, shown this once.

    ``url`` has passed ``targets.check_target``. It hears of events from now on, or ``from_start`` of all there ever
    were. Given an ``endpoint_id`` that is there already, the unit answers with that endpoint. Raises Invalid here,
    Conflict from the unit.
    """
    filters = check_filters(event_types)
    id_ = endpoint_id or new_id("we")
    secret = new_secret()

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        there = view.one("webhook_endpoint", merchant_id, id_)
        if there is not None:
            return {**shown(there), "secret": live_secrets(there, view.now_us)[0]}
        others = view.many("webhook_endpoint", ("merchant_id", "mode"), (merchant_id, mode))
        if sum(other["status"] != DELETED for other in others) >= ENDPOINTS_MAX:
            raise Conflict("too_many_webhook_endpoints", f"at most {ENDPOINTS_MAX}: delete one first")
        shard = view.one("shard", merchant_id, mode)
        head = 0 if shard is None else int(shard["event_sequence"])
        row: Row = {
            "merchant_id": merchant_id, "id": id_, "mode": mode, "url": url, "secret": secret,
            "event_types": orjson.dumps(filters).decode(), "status": ENABLED, "cursor": 0 if from_start else head,
            "created_us": view.now_us, "ordered": int(ordered), "old_secret_ends_us": None, "failing_since_us": None,
            "disabled_reason": "",
        }  # fmt: skip
        changes.insert("webhook_endpoint", **row)
        return {**shown(row), "secret": secret}

    locks = (
        row_lock("shard", merchant_id, mode),
        row_lock("webhook_endpoint", merchant_id, id_),
        Lock("webhook_endpoint", ("merchant_id", "mode"), (merchant_id, mode)),
    )
    return Unit(merchant_id, mode, key, locks, decide)


def delete_endpoint(*, merchant_id: str, mode: str, endpoint_id: str, key: str | None = None) -> Unit:
    """Return the unit that ends an endpoint. What still waited for it is given up. Raises NotFound."""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = _mine(view, merchant_id, mode, endpoint_id)
        changes.update("webhook_endpoint", (merchant_id, endpoint_id), status=DELETED)
        return {**shown(row), "status": DELETED}

    return Unit(merchant_id, mode, key, (row_lock("webhook_endpoint", merchant_id, endpoint_id),), decide)


def change_endpoint(
    *,
    merchant_id: str,
    mode: str,
    endpoint_id: str,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    ordered: bool | None = None,
    enabled: bool | None = None,
) -> Unit:
    """Return the unit that changes what is named. Enabled again, it hears of all that happened since it was disabled.

    ``url`` has passed ``targets.check_target``. Raises Invalid here, NotFound from the unit.
    """
    changed: Row = {}
    if url is not None:
        changed["url"] = url
    if event_types is not None:
        changed["event_types"] = orjson.dumps(check_filters(event_types)).decode()
    if ordered is not None:
        changed["ordered"] = int(ordered)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = _mine(view, merchant_id, mode, endpoint_id)
        new = dict(changed)
        if enabled and row["status"] == DISABLED:
            new |= {"status": ENABLED, "disabled_reason": "", "failing_since_us": None}
        elif enabled is False and row["status"] == ENABLED:
            new |= {"status": DISABLED, "disabled_reason": "asked"}
        if new:
            changes.update("webhook_endpoint", (merchant_id, endpoint_id), **new)
        return shown({**row, **new})

    return Unit(merchant_id, mode, None, (row_lock("webhook_endpoint", merchant_id, endpoint_id),), decide)


def rotate_secret(
    *, merchant_id: str, mode: str, endpoint_id: str, old_lives_s: int = OLD_SECRET_LIVES_S, key: str | None = None
) -> Unit:
    """Return the unit that adds a new secret; the one before it signs as well for a while, an older one ends.

    Its answer is the endpoint with its ``secret``, shown this once. Raises NotFound.
    """
    assert 0 <= old_lives_s <= OLD_SECRET_LIVES_S_MAX, f"an old secret cannot live {old_lives_s} s"
    secret = new_secret()

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = _mine(view, merchant_id, mode, endpoint_id)
        kept = [secret, *str(row["secret"]).split(" ")][:SECRETS_LIVE_MAX]
        new: Row = {"secret": " ".join(kept), "old_secret_ends_us": view.now_us + old_lives_s * 1_000_000}
        changes.update("webhook_endpoint", (merchant_id, endpoint_id), **new)
        return {**shown({**row, **new}), "secret": secret}

    return Unit(merchant_id, mode, key, (row_lock("webhook_endpoint", merchant_id, endpoint_id),), decide)


def _mine(view: View, merchant_id: str, mode: str, endpoint_id: str) -> Row:
    row = view.one("webhook_endpoint", merchant_id, endpoint_id)
    if row is None or row["mode"] != mode or row["status"] == DELETED:
        raise NotFound("no_such_webhook_endpoint", "there is no webhook endpoint with this id")
    return row


async def find_endpoint(reads: Reads, merchant_id: str, mode: str, endpoint_id: str) -> Row:
    """Return one ``webhook_endpoint`` row. Raises NotFound."""
    table = METADATA.tables["webhook_endpoint"]
    mine = (table.c.merchant_id == merchant_id, table.c.id == endpoint_id, table.c.mode == mode)
    row = await reads.one(select(table).where(*mine, table.c.status != DELETED))
    if row is None:
        raise NotFound("no_such_webhook_endpoint", "there is no webhook endpoint with this id")
    return row


async def list_endpoints(reads: Reads, merchant_id: str, mode: str) -> list[dict[str, Any]]:
    """Return the merchant's endpoints, oldest first, without those deleted."""
    table = METADATA.tables["webhook_endpoint"]
    query = (
        select(table)
        .where(table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.status != DELETED)
        .order_by(table.c.id)
    )
    return [shown(row) for row in await reads.all(query)]
