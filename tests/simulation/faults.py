"""What goes wrong, and when: drawn from the seed and the name of what is done, so that the order of tasks changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orchestrator.database.writer import Writer

STEP_S_MAX = 60.0


class Died(BaseException):
    """Our process ended here. Nothing of it goes on: every further boundary raises the same."""


@dataclass
class Faults:
    seed: int
    on: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    """What went wrong how often, for the report."""
    _times: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def of(self, what: str, name: str, **shares: float) -> str | None:
        """Return which fault befalls this call, or None."""
        self._times[what, name] += 1
        if not self.on:
            return None
        text = f"{self.seed}/{what}/{name}/{self._times[what, name]}"
        drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
        for fault, share in shares.items():
            if drawn < share:
                self.counts[f"{what}: {fault}"] += 1
                return fault
            drawn -= share
        return None


@dataclass
class Fuse:
    """Burns down by one at every boundary between our process and the world; at the end the process is dead."""

    left: int = 0
    """0: it does not burn."""
    dead: bool = False
    passed: list[str] = field(default_factory=list)
    """Boundaries by their names, for who wants to die at each of them."""
    died: asyncio.Event = field(default_factory=asyncio.Event)

    def step(self, name: str) -> None:
        if self.dead:
            raise Died
        self.passed.append(name)
        if self.left:
            self.left -= 1
            if not self.left:
                self.dead = True
                self.died.set()
                raise Died

    def mend(self) -> None:
        self.dead, self.left = False, 0
        self.died.clear()

    async def until_death(self, step: Awaitable[Any]) -> Any:
        """Do something as long as we live. Raises Died; what was under way in other tasks is gone as well."""
        doing, dying = asyncio.ensure_future(step), asyncio.ensure_future(self.died.wait())
        try:
            await asyncio.wait({doing, dying}, timeout=STEP_S_MAX, return_when=asyncio.FIRST_COMPLETED)
            if self.dead:
                raise Died
            assert doing.done(), "a step hangs"
            return doing.result()
        finally:
            for task in (doing, dying):
                task.cancel()
            await asyncio.gather(doing, dying, return_exceptions=True)


def watched(name: str, call: Callable[..., Awaitable[Any]], fuse: Fuse) -> Callable[..., Awaitable[Any]]:
    """Return a call at whose beginning and end the process may die."""

    async def stepping(*given: Any, **named: Any) -> Any:
        fuse.step(f"before {name}")
        answer = await call(*given, **named)
        fuse.step(f"after {name}")
        return answer

    return stepping


@contextmanager
def mortal(fuse: Fuse, calls: Iterable[tuple[type, str]]) -> Iterator[None]:
    """Let the process die before and after everything that it writes, and every call that leaves it."""
    kept = [(owner, name, getattr(owner, name)) for owner, name in ((Writer, "submit"), *calls)]
    try:
        for owner, name, call in kept:
            setattr(owner, name, watched(f"{owner.__name__}.{name}", call, fuse))
        yield
    finally:
        for owner, name, call in kept:
            setattr(owner, name, call)
