"""The whole proof of the books: ``check`` and every hash chain, against the heads that were anchored.

It reads every posting, so a service runs it as a process of its own (``python -m orchestrator.ledger.proof``): one JSON
object comes in on standard input, ``{database, now_us, anchored}``, one goes out, the proof.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Event, table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.chain import ChainReport
from orchestrator.ledger.check import Report, check
from orchestrator.ledger.rebuild import verify

PROVEN: Final = "ledger.proven"
ALARM: Final = "ledger.alarm"
PLATFORM_BOOK: Final = ("platform", "live")
"""Whose events tell of proofs."""
FINDINGS_TOLD_MAX: Final = 20
NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class Proof:
    books: Report
    chain: ChainReport

    @property
    def ok(self) -> bool:
        return self.books.ok and self.chain.ok

    def to_json(self) -> dict[str, Any]:
        """Return it as an event tells it: the first findings only."""
        return {
            "ok": self.ok,
            "entries": self.books.entries,
            "postings": self.books.postings,
            "accounts": self.books.accounts,
            "seals": self.chain.seals,
            "findings_count": len(self.books.findings) + len(self.chain.findings),
            "findings": [*self.chain.findings, *self.books.findings][:FINDINGS_TOLD_MAX],
        }


async def prove(reads: Reads, now_us: int, anchored: Sequence[str]) -> Proof:
    """Prove every book. It may run while the service writes."""
    return Proof(await check(reads), await verify(reads, now_us, anchored))


async def last_proof(reads: Reads) -> Row | None:
    """Return the event of the newest proof, whatever it said; None: nobody has proven anything yet."""
    table = table_of(Event)
    merchant_id, mode = PLATFORM_BOOK
    query = select(table).where(
        table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.type.in_((PROVEN, ALARM))
    )
    return await reads.one(query.order_by(table.c.sequence.desc()).limit(1))


async def _main() -> None:
    asked = orjson.loads(sys.stdin.buffer.read())
    reads = Reads(asked["database"])
    try:
        proof = await prove(reads, asked["now_us"], asked["anchored"])
    finally:
        await reads.close()
    sys.stdout.buffer.write(orjson.dumps(proof.to_json()))


if __name__ == "__main__":
    os.nice(NICENESS)
    asyncio.run(_main())
