"""Refusals that a caller can act upon.

Refusal
├── Invalid          400/422: mend the request
├── Unauthenticated  401
├── Forbidden        403
├── NotFound         404
├── Conflict         409: not in this state
└── Busy             429/503: later
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class Refusal(Exception):
    """A command was refused. ``code`` is stable; the text says what to do next."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "The request was refused"
    retryable: ClassVar[bool] = False

    def __init__(self, code: str, detail: str, *, pointer: str | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.pointer = pointer
        """JSON pointer of the field that was wrong, such as ``/amount/amount``."""
        self.extra: Mapping[str, Any] = extra

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class Invalid(Refusal):
    status = 422
    title = "The request cannot be understood"


class Unauthenticated(Refusal):
    status = 401
    title = "No valid key"


class Forbidden(Refusal):
    status = 403
    title = "Not allowed"


class NotFound(Refusal):
    status = 404
    title = "No such object"


class Conflict(Refusal):
    status = 409
    title = "Not in this state"


class Busy(Refusal):
    status = 429
    title = "Too much at once"
    retryable = True


class RailTrouble(Refusal):
    status = 502
    title = "The rail did not take the payment"
    retryable = True
