"""What was signed, in an SQLite file of the signer's own: limits per day, and never two transactions for one thing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.clock import DAY_US
from orchestrator.signer.judge import Asked, Purpose, Reading, Signed, Spent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS signed (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, chain TEXT NOT NULL, reference TEXT NOT NULL, sender BLOB NOT NULL,
    nonce INTEGER, expires_us INTEGER, purpose TEXT NOT NULL, contract BLOB NOT NULL, value TEXT NOT NULL,
    fee_max TEXT NOT NULL, unsigned BLOB NOT NULL, signed BLOB NOT NULL,
    UNIQUE (sender, unsigned)
) STRICT;
CREATE INDEX IF NOT EXISTS signed_reference ON signed (reference);
CREATE INDEX IF NOT EXISTS signed_nonce ON signed (chain, sender, nonce);
CREATE INDEX IF NOT EXISTS signed_day ON signed (chain, at_us);
"""


@dataclass(frozen=True, slots=True)
class Journal:
    """Open for the life of the process, which is the only writer (an exclusive lock keeps a second one out)."""

    connection: sqlite3.Connection

    @classmethod
    def open(cls, path: Path) -> Journal:
        """Raises sqlite3.Error where another signer has it."""
        path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=1, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.executescript(_SCHEMA)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("COMMIT")
        return cls(connection)

    def close(self) -> None:
        self.connection.close()

    def found(self, reading: Reading, asked: Asked) -> bytes | None:
        """Return the signed bytes of a transaction that was signed before, by this key for the same thing.

        Unsigned EVM bytes do not name their sender: two addresses may have the very same ones.
        """
        row = self.connection.execute(
            "SELECT signed FROM signed WHERE sender = ? AND unsigned = ? AND reference = ?",
            (asked.sender, reading.unsigned, asked.reference),
        ).fetchone()
        return None if row is None else bytes(row[0])

    def earlier(self, reading: Reading, asked: Asked) -> Sequence[Signed]:
        """Return what was signed for the same thing, or with the same nonce or bytes of this sender."""
        rows = self.connection.execute(
            "SELECT reference, chain, sender, nonce, expires_us, unsigned FROM signed"
            " WHERE reference = ? OR (chain = ? AND sender = ? AND nonce = ?) OR (sender = ? AND unsigned = ?)",
            (asked.reference, reading.chain, asked.sender, reading.nonce, asked.sender, reading.unsigned),
        )
        return [Signed(row[0], row[1], bytes(row[2]), row[3], row[4], bytes(row[5])) for row in rows]

    def spent(self, reading: Reading, purpose: Purpose, now_us: int) -> Spent:
        """Return what this UTC day has taken already. Sums are made here: raw units do not fit into 64 bits."""
        rows = self.connection.execute(
            "SELECT purpose, contract, value, fee_max FROM signed WHERE chain = ? AND at_us >= ?",
            (reading.chain, now_us - now_us % DAY_US),
        ).fetchall()
        kind = (purpose.value, reading.call.contract or b"")
        moved = sum(int(value) for name, contract, value, _ in rows if (name, bytes(contract)) == kind)
        return Spent(moved, sum(int(fee) for *_, fee in rows))

    def write(self, reading: Reading, asked: Asked, purpose: Purpose, signed: bytes, now_us: int) -> None:
        """Remember it: durable before anybody gets the bytes."""
        call = reading.call
        self.connection.execute(
            "INSERT INTO signed (at_us, chain, reference, sender, nonce, expires_us, purpose, contract, value, fee_max,"
            " unsigned, signed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (now_us, reading.chain, asked.reference, asked.sender, reading.nonce, reading.expires_us, purpose.value,
             call.contract or b"", str(call.raw_value), str(reading.fee_max), reading.unsigned, signed),
        )  # fmt: skip
