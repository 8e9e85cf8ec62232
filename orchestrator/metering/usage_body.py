"""A request's body of usage events, JSON or NDJSON, to what can be charged and what cannot be read; and the answer in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.errors import Invalid
from orchestrator.metering.usage_input import EVENTS_MAX, Malformed, UsageInput, read_event

NDJSON: Final = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class UsageBody:
    events: Sequence[UsageInput]
    unread: Mapping[int, dict[str, Any]]
    """By its place among all: the result of what is no event."""

    def results(self, charged: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return one result per event, in the order in which they were sent."""
        if not self.unread:
            return list(charged)
        rest = iter(charged)
        return [self.unread.get(place) or next(rest) for place in range(len(charged) + len(self.unread))]


def read_json(raw: bytes) -> UsageBody:
    """Read ``{"events": [...]}`` or the list alone. Raises Invalid (invalid_json, too_many_events)."""
    try:
        whole = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Invalid("invalid_json", str(error)) from None
    events = whole.get("events") if type(whole) is dict and len(whole) == 1 else whole
    if type(events) is not list:
        raise Invalid("invalid_request", 'send {"events": [...]}', pointer="/events")
    _check_count(len(events))
    return _read(events)


def read_ndjson(raw: bytes) -> UsageBody:
    """Read one event per line; empty lines do not count. Raises Invalid (too_many_events)."""
    lines = [line for line in raw.split(b"\n") if line.strip()]
    _check_count(len(lines))
    try:
        events = [orjson.loads(line) for line in lines]
    except orjson.JSONDecodeError:
        events = [_line(line) for line in lines]
    return _read(events)


def _line(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Malformed(f"not JSON: {error}")


def _check_count(count: int) -> None:
    if count > EVENTS_MAX:
        raise Invalid("too_many_events", f"{count} events in one request: at most {EVENTS_MAX}; nothing was taken",
                      pointer="/events", events_max=EVENTS_MAX)  # fmt: skip


def _read(raw: Sequence[Any]) -> UsageBody:
    events: list[UsageInput] = []
    unread: dict[int, dict[str, Any]] = {}
    for place, one in enumerate(raw):
        try:
            if isinstance(one, Malformed):
                raise one
            events.append(read_event(one))
        except Malformed as error:
            unread[place] = {**_named(one), "status": "rejected", "reason": "invalid_event", "detail": str(error)}
    return UsageBody(events, unread)


def _named(raw: Any) -> dict[str, Any]:
    """Return what the sender calls an event that cannot be read, as far as it can be told back."""
    if type(raw) is not dict:
        return {}
    kept = {name: raw[name] for name in ("id", "producer", "epoch", "sequence") if type(raw.get(name)) in {str, int}}
    return {name: value[:80] if type(value) is str else value for name, value in kept.items()}
