"""Requests that take too long are cut off: by one look a second, not by a timer each (which would cost 5 us a request)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final

LOOK_EVERY_S: Final = 1.0


class TookTooLong(Exception):
    """What ran inside a deadline was cancelled by it."""


class Deadlines:
    """Tasks that are at work, oldest first. For one event loop."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._began_s: dict[asyncio.Task[Any], float] = {}
        self._cut: set[asyncio.Task[Any]] = set()
        self._looking = False

    def begin(self, task: asyncio.Task[Any]) -> None:
        loop = task.get_loop()
        self._began_s[task] = loop.time()
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK_EVERY_S, self._look, loop)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """Say whether the task was cut off."""
        self._began_s.pop(task, None)
        if task not in self._cut:
            return False
        self._cut.discard(task)
        return True

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        latest_s = loop.time() - self._seconds()
        for task, began_s in list(self._began_s.items()):
            if began_s > latest_s:
                break  # what began later is not due either
            del self._began_s[task]
            self._cut.add(task)
            task.cancel()
        self._looking = bool(self._began_s)
        if self._looking:
            loop.call_later(LOOK_EVERY_S, self._look, loop)


class Deadline:
    """Cancel what runs inside once the seconds are over (one later at most), and raise TookTooLong then."""

    __slots__ = ("_all", "_task")

    def __init__(self, all_: Deadlines) -> None:
        self._all = all_

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "requests are served by tasks"
        self._task = task
        self._all.begin(task)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._all.end(self._task):
            return
        # As asyncio.timeout does: somebody else may have cancelled the task besides.
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TookTooLong from error
