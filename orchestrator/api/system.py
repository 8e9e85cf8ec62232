"""Is it alive, is it ready, what does it count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import structlog
from prometheus_client import generate_latest

from orchestrator.api.endpoint import Answer, ApiServices, Auth, Context, Endpoint
from orchestrator.api.fields import Shown
from orchestrator.database.migrate import current_and_head
from orchestrator.database.reads import Reads

CHECK_SECONDS_MAX: Final = 3

Check = Callable[[], Awaitable[str | None]]
"""None: fine. Else what is wrong, in words that may be shown to anybody. An exception counts as wrong too."""

_log = structlog.get_logger("readiness")


class Alive(Shown):
    status: Literal["alive"]


class Ready(Shown):
    status: Literal["ready", "not_ready"]
    checks: Mapping[str, str]


async def alive(_context: Context[ApiServices]) -> Answer:
    return Answer({"status": "alive"})


async def metrics(_context: Context[ApiServices]) -> Answer:
    return Answer(generate_latest())


def readiness(checks: Mapping[str, Check]) -> Callable[[Context[ApiServices]], Awaitable[Answer]]:
    async def ready(_context: Context[ApiServices]) -> Answer:
        said = await asyncio.gather(*(_ask(name, check) for name, check in checks.items()))
        fine = all(word == "ok" for word in said)
        body = {"status": "ready" if fine else "not_ready", "checks": dict(zip(checks, said, strict=True))}
        return Answer(body, status=200 if fine else 503)

    return ready


async def _ask(name: str, check: Check) -> str:
    try:
        async with asyncio.timeout(CHECK_SECONDS_MAX):
            return await check() or "ok"
    except Exception:  # noqa: BLE001  # whatever it is, we are not ready; the log has the whole of it
        _log.warning("readiness_check_failed", check=name, exc_info=True)
        return "failed"


def database_check(reads: Reads) -> Check:
    async def check() -> str | None:
        await reads.ping()
        return None

    return check


def migrations_check(url: str) -> Check:
    """At the newest migration? Asked until it is: a schema does not go back under a running service."""
    done = False

    async def check() -> str | None:
        nonlocal done
        if not done:
            current, head = await current_and_head(url)
            if current != head:
                return f"at {current}, wants {head}: run crossrail db upgrade"
            done = True
        return None

    return check


def endpoints(checks: Mapping[str, Check]) -> tuple[Endpoint, ...]:
    return (
        Endpoint("GET", "/healthz", alive, summary="Is the process alive", tag="Service", auth=Auth.PUBLIC, answer=Alive),
        Endpoint("GET", "/readyz", readiness(checks), summary="Can it serve: database, migrations, workers",
                 tag="Service", auth=Auth.PUBLIC, answer=Ready, description="503 with the same body where it cannot."),
        Endpoint("GET", "/metrics", metrics, summary="Metrics for Prometheus", tag="Service", auth=Auth.PUBLIC,
                 content_type="text/plain; version=1.0.0; charset=utf-8"),
    )  # fmt: skip
