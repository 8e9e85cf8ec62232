"""A merchant's webhook endpoints: made, listed, given a new secret, ended."""

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
"""It answered 410 Gone: it wants nothing more."""
DELETED: Final = "deleted"
ENDPOINTS_MAX: Final = 20
SECRETS_LIVE_MAX: Final = 2
"""Deliveries are signed by the newest two, so that a receiver can change its own without losing one."""


def new_secret() -> str:
    """Return ``whsec_`` and 256 random bits in base64. Source: Standard Webhooks 1.0.0, "Signature scheme"."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def live_secrets(endpoint: Row) -> list[str]:
    """Return the secrets to sign with, newest first."""
    return str(endpoint["secret"]).split(" ")


def shown(endpoint: Row) -> dict[str, Any]:
    """Return an endpoint as the API shows it: without its secret."""
    return {
        "id": endpoint["id"],
        "url": endpoint["url"],
        "event_types": orjson.loads(endpoint["event_types"]),
        "status": endpoint["status"],
        "livemode": endpoint["mode"] == "live",
        "created_at": rfc3339(endpoint["created_us"]),
    }


def create_endpoint(
    *,
    merchant_id: str,
    mode: str,
    url: str,
    event_types: Sequence[str],
    from_start: bool = False,
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
            return {**shown(there), "secret": live_secrets(there)[0]}
        others = view.many("webhook_endpoint", ("merchant_id", "mode"), (merchant_id, mode))
        if sum(other["status"] != DELETED for other in others) >= ENDPOINTS_MAX:
            raise Conflict("too_many_webhook_endpoints", f"at most {ENDPOINTS_MAX}: delete one first")
        shard = view.one("shard", merchant_id, mode)
        head = 0 if shard is None else int(shard["event_sequence"])
        row: Row = {
            "merchant_id": merchant_id, "id": id_, "mode": mode, "url": url, "secret": secret,
            "event_types": orjson.dumps(filters).decode(), "status": ENABLED, "cursor": 0 if from_start else head,
            "created_us": view.now_us,
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


def rotate_secret(*, merchant_id: str, mode: str, endpoint_id: str, key: str | None = None) -> Unit:
    """Return the unit that adds a new secret and keeps the one before it alive; an older one ends. Raises NotFound."""
    secret = new_secret()

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = _mine(view, merchant_id, mode, endpoint_id)
        live = [secret, *live_secrets(row)][:SECRETS_LIVE_MAX]
        changes.update("webhook_endpoint", (merchant_id, endpoint_id), secret=" ".join(live))
        return {**shown(row), "secret": secret}

    return Unit(merchant_id, mode, key, (row_lock("webhook_endpoint", merchant_id, endpoint_id),), decide)


def _mine(view: View, merchant_id: str, mode: str, endpoint_id: str) -> Row:
    row = view.one("webhook_endpoint", merchant_id, endpoint_id)
    if row is None or row["mode"] != mode or row["status"] == DELETED:
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
