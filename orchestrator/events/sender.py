"""One attempt: sign the envelope, POST it, say what came of it. Never raises for what the other side does."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from functools import lru_cache
from typing import Final, Self

import aiohttp
from standardwebhooks import Webhook

from orchestrator.clock import Clock
from orchestrator.errors import Invalid
from orchestrator.events.delivery import Job
from orchestrator.events.outcome import Outcome
from orchestrator.events.targets import GuardedResolver, TargetPolicy, TargetRefused, check_url

DRAIN_BYTES_MAX: Final = 16_384
DRAIN_S: Final = 0.25
ANSWER_KEPT_BYTES_MAX: Final = 500
KEEPALIVE_S: Final = 1.5
"""Shorter than a server's own (2 to 5 s are common): a POST on a connection that it just closed would be lost."""
USER_AGENT: Final = "Crossrail-Webhooks/1"


def signed_headers(event_id: str, body: bytes, secrets: tuple[str, ...], clock: Clock) -> dict[str, str]:
    """Return the headers of Standard Webhooks 1.0.0, one signature per live secret, newest first."""
    now = clock.now()
    text = body.decode()
    signatures = [_signer(secret).sign(event_id, now, text) for secret in secrets]
    return {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


@lru_cache(maxsize=1024)
def _signer(secret: str) -> Webhook:
    return Webhook(secret)


class Sender:
    """Open it with ``async with``. Bounded by its caller, so it has no limits of connections of its own."""

    def __init__(self, targets: TargetPolicy, clock: Clock, timeout_s: float) -> None:
        self._targets = targets
        self._clock = clock
        self._timeout_s = timeout_s
        self._sessions: dict[str, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for scheme in ("https", "http"):
            resolver = GuardedResolver(scheme, self._targets)
            self._stack.push_async_callback(resolver.close)
            connector = aiohttp.TCPConnector(
                resolver=resolver, limit=0, ttl_dns_cache=30, keepalive_timeout=KEEPALIVE_S
            )
            session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=self._timeout_s),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._sessions[scheme] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def send(self, job: Job, event_id: str, body: bytes) -> Outcome:
        """Deliver once. Redirects are not followed: where they lead was not checked, and the merchant can mend its URL."""
        started_us, started = self._clock.now_us(), asyncio.get_running_loop().time()
        http_status: int | None = None
        note = "no answer"
        retry_after_s, answer = 0, b""
        try:
            url = check_url(job.url, self._targets)
            headers = signed_headers(event_id, body, job.secrets, self._clock)
            session = self._sessions[url.scheme]
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                http_status = response.status
                note = f"answered {http_status}"
                retry_after_s = _seconds(response.headers.get("Retry-After", ""))
                answer = await _drain(response)
        except Invalid as refused:
            note = refused.code
        except TimeoutError:
            note = f"no answer within {self._timeout_s:g} s" if http_status is None else f"answered {http_status}"
        except (aiohttp.ClientError, OSError, UnicodeError) as error:
            if http_status is None:
                note = _why(error)
        duration_ms = round((asyncio.get_running_loop().time() - started) * 1000)
        return Outcome(http_status, note, duration_ms, started_us, retry_after_s, readable(answer))


async def _drain(response: aiohttp.ClientResponse) -> bytes:
    """Read a short answer to its end, so that the connection can be used again; return how it begins.

    What it says does not matter to us, and an answer that breaks off is no less an answer.
    """
    left, kept = DRAIN_BYTES_MAX, b""
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0 and not response.content.at_eof():
                some = await response.content.readany()
                left -= len(some)
                kept = (kept + some)[:ANSWER_KEPT_BYTES_MAX] if len(kept) < ANSWER_KEPT_BYTES_MAX else kept
    return kept


def readable(answer: bytes) -> str:
    """Return the beginning of an answer as text for people; what cannot be shown (a NUL, half a letter) is a mark."""
    text = answer.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in text)


def _why(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, TargetRefused):
        return f"webhook_{cause}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the name was not found"
    if isinstance(error, aiohttp.ClientSSLError):
        return "the certificate was refused"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "no connection"
    return f"no answer ({type(error).__name__})"


def _seconds(text: str) -> int:
    """Return the seconds of a Retry-After header; the form with a date is left to our own schedule."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
