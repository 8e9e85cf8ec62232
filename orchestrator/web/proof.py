"""What the dashboard says of the last proof of the books: nothing, or a banner that nobody can overlook."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.clock import from_us
from orchestrator.database.reads import Reads
from orchestrator.ledger.proof import ALARM, last_proof

STALE_US: Final = 36 * 3_600_000_000
"""A night was missed."""


@dataclass(frozen=True, slots=True)
class ProofState:
    """For the templates."""

    at: str
    """UTC; empty: never."""
    entries: int
    alarm: str
    """Empty: the books held, and not too long ago."""
    findings: list[str]

    @property
    def words(self) -> str:
        return f"{self.entries} entries proven" if self.at else "not proven yet"


async def proof_state(reads: Reads, now_us: int) -> ProofState:
    row = await last_proof(reads)
    if row is None:
        return ProofState("", 0, "", [])
    body: dict[str, Any] = orjson.loads(row["body"])
    at = from_us(row["created_us"]).strftime("%Y-%m-%d %H:%M")
    alarm = ""
    if row["type"] == ALARM:
        alarm = f"The books do not hold: the proof of {at} UTC has {body['findings_count']} findings"
    elif now_us - row["created_us"] > STALE_US:
        alarm = f"The books were last proven on {at} UTC: the nightly proof does not run"
    return ProofState(at, body["entries"], alarm, body["findings"])
