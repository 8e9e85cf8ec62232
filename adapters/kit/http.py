"""What every rail's calls share: did it leave us or not, and no secret in any text.

The one question after a failed call is whether the rail may have acted. It surely did not where no connection came
about (name not found, refused, certificate, connect time-out) or where it says 429; everything later is unknown.
A 5xx counts as unknown too: https://docs.stripe.com/error-low-level says to treat it as indeterminate, and Adyen's
documents say to ask. Reading changes nothing at the rail, so a failed read is always "nothing happened: retry".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import aiohttp

from adapters.base import OutcomeUnknown, RailError, RailUnavailable

ANSWER_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 5.0
RETRY_AFTER_SECONDS_MAX: Final = 3600.0
"""Who asks for a longer rest than an hour is asked again after an hour."""

REDACTED: Final = "[redacted]"
SECRET_LENGTH_MIN: Final = 6
"""A shorter "secret" would cut holes into ordinary words."""


def call_timeout(answer_seconds: float = ANSWER_SECONDS) -> aiohttp.ClientTimeout:
    """Return the limits of one call: connecting has its own, so that "never left" can be told from "no answer"."""
    connect = min(CONNECT_SECONDS, answer_seconds)
    return aiohttp.ClientTimeout(total=answer_seconds, connect=connect, sock_connect=connect)


def retry_after(header: str | None) -> float | None:
    """Read a Retry-After in seconds; None for its other form, a date (clocks differ), and for nonsense.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
    """
    if header is None or not header.strip().isdecimal():
        return None
    return min(float(header), RETRY_AFTER_SECONDS_MAX)


def never_left(error: BaseException | None) -> bool:
    """Say whether no connection came about, so that the rail cannot have acted."""
    return isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ClientSSLError, aiohttp.ConnectionTimeoutError))


def from_transport(error: BaseException | None, *, doing: str, reading: bool) -> RailError:
    """Turn an error below HTTP into the port's words. ``doing`` names rail and call, without secrets."""
    what = type(error).__name__
    if never_left(error):
        return RailUnavailable(f"{doing}: no connection ({what})")
    if reading:
        return RailUnavailable(f"{doing}: no answer ({what})")
    return OutcomeUnknown(f"{doing}: sent, no answer ({what})")


def from_status(status: int, *, doing: str, reading: bool, rest: str | None = None) -> RailError | None:
    """Turn a status without a usable answer (409, 429, 5xx) into the port's words; None = read the body.

    ``rest`` is the answer's Retry-After header.
    """
    if status == 429:
        return RailUnavailable(f"{doing}: not taken, too many requests (429)", retry_after(rest))
    if status == 409 or status >= 500:
        if reading:
            return RailUnavailable(f"{doing}: no answer for now ({status})")
        return OutcomeUnknown(f"{doing}: sent, answered {status}, which does not say whether it acted")
    return None


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return text that a vendor wrote without our secrets in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_LENGTH_MIN:
            text = text.replace(secret, REDACTED)
    return text
