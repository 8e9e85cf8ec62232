"""Usage: what a customer used, priced, charged and answered event by event."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, Literal

import orjson
from pydantic import Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import JSON_TYPE, Answer, Context, Endpoint
from orchestrator.api.fields import Shown
from orchestrator.api.keys import Whose
from orchestrator.api.problems import NotJson
from orchestrator.metering.rating import TOKEN_TYPES
from orchestrator.metering.usage import REASONS
from orchestrator.metering.usage_body import NDJSON, read_json, read_ndjson
from orchestrator.metering.usage_input import EVENTS_MAX
from orchestrator.services import Services

BODY_BYTES_MAX: Final = 8 * 1024 * 1024


class WhoseUsage(Whose):
    pass


class ResultShown(Shown):
    id: str | None = Field(default=None, description="As it was sent; or `producer`, `epoch` and `sequence`.")
    producer: str | None = None
    epoch: int | None = None
    sequence: int | None = None
    status: Literal["accepted", "duplicate", "rejected"] = Field(
        description="accepted: charged now. duplicate: charged by an earlier request, nothing happened now. "
        "rejected: not charged, and never will be under this id."
    )
    amount: str | None = Field(default=None, description="Dollars charged (`duplicate`: then).")
    reason: str | None = Field(default=None, description=f"Of a rejection: {', '.join(REASONS)}.")
    detail: str | None = Field(default=None, description="What to mend, where the event could not be read.")
    repeated: bool | None = Field(default=None, description="The rejection is of an earlier request with this id.")
    expected: int | None = Field(default=None, description="With `sequence_gap`: the producer's next sequence.")
    period: str | None = Field(
        default=None,
        description="The month that the event belongs to, where it came late: it is booked in the open month.",
    )


class WalletLeft(Shown):
    available: str = Field(description="Dollars that can be spent after this request.")


class UsageShown(Shown):
    accepted: int
    duplicate: int
    rejected: int
    results: list[ResultShown] = Field(description="One per event, in the order in which they were sent.")
    wallets: dict[str, WalletLeft] = Field(description="By the wallets that were named and are there.")


async def take_usage(context: Context[Services], query: WhoseUsage) -> Answer:
    merchant_id, mode = query.of(context.caller)
    if context.caller.merchant_id == PLATFORM:  # a key proves its merchant; the admin token only names one
        await context.services.access.merchant(merchant_id)
    kind = context.request.content_type
    if kind not in {JSON_TYPE, NDJSON, "application/octet-stream"}:
        raise NotJson("content_type_wrong", f"send Content-Type: {JSON_TYPE} or {NDJSON}")
    body = read_ndjson(context.raw) if kind == NDJSON else read_json(context.raw)
    charged = await context.services.metering.record(merchant_id, mode, body.events)
    results = body.results(charged["results"])
    if kind == NDJSON:
        lines = b"\n".join(map(orjson.dumps, results))
        return Answer(lines + b"\n" if lines else b"", headers={"Content-Type": NDJSON})
    counts = Counter(result["status"] for result in results)
    answer: dict[str, Any] = {word: counts[word] for word in ("accepted", "duplicate", "rejected")}
    return Answer(answer | {"results": results, "wallets": charged["wallets"]})


_DESCRIPTION = f"""\
Up to {EVENTS_MAX} events: `{{"events": [...]}}`, or one event per line as `{NDJSON}` (the answer then has one result per line).

An event: `{{"id": "01J...", "wallet": "wal_...", "model": "gpt-5-mini", "tokens": {{"input": 1200, "output": 310}},
"at": "2026-11-23T12:00:00Z", "hold": "hold_..."}}`; `amount` ("0.0125", dollars, no markup) instead of `tokens`; `at` and `hold` may be left out.

All that is accepted is stored and charged in one transaction, so the same request may be sent again at any time: what was
charged answers `duplicate`. Ids with a time in them (UUIDv7, ULID, with a prefix or without) are the fast ones; any other id
works. A bulk producer names events by `producer`, `epoch` (0) and `sequence` (1, 2, 3 ... without a gap) instead of `id`.

Token types do not overlap: a token is counted under one type, and the cost is the sum over the types. A vendor's
`prompt_tokens` includes cached ones and its `completion_tokens` includes reasoning ones: take them off.

{chr(10).join(f"- `{name}`: {said}" for name, said in TOKEN_TYPES.items())}

Reasons of rejections:

{chr(10).join(f"- `{name}`: {said}" for name, said in REASONS.items())}
"""

ENDPOINTS = (
    Endpoint("POST", "/v1/usage", take_usage, summary="Charge usage events", tag="Usage", raw=True, accepts="*/*",
             scopes=("write", PLATFORM), query=WhoseUsage, body_bytes_max=BODY_BYTES_MAX, answer=UsageShown, refusals=(400, 413, 415, 422), description=_DESCRIPTION),
)  # fmt: skip
