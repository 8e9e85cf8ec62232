"""JSON-RPC to one chain node: what is not a clean answer is ChainScanFailed, never an empty list.

java-tron says "rate limited" with HTTP 200 and ``{"Error": "... lack of computing resources"}``, a lite node answers
bare text. Read as "no logs", both lose deposits. So a result counts only where it stands in a JSON-RPC envelope that
carries our id; everything else is an error.

Sources: https://www.jsonrpc.org/specification, https://ethereum.github.io/execution-apis/,
https://tronprotocol.github.io/documentation-en/api/json-rpc/
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import orjson
from prometheus_client import Counter

from adapters.base import ChainScanFailed
from adapters.kit.chain.budget import BudgetSpent, TokenBucket

ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
"""java-tron stops at 25 MiB (``maxResponseSize``)."""

BUSY_STATUSES: Final = frozenset({403, 429})
"""TronGrid suspends with 403."""
BUSY_WORDS: Final = "lack of computing resources"
BUSY_PAUSE_S: Final = 1.0

_calls = Counter("crossrail_node_calls", "Calls to chain nodes", ["node", "method", "outcome"])
_QUANTITY: Final = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH: Final = re.compile(r"0x[0-9a-f]{64}")


class NodeRefused(ChainScanFailed):
    """The node understood and answered with a JSON-RPC error object."""

    def __init__(self, text: str, code: int, message: str) -> None:
        super().__init__(text)
        self.code = code
        self.message = message


class NodeBusy(ChainScanFailed):
    """The node has no time for us (429, java-tron's "lack of computing resources"): ask less, ask another."""

    def __init__(self, text: str, retry_after_s: float) -> None:
        super().__init__(text)
        self.retry_after_s = retry_after_s


class NodeSilent(ChainScanFailed):
    """No answer: time-out, connection, or a server's error."""


class AnswerTooLarge(ChainScanFailed):
    """More bytes than are read: ask for less."""


class NodeRpc:
    """One node. Its address may hold an API key, so errors show the host only."""

    def __init__(
        self, url: str, http: aiohttp.ClientSession, timeout_seconds: float = 10.0, bucket: TokenBucket | None = None
    ) -> None:
        self._url = url
        self._bucket = bucket or TokenBucket(0, 0)
        self._http = http
        self._timeout_seconds = timeout_seconds
        self._ids = itertools.count(1)
        self.name = urlsplit(url).netloc.rpartition("@")[2]
        self.chain_id_seen: int | None = None

    async def call(self, method: str, *params: Any) -> Any:
        """Return the ``result`` of one call; it may be None, which only some methods may mean.

        Raises NodeRefused on a JSON-RPC error object and ChainScanFailed on everything else that is no answer.
        """
        call_id = next(self._ids)
        request = orjson.dumps({"jsonrpc": "2.0", "id": call_id, "method": method, "params": params})
        try:
            await self._bucket.take(self._timeout_seconds)
        except BudgetSpent:
            raise NodeBusy(f"{self.name} {method}: our own limit of calls is reached", 1.0) from None
        outcome = "failed"
        try:
            body = self._decoded(method, await self._post(method, request))
            outcome = "refused" if body.get("error") is not None else "answered"
        except NodeBusy:
            outcome = "busy"
            raise
        except NodeSilent:
            outcome = "silent"
            raise
        finally:
            _calls.labels(self.name, method, outcome).inc()
        error = body.get("error")
        if error is not None:
            raise self._refusal(method, error)
        if "result" not in body or body.get("id") != call_id:
            raise ChainScanFailed(f"{self.name} {method}: the answer is no JSON-RPC result: {_short(body)}")
        return body["result"]

    async def batch(self, method: str, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the results of many calls of one method, in their order, by one request.

        Raises ChainScanFailed where one of them has none: a part of an answer is no answer.
        """
        ids = [next(self._ids) for _ in calls]
        request = orjson.dumps(
            [
                {"jsonrpc": "2.0", "id": call_id, "method": method, "params": params}
                for call_id, params in zip(ids, calls, strict=True)
            ]
        )
        try:
            await self._bucket.take(self._timeout_seconds)
        except BudgetSpent:
            raise NodeBusy(f"{self.name} {method}: our own limit of calls is reached", 1.0) from None
        raw = await self._post(method, request)
        if not raw.lstrip().startswith(b"["):
            body = self._decoded(method, raw)
            if body.get("error") is not None:
                raise self._refusal(method, body["error"])
            raise ChainScanFailed(f"{self.name} {method}: a batch is due, not {_short(body)}")
        try:
            answers = {answer["id"]: answer["result"] for answer in orjson.loads(raw)}
            return [answers[call_id] for call_id in ids]
        except (orjson.JSONDecodeError, TypeError, KeyError):
            raise ChainScanFailed(f"{self.name} {method}: the batch is not answered whole: {raw[:120]!r}") from None

    async def ensure_chain(self, chain_id: int) -> None:
        """Ask the node once which chain it speaks for: a wrong second address would scan another chain."""
        if self.chain_id_seen is None:
            self.chain_id_seen = quantity(await self.call("eth_chainId"), "eth_chainId")
        if self.chain_id_seen != chain_id:
            raise ChainScanFailed(f"{self.name} speaks for chain {self.chain_id_seen}, not for {chain_id}")

    async def _post(self, method: str, request: bytes) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._http.post(self._url, data=request, headers=headers, allow_redirects=False) as response,
            ):
                if response.status in BUSY_STATUSES:
                    raise NodeBusy(f"{self.name} {method}: HTTP {response.status}", _retry_after_s(response))
                if response.status != 200:
                    raise NodeSilent(f"{self.name} {method}: HTTP {response.status}")
                received = bytearray()
                async for chunk in response.content.iter_chunked(65536):
                    received += chunk
                    if len(received) > ANSWER_BYTES_MAX:
                        raise AnswerTooLarge(f"{self.name} {method}: more than {ANSWER_BYTES_MAX} bytes")
                return bytes(received)
        except TimeoutError:
            raise NodeSilent(f"{self.name} {method}: no answer within {self._timeout_seconds} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The text of aiohttp's errors may hold the whole address, key included.
            raise NodeSilent(f"{self.name} {method}: {type(error).__name__}") from None

    def _decoded(self, method: str, raw: bytes) -> dict[str, Any]:
        try:
            body = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise ChainScanFailed(f"{self.name} {method}: no JSON but {raw[:120]!r}") from None
        if not isinstance(body, dict):
            raise ChainScanFailed(f"{self.name} {method}: no JSON object but {_short(body)}")
        if "jsonrpc" not in body and BUSY_WORDS in str(body.get("Error")):
            raise NodeBusy(f"{self.name} {method}: HTTP 200 with {_short(body)}", BUSY_PAUSE_S)
        return body

    def _refusal(self, method: str, error: Any) -> ChainScanFailed:
        if isinstance(error, dict) and type(error.get("code")) is int:
            message = str(error.get("message", ""))[:200]
            return NodeRefused(f"{self.name} {method}: {error['code']} {message}", error["code"], message)
        return ChainScanFailed(f"{self.name} {method}: {_short(error)}")


def _retry_after_s(response: aiohttp.ClientResponse) -> float:
    """Return the seconds of Retry-After; its date form is rare and gets the default."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else BUSY_PAUSE_S


def _short(value: Any) -> str:
    return repr(value)[:160]


# --- shapes: each raises ChainScanFailed --------------------------------------------------------------------------


def as_object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ChainScanFailed(f"{what}: an object is due, not {_short(value)}")
    return value


def as_list(value: Any, what: str) -> list[Any]:
    """A ``null`` where a list is due is no empty list."""
    if not isinstance(value, list):
        raise ChainScanFailed(f"{what}: a list is due, not {_short(value)}")
    return value


def quantity(value: Any, what: str) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ChainScanFailed(f"{what}: a 0x number is due, not {_short(value)}")
    return int(value, 16)


def hash32(value: Any, what: str) -> str:
    """Return a 32-byte hash as 0x and 64 lower-case digits."""
    lower = value.lower() if isinstance(value, str) else ""
    if not _HASH.fullmatch(lower):
        raise ChainScanFailed(f"{what}: a 32-byte hash is due, not {_short(value)}")
    return lower


def data_bytes(value: Any, length: int, what: str) -> bytes:
    """Return exactly ``length`` bytes of 0x hex."""
    if isinstance(value, str) and len(value) == 2 + 2 * length and value[:2] == "0x":
        try:
            decoded = bytes.fromhex(value[2:])
        except ValueError:
            decoded = b""
        if len(decoded) == length:  # fromhex skips blanks
            return decoded
    raise ChainScanFailed(f"{what}: {length} bytes of hex are due, not {_short(value)}")
