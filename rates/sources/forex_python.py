"""The package forex-python behind our port, with the limits that it lacks.

Its ``CurrencyRates`` asks theratesapi.com with no time-out and no cache, and that service has answered 504 for months
(https://github.com/MicroPyramid/forex-python/issues/158, pull request 136). So: the address is configurable, the call
runs in a thread of its own with a time-out, a deadline and a size limit, one at a time, and the market keeps what it
said until it is stale. Any service that answers ``{"base", "date", "rates"}`` at ``{url}latest?base=`` can stand there.

The public service republishes the ECB (https://github.com/MicroPyramid/theforexapi): it is no second opinion
beside ``ecb``, and the policy counts both as one origin.
"""

from __future__ import annotations

import asyncio
import json
import time as clocks
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from threading import Lock
from typing import Any, Final

import requests
import urllib3
from forex_python.converter import CurrencyRates, RatesNotAvailableError

from rates.errors import SourceUnavailable
from rates.sources.port import SourceKind, SourceRate, exact_rate

NAME: Final = "forex_python"
BODY_BYTES_MAX: Final = 262_144
CHUNK_BYTES: Final = 16_384
BRACKETS_MAX: Final = 100
"""A table of rates has two. Python's own guard against nested JSON is a recursion limit that others may raise."""
RATES_MAX: Final = 1_000
UNUSABLE: Final = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,  # what the body's stream raises, below requests
    RatesNotAvailableError,
    OSError,
    ValueError,
)


class ForexPythonSource:
    """What a service of forex-python's form says about one base currency."""

    def __init__(
        self, *, url: str | None = None, base: str = "USD", timeout_seconds: float = 5, ttl_seconds: float = 3600
    ) -> None:
        self._client = BoundedRates(url=url, timeout_seconds=timeout_seconds)
        self._base = base
        self._timeout_seconds = timeout_seconds
        self._ttl_seconds = ttl_seconds
        self._asking = Lock()

    @property
    def name(self) -> str:
        return NAME

    @property
    def kind(self) -> SourceKind:
        return SourceKind.NETWORK

    @property
    def ttl_seconds(self) -> float | None:
        return self._ttl_seconds

    async def fetch(self) -> Sequence[SourceRate]:
        """Ask once, in a thread. Raises SourceUnavailable on silence, refusal or an answer that cannot be believed."""
        try:
            async with asyncio.timeout(self._timeout_seconds * 2):
                message = await asyncio.to_thread(self._ask)
        except TimeoutError as error:
            raise SourceUnavailable(NAME, f"no whole answer within {self._timeout_seconds:g} s") from error
        except UNUSABLE as error:
            raise SourceUnavailable(NAME, f"no usable answer: {type(error).__name__}: {error}") from error
        return read_rates(message, self._base)

    def _ask(self) -> Any:
        """Run in the thread. A thread cannot be killed: a second one beside one that hangs would pile them up."""
        if not self._asking.acquire(blocking=False):
            raise SourceUnavailable(NAME, "the call before this one has not come back yet")
        try:
            return self._client.latest(self._base)
        finally:
            self._asking.release()


class BoundedRates(CurrencyRates):  # type: ignore[misc]  # its base class has no types
    """forex-python's client with an address of our own, a time-out, a deadline and a size limit."""

    def __init__(self, *, url: str | None, timeout_seconds: float) -> None:
        super().__init__(force_decimal=True)
        self._url = url
        self._timeout_seconds = timeout_seconds

    def _source_url(self) -> str:
        return str(super()._source_url()) if self._url is None else f"{self._url.rstrip('/')}/"

    def latest(self, base: str) -> Any:
        """Get the newest message about one base, decoded with decimals (never floats)."""
        deadline = clocks.monotonic() + self._timeout_seconds
        with requests.get(
            self._source_url() + self._get_date_string(None),
            params={"base": base, "rtype": "fpy"},
            timeout=self._timeout_seconds,
            allow_redirects=False,
            stream=True,
        ) as response:
            if response.status_code != requests.codes.ok:
                raise RatesNotAvailableError(f"HTTP {response.status_code}")
            body = bytearray()
            # read1 returns what is there, so that a server which drips bytes meets the deadline.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=True):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise ValueError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
                if clocks.monotonic() > deadline:
                    raise TimeoutError(f"the answer drips for more than {self._timeout_seconds:g} s")
        return decode(bytes(body))


def decode(body: bytes) -> Any:
    """Decode JSON without a float in it. Raises ValueError, also on NaN and Infinity, which Python would let pass."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no number")

    if body.count(b"[") + body.count(b"{") > BRACKETS_MAX:
        raise ValueError("nested deeper than a table of rates is")  # deep enough, it would end the process
    return json.loads(body, parse_float=Decimal, parse_constant=refuse)


def read_rates(message: Any, base: str) -> list[SourceRate]:
    """Turn ``{"base": "USD", "date": "2026-11-20", "rates": {"BRL": 5.61}}`` into rates.

    All of it must be believable: half a table of a confused service is worse than none. The date counts from its
    first second, so that a service which only knows the day never looks fresher than one which knows the hour.
    """
    if not isinstance(message, Mapping) or not isinstance(rates := message.get("rates"), Mapping) or not rates:
        raise SourceUnavailable(NAME, 'the answer has no "rates"')
    if message.get("base") != base:
        raise SourceUnavailable(NAME, f"asked about {base}, answered about {message.get('base')!r}")
    if len(rates) > RATES_MAX:
        raise SourceUnavailable(NAME, f"{len(rates)} rates are more than there are currencies")
    try:
        as_of = datetime.combine(date.fromisoformat(message["date"]), time(0, tzinfo=UTC))
    except (KeyError, TypeError, ValueError) as error:
        raise SourceUnavailable(NAME, f"the answer does not say its date: {message.get('date')!r}") from error
    return [_rate(base, code, value, as_of) for code, value in rates.items() if code != base]


def _rate(base: str, code: str, value: object, as_of: datetime) -> SourceRate:
    try:
        return SourceRate(NAME, base, code, exact_rate(value), as_of)
    except ValueError as error:
        raise SourceUnavailable(NAME, f"{base}-{code!r}: {error}") from error
