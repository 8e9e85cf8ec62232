"""One process: database at its newest schema, simulators (sandbox), HTTP, workers; a clean end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from adapters.base import ScansChain
from orchestrator import bootstrap
from orchestrator import settings as settings_file
from orchestrator.cli.collector import spare_the_collector
from orchestrator.cli.console import Failure
from orchestrator.config_source import Document
from orchestrator.database import migrate
from orchestrator.payments.high_water import HighWater
from orchestrator.routing.control import Watched
from orchestrator.services import Services
from orchestrator.settings import Settings
from orchestrator.workers.roster import watchers, workers
from orchestrator.workers.supervisor import Supervisor

SHUTDOWN_S = 10.0
_log = structlog.get_logger("service")


@dataclass(frozen=True, slots=True)
class Show:
    """What ``make run`` asks for: something to see and to click on."""

    play_buyers: bool

    @classmethod
    def from_environment(cls) -> Show:
        return cls(play_buyers=os.environ.get("DEMO", "1") != "0")


@dataclass(frozen=True, slots=True)
class Service:
    """A checked configuration and a migrated database, ready to run."""

    settings: Settings
    document: Document
    with_api: bool
    with_workers: bool
    watched: Watched | None = None
    """The configuration, so that an edit of its rules comes into force."""

    @classmethod
    def prepare(
        cls,
        config: Path,
        port: int | None,
        *,
        with_api: bool = True,
        with_workers: bool = True,
        **service: str,
    ) -> Service:
        """Read, check and migrate; ``service`` replaces fields of that block. Raises ConfigInvalid, Failure."""
        configure_logs()
        wanted = dict(os.environ)
        chosen = port if port is not None else 8080
        wanted.setdefault("CROSSRAIL_PUBLIC_URL", f"http://127.0.0.1:{chosen}")
        settings, document = settings_file.load(config, wanted)
        changed = {**service, **({} if port is None else {"port": port})}
        settings = settings.model_copy(update={"service": settings.service.model_copy(update=changed)})
        if with_api:
            for number in (settings.service.port, settings.service.port + 1)[: 1 + _is_sandbox(settings)]:
                _assert_free(settings.service.host, number)
        migrate.upgrade(settings.service.database)
        return cls(settings, document, with_api, with_workers, Watched(config, wanted))

    @property
    def sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self.settings.service.port + 1}"

    async def run(self, show: Show | None) -> None:
        """Serve until SIGINT or SIGTERM."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            services, supervisor = await self.start(stack)
            async with asyncio.TaskGroup() as group:
                group.create_task(supervisor.run(stop), name="workers")
                if show is not None:
                    from orchestrator.cli.welcome import welcome

                    group.create_task(welcome(services, play_buyers_once=show.play_buyers), name="welcome")
                else:
                    print(f"crossrail listens on {services.settings.service.public_url}", flush=True)
                await stop.wait()
                print("crossrail: stopping", file=sys.stderr, flush=True)

    async def start(self, stack: AsyncExitStack) -> tuple[Services, Supervisor]:
        """Open everything and listen; ``stack`` closes it."""
        settings = self.settings
        if self.with_api and _is_sandbox(settings):
            simulators = bootstrap.simulators(settings, self.sandbox_url, settings.service.public_url)
            await _listen(stack, simulators, "127.0.0.1", settings.service.port + 1)
        services = await stack.enter_async_context(
            bootstrap.opened(settings, self.document, sandbox_url=self.sandbox_url, watched=self.watched)
        )
        await stack.enter_async_context(_address_marks(services))
        supervisor = Supervisor(
            workers(services) if self.with_workers else watchers(services), stop_deadline_s=SHUTDOWN_S
        )
        if self.with_api:
            await _listen(stack, root_app(services, supervisor), settings.service.host, settings.service.port)
        self._announce(stack, services)
        spare_the_collector()
        return services, supervisor

    def _announce(self, stack: AsyncExitStack, services: Services) -> None:
        """Leave a note for commands: a write goes through this process while it runs."""
        path = Path(self.settings.service.state_dir) / "service.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        note = {
            "pid": os.getpid(),
            "url": f"http://{self.settings.service.host}:{self.settings.service.port}",
            "database": self.settings.service.database,
            "admin_token": services.secrets.admin_token,
        }
        path.write_text(json.dumps(note), "utf-8")
        stack.callback(path.unlink, missing_ok=True)


def _address_marks(services: Services) -> AbstractAsyncContextManager[None]:
    """Keep the highest address index outside the database too; after a restore, skip what was issued since."""
    scopes = {
        (adapter.account.mode.value, adapter.family)
        for adapter in services.rails.values()
        if isinstance(adapter, ScansChain)
    }
    path = Path(services.settings.service.state_dir) / "address-marks.json"
    return HighWater(path, services.writer, services.reads).kept(scopes)


def root_app(services: Services, supervisor: Supervisor) -> web.Application:
    """Compose what this process serves: the API, the hosted page, the dashboard."""
    from orchestrator.api.app import build_app
    from orchestrator.api.system import database_check, migrations_check
    from orchestrator.web import app as pages

    async def workers_well() -> str | None:
        ill = [name for name, health in supervisor.alive().items() if not health.well]
        return f"not well: {', '.join(ill)}" if ill else None

    checks = {
        "database": database_check(services.reads),
        "migrations": migrations_check(services.settings.service.database),
        "workers": workers_well,
    }
    root = build_app(services, checks, ownership=services.ownership)
    pages.setup(root, services)
    return root


async def _listen(stack: AsyncExitStack, app: web.Application, host: str, port: int) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, port).start()


def _is_sandbox(settings: Settings) -> bool:
    return any(account.simulated for rail in settings.rails.values() for account in rail.accounts.values())


def _assert_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Failure(
                f"port {port} cannot be used ({error.strerror}): choose another with --port or PORT=", 2
            ) from None


def configure_logs() -> None:
    """Log facts as one line each on standard error; standard output belongs to answers."""
    quiet = os.environ.get("CROSSRAIL_LOG", "warning")
    levels = {"debug": 10, "info": 20, "warning": 30, "error": 40}
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(levels.get(quiet, 30)),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        processors=log_processors(),
        cache_logger_on_first_use=True,
    )


def log_processors() -> list[Any]:
    """What turns a fact into a line. A traceback shows code only: values of variables may be secrets, and take seconds to print."""
    from orchestrator.api.edge import with_request_id

    return [
        structlog.contextvars.merge_contextvars,
        with_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
