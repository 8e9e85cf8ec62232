"""Runs a program as a process of its own: for tests that kill it, or that talk to it as a stranger does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS_MAX = 20
CROSSRAIL = Path(sys.executable).with_name("crossrail")
"""The project's own command."""


class ProcessFailed(Exception):
    """The process ended, or did not say what was waited for."""


@dataclass
class Process:
    """A running program. ``output`` holds every line that it printed so far, stderr among them."""

    child: asyncio.subprocess.Process
    output: list[str] = field(default_factory=list)
    read_whole: bool = False
    """It has ended, and everything that it printed is in ``output``."""
    _grew: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for_line(self, text: str, *, timeout_seconds: float = 30) -> str:
        """Return the first line that holds ``text``. Raises ProcessFailed with the output where it does not come."""
        try:
            async with asyncio.timeout(timeout_seconds), self._grew:
                while True:
                    for line in self.output:
                        if text in line:
                            return line
                    if self.read_whole:  # it may have ended before all that it said was read
                        raise ProcessFailed(self._report(f"ended with {self.child.returncode} before it said {text!r}"))
                    await self._grew.wait()
        except TimeoutError as late:
            raise ProcessFailed(self._report(f"did not say {text!r} within {timeout_seconds} s")) from late

    async def kill(self) -> None:
        """Do to it what a power cut does: SIGKILL, to its children too."""
        if self.child.returncode is None:
            os.killpg(self.child.pid, signal.SIGKILL)
        await asyncio.wait_for(self.child.wait(), STOP_SECONDS_MAX)

    async def stop(self) -> int:
        """Ask it to end, as Ctrl-C does, and return its exit code. Raises ProcessFailed where it stays."""
        if self.child.returncode is None:
            os.killpg(self.child.pid, signal.SIGINT)
        try:
            return await asyncio.wait_for(self.child.wait(), STOP_SECONDS_MAX)
        except TimeoutError as late:
            await self.kill()
            raise ProcessFailed(self._report(f"did not stop within {STOP_SECONDS_MAX} s")) from late

    async def read(self) -> None:
        assert self.child.stdout is not None
        async for line in self.child.stdout:
            async with self._grew:
                self.output.append(line.decode(errors="replace").rstrip("\n"))
                self._grew.notify_all()
        await self.child.wait()
        async with self._grew:
            self.read_whole = True
            self._grew.notify_all()

    def _report(self, what: str) -> str:
        return "\n".join([f"the process {what}; it printed:", *self.output[-40:]])


@asynccontextmanager
async def running(
    command: Sequence[str | Path], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> AsyncIterator[Process]:
    """Run a command, for example ``[CROSSRAIL, "serve"]``; whatever is left of it is killed at the end."""
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
        start_new_session=True,
    )
    process = Process(child)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(process.read())
        try:
            yield process
        finally:
            await process.kill()
