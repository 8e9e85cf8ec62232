"""Many calls to the API as the platform: of the running service, or of one that lives as long as the command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from orchestrator.cli.console import Failure
from orchestrator.cli.people import running_service

CALL_TIMEOUT: Final = aiohttp.ClientTimeout(total=60)
TRIES_MAX: Final = 30
WAIT_S_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Api:
    """Where it listens, and the platform's token."""

    http: aiohttp.ClientSession
    url: str
    token: str

    async def call(
        self, verb: str, path: str, body: Any = None, *, raw: bytes | None = None, kind: str = "application/json",
        **query: str,
    ) -> Any:  # fmt: skip
        """Return the answer's JSON. A service that has too much to do is asked again. Raises Failure."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({} if raw is None else {"Content-Type": kind})
        for _ in range(TRIES_MAX):
            try:
                async with self.http.request(
                    verb, self.url + path, json=body if raw is None else None, data=raw, params=query, headers=headers
                ) as response:
                    answer = await response.json(content_type=None)
                    if response.status not in {429, 503}:
                        if response.status >= 400:
                            raise Failure(_said(answer))
                        return answer
                    wait_s = int(response.headers.get("Retry-After", "1"))
            except (aiohttp.ClientError, TimeoutError) as error:
                raise Failure(f"the service does not answer: {type(error).__name__} {error}".strip()) from None
            await asyncio.sleep(min(wait_s, WAIT_S_MAX))
        raise Failure("the service has too much to do: try again later")


def _said(answer: Mapping[str, Any]) -> str:
    fields = "; ".join(f"{one['pointer']} {one['message']}" for one in answer.get("errors", []))
    text = f"{answer.get('code')}: {answer.get('detail')}" + (f" ({fields})" if fields else "")
    for one in answer.get("problems", []):  # of rules: each at its place, with what to do
        hint = f" ({one['hint']})" if one["hint"] else ""
        text += f"\n{one['file']}:{one['line']}:{one['column']}: {one['path']}: {one['message']}{hint}"
        text += f"\n    {one['excerpt']}" if one["excerpt"].strip() else ""
    return text


@asynccontextmanager
async def api_of(config: Path) -> AsyncIterator[Api]:
    """Open the API of a configuration. Raises ConfigInvalid, DatabaseInUse."""
    async with AsyncExitStack() as stack:
        note = running_service(config)
        if note is not None:
            url, token = note["url"], note["admin_token"]
        else:
            from orchestrator.cli.demo import free_ports
            from orchestrator.cli.service import Service

            port = free_ports()
            service = await asyncio.to_thread(Service.prepare, config, port, with_workers=False)
            services, _ = await service.start(stack)
            url, token = f"http://{service.settings.service.host}:{port}", services.secrets.admin_token
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=CALL_TIMEOUT))
        yield Api(http, url, token)
