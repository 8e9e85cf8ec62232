"""The server's side of the socket. It holds no key and no policy."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

CALL_TIMEOUT_S = 15
ANSWER_BYTES_MAX = 64 * 1024


class SignerAway(Exception):
    """No signer answered: nothing is known of a signature; the same bytes may be asked for again."""


class SignerRefused(Exception):
    """The signer's policy says no, now. ``code`` is its own word."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class KeyOf:
    """Which key is to sign."""

    branch: str
    """deposit | operating"""
    index: int


@dataclass(frozen=True, slots=True)
class SignerClient:
    """Asks the signer at a Unix socket."""

    socket: Path

    async def sign(
        self, *, chain: str, reference: str, key: KeyOf, unsigned: bytes,
        recipient_index: int | None = None, approvals: tuple[str, ...] = (),
    ) -> bytes:  # fmt: skip
        """Return the signed bytes; safe to repeat. Raises SignerAway, SignerRefused."""
        body = {
            "chain": chain, "reference": reference, "branch": key.branch, "index": key.index,
            "recipient_index": recipient_index, "unsigned": unsigned.hex(), "approvals": list(approvals),
        }  # fmt: skip
        answer = await self._call("POST", "/sign", body)
        try:
            return bytes.fromhex(answer["signed"])
        except (KeyError, TypeError, ValueError):
            raise SignerAway("the answer holds no signed bytes") from None

    async def addresses(self) -> Mapping[str, Any]:
        """Return operating and first deposit address by family, in hex. Raises SignerAway."""
        return await self._call("GET", "/addresses", None)

    async def _call(self, verb: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(CALL_TIMEOUT_S),
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(self.socket))) as http,
                http.request(verb, f"http://signer{path}", json=body) as response,
            ):
                answer = await response.json(content_type=None) if response.status in {200, 400, 403} else {}
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise SignerAway(f"{type(error).__name__}: is `crossrail signer` running at {self.socket}?") from None
        if not isinstance(answer, dict):
            raise SignerAway("the answer is no object")
        if response.status == 403:
            raise SignerRefused(str(answer.get("code")), str(answer.get("detail")))
        if response.status != 200:
            raise SignerAway(f"HTTP {response.status}: {str(answer)[:200]}")
        return answer
