"""The reference of the holds benchmark: bare aiohttp POST handlers that parse the same bodies and answer as much."""

from __future__ import annotations

import sys
from itertools import count

import orjson
from aiohttp import web

_NUMBERS = count()


async def hold(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    return _answer(f"hold_{next(_NUMBERS):032x}", body["wallet"], body["amount"], 201)


async def capture(request: web.Request) -> web.Response:
    body = orjson.loads(await request.read())
    return _answer(request.match_info["id"], "wal_01a2090ee1f072a39d1f0a4b8c6d5e7f", body["amount"], 200)


def _answer(id_: str, wallet: str, amount: dict[str, str], status: int) -> web.Response:
    shown = {
        "id": id_,
        "wallet": wallet,
        "status": "open",
        "amount": amount,
        "captured": None,
        "reference": None,
        "expires_at": "2026-01-01T00:00:00Z",
        "created_at": "2026-01-01T00:00:00Z",
    }
    return web.Response(body=orjson.dumps(shown), content_type="application/json", status=status)


def main() -> None:
    app = web.Application()
    app.router.add_post("/v1/holds", hold)
    app.router.add_post("/v1/holds/{id}/capture", capture)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: print("up", flush=True))


if __name__ == "__main__":
    main()
