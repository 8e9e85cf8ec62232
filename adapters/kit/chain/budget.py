"""How often a node may be asked, and when it is left alone: a token bucket and a circuit breaker. No I/O but waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

FAILURES_TO_OPEN: Final = 5
OPEN_S: Final = 5.0
OPEN_MAX_S: Final = 300.0


class BudgetSpent(Exception):
    """The wait for the next call would be longer than the caller has time."""


@dataclass(slots=True)
class TokenBucket:
    """Lets ``per_second`` calls through on average, and ``burst`` at once. 0 per second: as many as are asked for."""

    per_second: float
    burst: float
    now: Callable[[], float] = time.monotonic
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens = self.burst
        self._at = self.now()

    async def take(self, patience_s: float) -> None:
        """Wait for a turn. Raises BudgetSpent where that takes longer than ``patience_s``."""
        if not self.per_second:
            return
        now = self.now()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.per_second)
        self._at = now
        if self._tokens < 1 and (1 - self._tokens) / self.per_second > patience_s:
            raise BudgetSpent
        self._tokens -= 1  # below 0: turns that are promised already
        if self._tokens < 0:
            await asyncio.sleep(-self._tokens / self.per_second)


@dataclass(slots=True)
class Breaker:
    """Opens after failures in a row, each time for twice as long; then one call may try."""

    now: Callable[[], float] = time.monotonic
    failures: int = 0
    _open_s: float = OPEN_S
    _until: float = 0.0

    @property
    def is_open(self) -> bool:
        return self.now() < self._until

    def succeeded(self) -> None:
        self.failures, self._open_s, self._until = 0, OPEN_S, 0.0

    def failed(self) -> None:
        self.failures += 1
        if self.failures >= FAILURES_TO_OPEN:
            self._until = self.now() + self._open_s
            self._open_s = min(OPEN_MAX_S, self._open_s * 2)

    def pause(self, seconds: float) -> None:
        """Leave it alone for as long as it said."""
        self._until = max(self._until, self.now() + min(seconds, OPEN_MAX_S))
