"""Time, UTC only, from one place, so that tests and simulations can set it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

DAY_US: Final = 86_400_000_000
"""A day, in microseconds."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    def now(self) -> datetime:
        """Return the time, UTC."""
        ...

    def now_us(self) -> int:
        """Return microseconds since 1970, UTC: the form in which times are stored."""
        ...


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def now_us(self) -> int:
        return time.time_ns() // 1000


def to_us(moment: datetime) -> int:
    """Turn an aware datetime into microseconds since 1970."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def rfc3339(microseconds: int) -> str:
    """Return the form of the API: ``2026-11-23T12:00:00.000Z``."""
    second, rest = divmod(microseconds, 1_000_000)
    return f"{_second(second)}.{rest // 1000:03}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return one second without its zone; thousands of answers a second show the same few."""
    return from_us(seconds * 1_000_000).isoformat().removesuffix("+00:00")
