"""Compares what lies on our addresses with what the books know of: a transfer that no log showed is found here.

``issue`` and ``destroyBlackFunds`` of USDT emit no Transfer, a node may have hidden one, a bug may have lost one. Every
address is looked at in turn, a batch at a time. Blocks go on while balances are read, so a difference counts only when the
next look at the same address finds the same one; then it is a review item of the platform. No money moves by it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from prometheus_client import Counter
from sqlalchemy import select, text

from adapters.base import ChainScanFailed, ChainToken, RailAdapter, ScansChain
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ChainTransaction, Deposit, DepositAddress, Review, StrayTransfer, table_of
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.sightings import Network

PLATFORM: Final = "platform"
BATCH: Final = 200
ROUND_TIMEOUT_S: Final = 120
REASON: Final = "address_balance_differs"
_log = structlog.get_logger("balances")
_compared = Counter("crossrail_addresses_compared", "Addresses whose balance was held against the books", ["network"])


@dataclass(frozen=True, slots=True)
class Difference:
    """``found`` lies there, ``known`` is what the books say; both raw."""

    address: bytes
    token: ChainToken
    found: int
    known: int

    @property
    def raw(self) -> int:
        return self.found - self.known


@dataclass(slots=True)
class ChainBalances:
    """Goes round the addresses of one chain."""

    adapter: RailAdapter
    scanner: ScansChain
    writer: Writer
    reads: Reads
    batch: int = BATCH
    _next_index: int = 0
    _suspects: dict[tuple[bytes, bytes], int] = field(default_factory=dict)

    async def run_once(self) -> list[Difference]:
        """Look at the suspects of the last time and at the next batch; return what is certain now.

        Raises ChainScanFailed.
        """
        network = Network.of(self.adapter.account, self.scanner)
        addresses = await self._next(network)
        suspected = {address for address, _ in self._suspects}
        certain: list[Difference] = []
        for token in self.scanner.tokens:
            for difference in await self._compare(network, token, sorted({*addresses, *suspected})):
                key = (difference.address, token.contract)
                if self._suspects.get(key) == difference.raw:
                    certain.append(difference)
                    del self._suspects[key]
                    await self.tell(network, difference)
                else:
                    self._suspects[key] = difference.raw
        _compared.labels(network.name).inc(len(addresses))
        return certain

    async def look(self) -> None:
        """Do one round for a worker: nodes that do not answer are asked again next time."""
        try:
            async with asyncio.timeout(ROUND_TIMEOUT_S):
                await self.run_once()
        except (ChainScanFailed, TimeoutError) as error:
            _log.warning("balances_not_read", chain=self.scanner.chain, error=repr(error)[:200])

    async def _next(self, network: Network) -> list[bytes]:
        table = table_of(DepositAddress)
        rows = await self.reads.all(
            select(table.c.address, table.c.address_index)
            .where(
                table.c.mode == network.account.mode.value,
                table.c.family == network.family,
                table.c.address_index >= self._next_index,
            )
            .order_by(table.c.address_index)
            .limit(self.batch)
        )
        self._next_index = rows[-1]["address_index"] + 1 if len(rows) == self.batch else 0
        return [bytes(row["address"]) for row in rows]

    async def _compare(self, network: Network, token: ChainToken, addresses: Sequence[bytes]) -> list[Difference]:
        if not addresses:
            return []
        found = await self.scanner.balances(token, addresses)
        known, moving = await self.known(network, token, addresses)
        differences = []
        for address, there in zip(addresses, found, strict=True):
            if address in moving:
                continue  # a transaction of ours is on its way: nobody can say now
            if there == known[address]:
                self._suspects.pop((address, token.contract), None)
            else:
                differences.append(Difference(address, token, there, known[address]))
        return differences

    async def known(
        self, network: Network, token: ChainToken, addresses: Sequence[bytes], until: int | None = None
    ) -> tuple[dict[bytes, int], set[bytes]]:
        """Return what came (``until`` a block), less what we sent; and the addresses that a transaction of ours is leaving."""
        known: dict[bytes, int] = defaultdict(int)
        deposit, stray, ours = table_of(Deposit), table_of(StrayTransfer), table_of(ChainTransaction)
        arrived = select(deposit.c.recipient, deposit.c.raw_value).where(
            deposit.c.network == network.name, deposit.c.asset == str(token.asset), deposit.c.status != "orphaned",
            deposit.c.fallen_us.is_(None), deposit.c.recipient.in_(addresses),
        )  # fmt: skip
        strayed = select(stray.c.recipient, stray.c.raw_value).where(
            stray.c.network == network.name, stray.c.contract == token.contract, stray.c.recipient.in_(addresses),
            stray.c.status.not_in(("orphaned", "credited")),
        )  # fmt: skip
        if until is not None:
            arrived, strayed = (
                arrived.where(deposit.c.block_number <= until),
                strayed.where(stray.c.block_number <= until),
            )
        for query in (arrived, strayed):
            for row in await self.reads.all(query):
                known[bytes(row["recipient"])] += int(row["raw_value"])
        moving: set[bytes] = set()
        sent = select(ours.c.sender, ours.c.raw_value, ours.c.status).where(
            ours.c.network == network.name, ours.c.contract == token.contract, ours.c.sender.in_(addresses),
            ours.c.status.in_(("signed", "sent", "final")), text("status <> 'void'"),  # the words of the index by sender
        )  # fmt: skip
        for row in await self.reads.all(sent):
            if row["status"] == "final":
                known[bytes(row["sender"])] -= int(row["raw_value"])
            else:
                moving.add(bytes(row["sender"]))
        return known, moving

    async def tell(self, network: Network, difference: Difference) -> None:
        """Open a review item, unless one about this address is open."""
        shown = self.scanner.show_address(difference.address)
        subject = f"{network.chain}:{difference.token.asset.code}:{shown}"
        evidence: dict[str, Any] = {"found": str(difference.found), "known": str(difference.known), "address": shown}
        _log.error("address_balance_differs", network=network.name, subject=subject, **evidence)
        table = table_of(Review)
        open_one = select(table.c.id).where(
            table.c.merchant_id == PLATFORM, table.c.status == "open", table.c.reason == REASON,
            table.c.subject == subject,
        )  # fmt: skip
        if await self.reads.one(open_one.limit(1)) is not None:
            return
        mode = network.account.mode.value

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            ask_a_person(view, changes, PLATFORM, mode, reason=REASON, subject=subject, payment_id=None,
                         evidence=evidence)  # fmt: skip
            return {}

        await self.writer.submit(Unit(PLATFORM, mode, None, (), decide))
