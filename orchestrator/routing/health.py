"""How a rail has been doing lately, per account and method. Pure: the time is always handed in.

Failures are calls that gave no usable answer (RailUnavailable, OutcomeUnknown, RailMisconfigured); a decline is an
answer. A rail that is down comes back by itself after a cool-down: a small share of the customers is offered
it, and their calls decide (one failure: down again; a few answers in a row: its old failures are forgotten).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from adapters.base import OutcomeUnknown, PaymentDeclined, RailMisconfigured, RailUnavailable
from orchestrator.routing.catalogue import OptionKey

CALLS_MAX: Final = 1_000
"""Calls that one window remembers at most; the oldest go first."""


class HealthState(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """Offered, and shown to be doing badly (or just back from a cool-down)."""
    PROBING = "probing"
    """Just back from a cool-down: offered to a small share of the customers, whose calls decide."""
    DOWN = "down"
    """Not offered."""


class CallOutcome(StrEnum):
    ANSWERED = "answered"
    DECLINED = "declined"
    UNAVAILABLE = "unavailable"
    UNKNOWN = "unknown"
    MISCONFIGURED = "misconfigured"

    @property
    def is_failure(self) -> bool:
        return self in (CallOutcome.UNAVAILABLE, CallOutcome.UNKNOWN, CallOutcome.MISCONFIGURED)


def outcome_of(error: BaseException | None) -> CallOutcome | None:
    """Return what a call's end says of the rail; None where it says nothing (an error of our own)."""
    match error:
        case None:
            return CallOutcome.ANSWERED
        case PaymentDeclined():
            return CallOutcome.DECLINED
        case RailUnavailable():
            return CallOutcome.UNAVAILABLE
        case OutcomeUnknown():
            return CallOutcome.UNKNOWN
        case RailMisconfigured():
            return CallOutcome.MISCONFIGURED
        case _:
            return None


@dataclass(frozen=True, slots=True)
class HealthPolicy:
    window_seconds: int = 300
    calls_min: int = 5
    """With fewer calls in the window nothing is concluded."""
    degraded_percent: int = 20
    down_percent: int = 50
    cool_down_seconds: int = 30
    probes_min: int = 3
    """Answers in a row that close the breaker again."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    state: HealthState
    calls: int
    failures: int
    last_error: str | None
    last_error_at: datetime | None
    reopens_at: datetime | None
    """When a rail that is down is offered again."""


class RailHealth:
    """The window of one (rail, account, method)."""

    def __init__(self, policy: HealthPolicy) -> None:
        self._policy = policy
        self._calls: deque[tuple[datetime, bool]] = deque()
        self._failures = 0
        self._down_since: datetime | None = None
        self._probed = 0
        self._last_error: tuple[str, datetime] | None = None

    def record(self, outcome: CallOutcome, at: datetime, error: str = "") -> None:
        """Take note of how one call ended."""
        probing = self._down_since is not None and at >= self._reopens(self._down_since)
        if outcome.is_failure:
            self._last_error = (error or outcome.value, at)
        elif probing:
            self._probed += 1
            if self._probed >= self._policy.probes_min:
                self._calls.clear()
                self._failures = 0
                self._down_since = None
        self._calls.append((at, outcome.is_failure))
        self._failures += outcome.is_failure
        if len(self._calls) > CALLS_MAX:
            self._forget_oldest()
        fails_again = probing and outcome.is_failure
        falls = self._down_since is None and self._share_reached(self._policy.down_percent, at)
        if fails_again or falls:
            self._down_since = at
            self._probed = 0

    def state(self, at: datetime) -> HealthState:
        if self._down_since is not None:
            return HealthState.DOWN if at < self._reopens(self._down_since) else HealthState.PROBING
        degraded = self._share_reached(self._policy.degraded_percent, at)
        return HealthState.DEGRADED if degraded else HealthState.HEALTHY

    def report(self, at: datetime) -> HealthReport:
        """Return the figures behind the state."""
        state = self.state(at)
        calls, failures = self._counts(at)
        text, when = self._last_error or (None, None)
        down = self._down_since if state is HealthState.DOWN else None
        return HealthReport(state, calls, failures, text, when, self._reopens(down) if down else None)

    def _reopens(self, down_since: datetime) -> datetime:
        return down_since + timedelta(seconds=self._policy.cool_down_seconds)

    def _counts(self, at: datetime) -> tuple[int, int]:
        oldest = at - timedelta(seconds=self._policy.window_seconds)
        while self._calls and self._calls[0][0] <= oldest:
            self._forget_oldest()
        return len(self._calls), self._failures

    def _forget_oldest(self) -> None:
        _, failed = self._calls.popleft()
        self._failures -= failed

    def _share_reached(self, percent: int, at: datetime) -> bool:
        calls, failures = self._counts(at)
        return calls >= self._policy.calls_min and failures * 100 >= percent * calls


class HealthBoard:
    """The windows of all rails."""

    def __init__(self, policy: HealthPolicy | None = None) -> None:
        self._policy = policy or HealthPolicy()
        self._rails: dict[OptionKey, RailHealth] = {}

    def record(self, key: OptionKey, outcome: CallOutcome, at: datetime, error: str = "") -> None:
        self._rails.setdefault(key, RailHealth(self._policy)).record(outcome, at, error)

    def report(self, key: OptionKey, at: datetime) -> HealthReport:
        """Return one rail's figures; a rail that was never called is healthy."""
        return self._rails.get(key, RailHealth(self._policy)).report(at)

    def snapshot(self, at: datetime) -> Mapping[OptionKey, HealthState]:
        """Return the state of every rail that was called: what ``engine.decide`` asks for."""
        return {key: rail.state(at) for key, rail in self._rails.items()}
