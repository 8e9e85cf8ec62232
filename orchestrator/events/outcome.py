"""What one attempt came to, and what follows: delivered, again later, given up; an endpoint that fails for days ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.clock import rfc3339
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.events.catalog import EventType, emit
from orchestrator.events.delivery import DeliveryPolicy, Job
from orchestrator.events.endpoints import DISABLED, ENABLED, shown

RETRY_AFTER_HEADER_S_MAX: Final = 86_400
DISABLE_TRIES_MIN: Final = 3
"""Of one event, before its endpoint is disabled: after a long silence one failure says nothing."""
_SCOPE: Final = ("merchant_id", "endpoint_id", "sequence")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one attempt came to. ``http_status`` None: no answer; ``note`` says why, in words of ours."""

    http_status: int | None
    note: str
    duration_ms: int
    started_us: int
    retry_after_s: int = 0
    answer: str = ""
    """How the answer began."""

    @property
    def delivered(self) -> bool:
        return self.http_status is not None and 200 <= self.http_status < 300

    @property
    def gone(self) -> bool:
        return self.http_status == 410


@dataclass(frozen=True, slots=True)
class Attempt:
    """One job that was tried; ``jitter_permille`` belongs to the wait before it is tried again."""

    job: Job
    outcome: Outcome
    jitter_permille: int

    @property
    def key(self) -> tuple[str, str, int]:
        return (self.job.merchant_id, self.job.endpoint_id, self.job.sequence)


def record(attempts: Sequence[Attempt], policy: DeliveryPolicy) -> Unit:
    """Return the unit that logs attempts at one endpoint, in the order in which they ended, and says what is next.

    It answers with ``statuses``, one each: delivered, waiting, failed, or superseded.
    """
    first = attempts[0].job
    assert {one.job.endpoint_id for one in attempts} == {first.endpoint_id}, (
        "one endpoint's attempts are recorded at once"
    )

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        row = view.one("webhook_endpoint", first.merchant_id, first.endpoint_id)
        endpoint = None if row is None else dict(row)
        return {"statuses": [_record(view, changes, endpoint, one, policy) for one in attempts]}

    locks = [row_lock("webhook_endpoint", first.merchant_id, first.endpoint_id)]
    for one in attempts:
        locks += [row_lock("delivery", *one.key), Lock("delivery_attempt", _SCOPE, one.key)]
    return Unit(first.merchant_id, first.mode, None, locks, decide)


def _record(view: View, changes: Changes, endpoint: Row | None, one: Attempt, policy: DeliveryPolicy) -> str:
    job, outcome, key = one.job, one.outcome, one.key
    row = view.one("delivery", *key)
    assert row is not None, f"delivery {key} is gone"
    logged = view.many("delivery_attempt", _SCOPE, key)
    changes.insert(
        "delivery_attempt", merchant_id=job.merchant_id, endpoint_id=job.endpoint_id, sequence=job.sequence,
        number=1 + max((attempt["number"] for attempt in logged), default=0), http_status=outcome.http_status,
        note=outcome.note, duration_ms=outcome.duration_ms, at_us=outcome.started_us, answer=outcome.answer,
    )  # fmt: skip
    tries = row["tries"] + 1
    if endpoint is not None and endpoint["status"] == ENABLED:
        _judge(view, changes, endpoint, outcome, policy, tries)
    ours = row["next_try_us"] == job.lease_us
    if row["status"] != "waiting" or not (outcome.delivered or ours):
        return "superseded"  # the lease ran out and another took it, or it is to be sent again
    delay_us = policy.retry_delay_us(tries, one.jitter_permille)
    if outcome.delivered:
        status, next_try_us = "delivered", row["next_try_us"]
    elif outcome.gone or delay_us is None:
        status, next_try_us = "failed", row["next_try_us"]
    else:
        wait_us = max(delay_us, min(outcome.retry_after_s, RETRY_AFTER_HEADER_S_MAX) * 1_000_000)
        status, next_try_us = "waiting", view.now_us + wait_us
    changes.update("delivery", key, status=status, tries=tries, next_try_us=next_try_us, updated_us=view.now_us)
    return status


def _judge(view: View, changes: Changes, endpoint: Row, outcome: Outcome, policy: DeliveryPolicy, tries: int) -> None:
    """Note since when an endpoint fails; disable it where it is gone or failed for too long, and tell the merchant.

    ``endpoint`` is kept as it is after this attempt, for the next one of the same unit.
    """
    key, since_us = (endpoint["merchant_id"], endpoint["id"]), endpoint["failing_since_us"]
    if outcome.delivered:
        if since_us is not None:
            endpoint["failing_since_us"] = None
            changes.update("webhook_endpoint", key, failing_since_us=None)
        return
    new: Row = {"failing_since_us": view.now_us if since_us is None else since_us}
    too_long = tries >= DISABLE_TRIES_MIN and view.now_us - new["failing_since_us"] >= policy.disable_after_us
    if outcome.gone or too_long:
        new |= {"status": DISABLED, "disabled_reason": "gone" if outcome.gone else "failing"}
        said = {**shown({**endpoint, **new}), "last_attempt": {"at": rfc3339(outcome.started_us), "note": outcome.note}}
        emit(changes, EventType.WEBHOOK_ENDPOINT_DISABLED, endpoint["id"], said)
    if any(endpoint[name] != value for name, value in new.items()):
        changes.update("webhook_endpoint", key, **new)
        endpoint.update(new)
