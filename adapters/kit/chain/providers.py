"""Several nodes of one chain: who is asked, in which order, and who is left alone.

The node that answered last is asked first, so that a block is read from one node; after it those that keep up with the
best head, then those that lag, then those whose breaker is open (when nobody else is left, trying costs nothing). A node
that stands still answers all the same, so the heads of all are compared every few seconds. Each node is asked for its chain
id before it is used: a wrong second address would scan another chain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from prometheus_client import Gauge

from adapters.base import ChainScanFailed
from adapters.kit.chain.budget import Breaker
from adapters.kit.chain.rpc import NodeBusy, NodeRpc

T = TypeVar("T")
HEADS_EVERY_S: Final = 15.0
HEADS_S_MAX: Final = 2.0
"""Longer than this nobody waits for the head of a node that is not needed now."""
LAG_BLOCKS_MIN: Final = 10
LAG_S_MAX: Final = 30.0
"""By so many seconds' blocks, but no fewer than ``LAG_BLOCKS_MIN``, a node may be behind the best head."""

_head = Gauge("crossrail_node_head", "The newest block that a node showed", ["node"])
_up = Gauge("crossrail_node_up", "1 while the node's breaker is closed", ["node"])


class NoNodeAnswered(ChainScanFailed):
    """Several nodes were asked, and none gave an answer."""

    def __init__(self, failures: Sequence[ChainScanFailed]) -> None:
        super().__init__("; ".join(map(str, failures)))
        self.failures = tuple(failures)


@dataclass(slots=True)
class Provider:
    node: NodeRpc
    breaker: Breaker = field(default_factory=Breaker)
    head: int = 0
    """The newest block that it showed."""


class Providers:
    """The nodes of one chain."""

    def __init__(
        self,
        chain_id: int,
        nodes: Sequence[NodeRpc],
        lag_blocks_max: int = LAG_BLOCKS_MIN,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain_id = chain_id
        self._lag_blocks_max = lag_blocks_max
        self._now = now
        self._all = [Provider(node) for node in nodes]
        self._preferred = self._all[0]
        self._compared_at: float | None = None

    @property
    def nodes(self) -> tuple[NodeRpc, ...]:
        return tuple(provider.node for provider in self._all)

    @property
    def preferred(self) -> NodeRpc:
        """The node that answered last."""
        return self._preferred.node

    def saw_head(self, node: NodeRpc, number: int) -> None:
        """Remember how far a node is: one that lags behind the best is asked after the others."""
        self._of(node).head = number
        _head.labels(node.name).set(number)

    async def compare_heads(self, read_head: Callable[[NodeRpc], Awaitable[int]]) -> None:
        """Ask every node whose breaker is closed how far it is, where that is long ago. What one does not say is no news."""
        if len(self._all) == 1 or (self._compared_at is not None and self._now() < self._compared_at + HEADS_EVERY_S):
            return
        self._compared_at = self._now()
        async with asyncio.TaskGroup() as tasks:
            for provider in self._all:
                if not provider.breaker.is_open:
                    tasks.create_task(self._compare(provider, read_head))

    async def _compare(self, provider: Provider, read_head: Callable[[NodeRpc], Awaitable[int]]) -> None:
        try:
            async with asyncio.timeout(HEADS_S_MAX):
                self.saw_head(provider.node, await self.ask_one(provider.node, read_head))
        except TimeoutError:
            provider.breaker.failed()
        except ChainScanFailed:
            return

    def doubt_head(self, node: NodeRpc, number: int) -> bool:
        """Say whether a node that shows no block ``number`` named a head that has it, and others can be asked instead.

        What it said of its head then counts no more, so that it does not make the others look late.
        """
        provider = self._of(node)
        if len(self._all) == 1 or provider.head < number:
            return False
        provider.head = 0
        return True

    def others(self, node: NodeRpc) -> list[NodeRpc]:
        """Return the other nodes in the order in which they should be asked."""
        return [provider.node for provider in self._in_order() if provider.node is not node]

    async def ask(self, read: Callable[[NodeRpc], Awaitable[T]]) -> T:
        """Ask one node after the other. Raises ChainScanFailed with every node's reason."""
        failures: list[ChainScanFailed] = []
        for provider in self._in_order():
            try:
                answer = await self.ask_one(provider.node, read)
            except ChainScanFailed as failed:
                failures.append(failed)
            else:
                self._preferred = provider
                return answer
        if len(failures) == 1:
            raise failures[0]
        raise NoNodeAnswered(failures)

    async def ask_one(self, node: NodeRpc, read: Callable[[NodeRpc], Awaitable[T]]) -> T:
        """Ask one node, and learn from how it went. Raises ChainScanFailed."""
        provider = self._of(node)
        try:
            await node.ensure_chain(self._chain_id)
            answer = await read(node)
        except NodeBusy as busy:
            provider.breaker.pause(busy.retry_after_s)
            _up.labels(node.name).set(0)
            raise
        except ChainScanFailed:
            provider.breaker.failed()
            _up.labels(node.name).set(0 if provider.breaker.is_open else 1)
            raise
        provider.breaker.succeeded()
        _up.labels(node.name).set(1)
        return answer

    def _of(self, node: NodeRpc) -> Provider:
        return next(provider for provider in self._all if provider.node is node)

    def _in_order(self) -> list[Provider]:
        best = max(provider.head for provider in self._all)

        def rank(provider: Provider) -> tuple[bool, bool, bool]:
            lags = best - provider.head > self._lag_blocks_max
            return provider.breaker.is_open, lags, provider is not self._preferred

        return sorted(self._all, key=rank)
