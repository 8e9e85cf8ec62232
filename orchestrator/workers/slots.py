"""How much the delivery worker does at once, and where it looks first."""

from __future__ import annotations

from typing import Final

PROVEN_KEPT_MAX: Final = 5000
FIRST_ALLOWED: Final = 8
"""Requests at a time to an endpoint that has just answered for the first time."""


class Slots:
    """How many requests may be under way: in all, per endpoint, and for endpoints that did not answer last time.

    An endpoint that hangs holds each of its slots for the whole time-out. So one that has not proven itself since we
    started, or failed last time, gets a single slot until it answers, and all such endpoints together get half: those
    that answer always find room.
    """

    def __init__(self, per_endpoint: int, total: int) -> None:
        self._per_endpoint = per_endpoint
        self._total = total
        self._doubtful_total = max(1, total // 2)
        self._busy: dict[str, int] = {}
        self._proven: dict[str, int] = {}
        """How many each may have, of those that answered last time."""

    def free_total(self) -> int:
        return self._total - sum(self._busy.values())

    def free(self, endpoint_id: str) -> int:
        busy = self._busy.get(endpoint_id, 0)
        if endpoint_id in self._proven:
            free = self._proven[endpoint_id] - busy
        else:
            free = 0 if self._doubtful_busy() >= self._doubtful_total else 1 - busy
        return max(0, min(free, self.free_total()))

    def full(self) -> set[str]:
        """Return the endpoints that have all that each may have."""
        return {endpoint_id for endpoint_id, busy in self._busy.items() if busy >= self._proven.get(endpoint_id, 1)}

    def only(self) -> set[str] | None:
        """Return the endpoints that alone may get something now; None: any."""
        return {*self._proven} if self._doubtful_busy() >= self._doubtful_total else None

    def idle(self, endpoint_id: str) -> bool:
        """Say whether at least half of what an endpoint may have is free."""
        return 2 * self._busy.get(endpoint_id, 0) <= self._proven.get(endpoint_id, 1)

    def proven(self, endpoint_id: str) -> bool:
        return endpoint_id in self._proven

    def take(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] = self._busy.get(endpoint_id, 0) + 1

    def give_back(self, endpoint_id: str) -> None:
        self._busy[endpoint_id] -= 1
        if not self._busy[endpoint_id]:
            del self._busy[endpoint_id]

    def answered(self, endpoint_id: str, delivered: bool) -> None:
        allowed = self._proven.pop(endpoint_id, FIRST_ALLOWED - 1)
        if delivered:
            self._proven[endpoint_id] = min(allowed + 1, self._per_endpoint)
            if len(self._proven) > PROVEN_KEPT_MAX:
                del self._proven[next(iter(self._proven))]

    def _doubtful_busy(self) -> int:
        return sum(count for endpoint_id, count in self._busy.items() if endpoint_id not in self._proven)
