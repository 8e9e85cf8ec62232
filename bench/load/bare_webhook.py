"""The reference: a bare aiohttp handler that reads the body and answers. Nothing else."""

from __future__ import annotations

import sys

from aiohttp import web


async def take(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(text="{}", content_type="application/json")


def main() -> None:
    app = web.Application()
    app.router.add_post("/hook", take)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: print("up", flush=True))


if __name__ == "__main__":
    main()
