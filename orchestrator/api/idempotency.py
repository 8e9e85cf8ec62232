"""Idempotency-Key: a POST that is sent again has one effect and gets one answer (rule 10 of the money rules).

Two transactions stand around the handler:

1. ``started`` with the fingerprint and the id of the resource to be. It commits before anything else happens, so a
   concurrent duplicate sees it and gets 409 with Retry-After.
2. The answer. A refusal that is final (4xx) is an answer too; 409, 429 and 5xx are not: then the row is let go, and the
   next try resumes it at once.

A crash between the effect and the answer is safe: the row stays ``started``; the same request, sent again after
``ABANDONED_S`` (a handler is cut off before that), resumes with the *same resource id*. The handler creates under that id and
its unit is keyed by it, so the second run finds what the first one did and only renders it. A row is taken over by writing
a new ``touched_us``; whoever does not find the one that it wrote itself stores nothing.

Keys are the merchant's, per mode and route. A row older than ``KEPT_S`` is as good as absent: it is overwritten by the
next request with that key. Money needs no longer memory here: the ledger keeps its own keys for ever.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.database.unit import Changes, Decide, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid
from orchestrator.ids import new_id

KEPT_S: Final = 24 * 3600
ABANDONED_S: Final = 60
RETRY_AFTER_S: Final = 1
NEVER_STORED: Final = frozenset({408, 409, 429})
"""And every 5xx."""

_KEY_FORM: Final = re.compile(r"[\x21-\x7e]{1,255}")


class StillRunning(Conflict):
    title = "The same request is still at work"
    retryable = True


@dataclass(frozen=True, slots=True)
class Slot:
    """Whose key on which route."""

    merchant_id: str
    mode: str
    route: str
    key: str

    @property
    def row(self) -> tuple[str, str, str, str]:
        return (self.merchant_id, self.mode, self.route, self.key)


@dataclass(frozen=True, slots=True)
class Started:
    """Go ahead, under this id. ``touched_us`` proves later that the row is still ours."""

    slot: Slot
    resource_id: str
    touched_us: int


@dataclass(frozen=True, slots=True)
class Stored:
    """It was answered before."""

    status: int
    body: bytes


def checked_key(key: str) -> str:
    """Raise Invalid where a key cannot be one."""
    if _KEY_FORM.fullmatch(key) is None:
        raise Invalid("idempotency_key_invalid", "an Idempotency-Key has 1 to 255 visible ASCII characters")
    return key


def fingerprint(method: str, path: str, meaning: Any) -> str:
    """Return SHA-256 of the request's meaning: spelling of the JSON (spaces, order of fields) does not count."""
    return hashlib.sha256(orjson.dumps([method, path, meaning], option=orjson.OPT_SORT_KEYS)).hexdigest()


async def start(writer: Writer, slot: Slot, print_: str, creates: str | None) -> Started | Stored:
    """Take the key, or return what was answered. Raises StillRunning, Invalid (another body)."""
    resource_id = new_id(creates) if creates else ""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        now_us = view.now_us
        row = view.one("idempotency", *slot.row)
        fresh: Row = {
            "fingerprint": print_, "resource_id": resource_id, "status": None, "answer": None,
            "created_us": now_us, "touched_us": now_us,
        }  # fmt: skip
        if row is None:
            names = ("merchant_id", "mode", "route", "key")
            changes.insert("idempotency", **dict(zip(names, slot.row, strict=True)), **fresh)
            return {"resource_id": resource_id, "touched_us": now_us}
        if row["created_us"] <= now_us - KEPT_S * 1_000_000:
            changes.update("idempotency", slot.row, **fresh)
            return {"resource_id": resource_id, "touched_us": now_us}
        if row["fingerprint"] != print_:
            raise Invalid(
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request: take a new one for this one",
            )
        if row["status"] is not None:
            return {"status": row["status"], "answer": row["answer"]}
        if row["touched_us"] > now_us - ABANDONED_S * 1_000_000:
            raise StillRunning(
                "idempotency_key_in_use", "the same request is still at work: ask again", retry_after_s=RETRY_AFTER_S
            )
        touched_us = max(now_us, row["touched_us"] + 1)
        changes.update("idempotency", slot.row, touched_us=touched_us)
        return {"resource_id": row["resource_id"], "touched_us": touched_us}

    answer = (await writer.submit(_unit(slot, decide))).answer
    if "status" in answer:
        return Stored(answer["status"], answer["answer"].encode())
    return Started(slot, answer["resource_id"], answer["touched_us"])


async def finish(writer: Writer, started: Started, status: int, body: bytes) -> None:
    """Store the answer; or let the key go where this is none that may be kept."""
    if status in NEVER_STORED or status >= 500:
        await _change(writer, started, touched_us=0)
    else:
        await _change(writer, started, status=status, answer=body.decode())


async def _change(writer: Writer, started: Started, **columns: Any) -> None:
    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = view.one("idempotency", *started.slot.row)
        if row is not None and row["status"] is None and row["touched_us"] == started.touched_us:
            changes.update("idempotency", started.slot.row, **columns)
        return {}

    await writer.submit(_unit(started.slot, decide))


def _unit(slot: Slot, decide: Decide) -> Unit:
    return Unit(slot.merchant_id, slot.mode, None, (row_lock("idempotency", *slot.row),), decide)
