"""The signer's door: HTTP over a Unix socket, nowhere else."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from aiohttp import web
from pydantic import ValidationError

from orchestrator.clock import Clock, SystemClock
from orchestrator.signer.journal import Journal
from orchestrator.signer.judge import NotSigned
from orchestrator.signer.keys import Keys
from orchestrator.signer.policy import Policy
from orchestrator.signer.signer import Signer, SignRequest

BODY_BYTES_MAX = 32 * 1024
SERVER_ENVIRONMENT = ("CROSSRAIL_CONFIG", "CROSSRAIL_DATABASE", "CROSSRAIL_SECRET", "CROSSRAIL_ADMIN_TOKEN")
_log = structlog.get_logger("signer")


class SharesTheServer(Exception):
    """The signer was started in the server's environment."""


def assert_apart(environment: dict[str, str]) -> None:
    """Refuse to start with the server's secrets at hand. Raises SharesTheServer."""
    shared = [name for name in SERVER_ENVIRONMENT if environment.get(name)]
    if shared:
        raise SharesTheServer(f"the signer is a process apart: unset {', '.join(shared)}")


def application(signer: Signer) -> web.Application:
    async def sign(request: web.Request) -> web.Response:
        try:
            wanted = SignRequest.model_validate_json(await request.read())
        except ValidationError as error:
            return _no(400, "request_not_understood", str(error.errors(include_input=False, include_url=False))[:500])
        try:
            signed = await signer.sign(wanted)
        except NotSigned as no:
            return _no(403, no.code, no.detail)
        return web.json_response({"signed": signed.hex()})

    async def addresses(request: web.Request) -> web.Response:
        """Return addresses, so that the server can see that both derive the same."""
        del request
        shown = {
            family: {"operating": account.child(1).child(0).address.hex(), "deposit_0": _deposit(signer.keys, family)}
            for family, account in signer.keys.accounts.items()
        }
        return web.json_response(shown)

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_post("/sign", sign)
    app.router.add_get("/addresses", addresses)
    return app


def _deposit(keys: Keys, family: str) -> str:
    assert family in {"evm", "tron"}, "families of the key file"
    return keys.at("evm" if family == "evm" else "tron", "deposit", 0).address.hex()


def _no(status: int, code: str, detail: str) -> web.Response:
    return web.json_response({"code": code, "detail": detail}, status=status)


@asynccontextmanager
async def serving(policy: Policy, clock: Clock) -> AsyncIterator[Signer]:
    """Open keys and journal and listen on the socket. Raises FileNotSafe, ConfigInvalid, BadKey, sqlite3.Error."""
    keys = Keys.read(policy.keys)
    journal = Journal.open(policy.journal)
    signer = Signer(policy, keys, journal, clock)
    runner = web.AppRunner(application(signer), access_log=None, shutdown_timeout=5)
    await runner.setup()
    try:
        await web.SockSite(runner, _bound(policy.socket, int(policy.socket_mode, 8))).start()
        yield signer
    finally:
        await runner.cleanup()
        journal.close()


def _bound(path: Path, mode: int) -> socket.socket:
    """Return a socket that nobody else could open, even for a moment."""
    path.unlink(missing_ok=True)  # of a signer that was killed; a living one holds the journal, which was opened before
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    before = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    path.chmod(mode)
    return made


async def run(policy: Policy) -> None:
    """Serve until SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serving(policy, SystemClock()) as signer:
        _log.info("signer_listens", socket=str(policy.socket), chains=sorted(signer.policy.chains))
        print(f"crossrail signer listens on {policy.socket}", flush=True)  # noqa: T201  # whoever started it waits for this
        await stop.wait()
