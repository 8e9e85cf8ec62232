"""A merchant's side for ``bench.events``: ``/hook`` takes events at once, ``/hang`` never answers, ``/taken`` says how many."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web


def application() -> web.Application:
    taken: set[str] = set()
    over = asyncio.Event()

    async def hook(request: web.Request) -> web.Response:
        await request.read()
        taken.add(request.headers["webhook-id"])
        return web.Response()

    async def hang(request: web.Request) -> web.Response:
        await request.read()
        await over.wait()
        return web.Response(status=500)

    async def count(_: web.Request) -> web.Response:
        return web.json_response(len(taken))

    app = web.Application()
    app.add_routes([web.post("/hook", hook), web.post("/hang", hang), web.get("/taken", count)])
    return app


async def main(port: int) -> None:
    runner = web.AppRunner(application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
