"""One java-tron node's HTTP API. Errors come with HTTP 200 as well: an object with ``Error``, or bare text from a lite node.

Source: https://tronprotocol.github.io/documentation-en/api/http/
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp
import orjson

from adapters.kit.chain.rpc import NodeRpc
from adapters.sending import SendFailed

RPC_PATH: Final = "/jsonrpc"
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024


class TronHttp:
    """``rpc_url`` is the node's JSON-RPC as it is configured; its HTTP API lies beside it."""

    def __init__(self, rpc_url: str, http: aiohttp.ClientSession, timeout_seconds: float) -> None:
        self._url = rpc_url.rstrip("/").removesuffix(RPC_PATH)
        self._http = http
        self._timeout_seconds = timeout_seconds
        self.rpc = NodeRpc(rpc_url, http, timeout_seconds)

    async def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Return the answer, which may be ``{}``: "I know none", or a node that is ill. Raises SendFailed."""
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._http.post(f"{self._url}/{path}", data=orjson.dumps(body), allow_redirects=False,
                                headers={"Content-Type": "application/json"}) as response,
            ):  # fmt: skip
                if response.status != 200:
                    raise SendFailed(f"{path}: HTTP {response.status}")
                raw = await response.content.read(ANSWER_BYTES_MAX)
        except TimeoutError:
            raise SendFailed(f"{path}: no answer within {self._timeout_seconds} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise SendFailed(f"{path}: {type(error).__name__}") from None
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            raise SendFailed(f"{path}: no JSON but {raw[:120]!r}") from None
        if not isinstance(answer, dict) or "Error" in answer:
            raise SendFailed(f"{path}: {str(answer)[:160]}")
        return answer
