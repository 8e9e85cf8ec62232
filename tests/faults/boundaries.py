"""Every place between two statements where a process that moves money out can die: database, signer, node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from adapters.kit.chain.evm_sender import EvmSender
from orchestrator.database.writer import Writer
from orchestrator.signer.client import SignerClient

STATEMENTS: tuple[tuple[type, str], ...] = ((Writer, "submit"), (SignerClient, "sign"), (EvmSender, "send"))


@dataclass
class Fuse:
    """Burns down by one before and after every statement; calls ``die`` at the end."""

    left: int
    die: Callable[[], None]

    def step(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.die()


@contextmanager
def burning(fuse: Fuse) -> Iterator[None]:
    """Let a fuse burn at every statement."""
    kept = [(owner, name, getattr(owner, name)) for owner, name in STATEMENTS]
    try:
        for owner, name, statement in kept:
            setattr(owner, name, _watched(statement, fuse))
        yield
    finally:
        for owner, name, statement in kept:
            setattr(owner, name, statement)


def _watched(statement: Callable[..., Awaitable[Any]], fuse: Fuse) -> Callable[..., Awaitable[Any]]:
    async def watched(*given: Any, **named: Any) -> Any:
        fuse.step()
        answer = await statement(*given, **named)
        fuse.step()
        return answer

    return watched
