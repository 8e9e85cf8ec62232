"""Heads of the hash chains, kept where no writer of the database reaches: a log line, an append-only file, an event.

Whoever can rewrite the whole database can make a chain that holds. It cannot have the hashes that were told before: the
file belongs on another disk or is shipped away with the logs, and the event goes to the merchant.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import orjson
import structlog
from sqlalchemy import select

from orchestrator.clock import Clock, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Shard, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer

FILE_NAME: Final = "ledger-heads.ndjson"
Book: TypeAlias = tuple[str, str]
"""Merchant and mode."""

_log = structlog.get_logger("anchors")


class AnchorFile:
    """One JSON object a line: at, database, merchant_id, mode, number, hash. Only ever appended to, and synced."""

    def __init__(self, path: Path, database_url: str) -> None:
        self._path = path
        self._database = hashlib.sha256(database_url.encode()).hexdigest()[:12]
        """Anchors of another database in the same folder are left alone."""

    def read(self) -> list[dict[str, Any]]:
        """Return the anchors of this database, oldest first; a line that a crash cut short is left out."""
        if not self._path.exists():
            return []
        found = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                anchor = orjson.loads(line)
            except orjson.JSONDecodeError:
                _log.warning("anchor_unreadable", file=self._path.name, line=number)
                continue
            if anchor["database"] == self._database:
                found.append(anchor)
        return found

    def append(self, at: str, rows: list[Row]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            common = {"at": at, "database": self._database}
            lines = (orjson.dumps({**common, **_shown(row)}, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
            end = b"\n" if self._is_cut_short() else b""  # else the first of these lines would be lost with that one
            os.write(handle, end + b"".join(lines))
            os.fsync(handle)
        finally:
            os.close(handle)

    def _is_cut_short(self) -> bool:
        with self._path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            return file.read() not in {b"", b"\n"}


class Anchors:
    """Looks for chains that have grown, and tells their heads."""

    def __init__(self, writer: Writer, reads: Reads, clock: Clock, file: AnchorFile, every_seals: int) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._file = file
        self._every_seals = every_seals
        self._told: dict[Book, int] | None = None

    async def run_once(self, *, grown_by: int | None = None) -> int:
        """Anchor each chain that has grown by so many links (default: the configured number); return how many."""
        if self._told is None:
            anchors = await asyncio.to_thread(self._file.read)
            self._told = {(anchor["merchant_id"], anchor["mode"]): anchor["number"] for anchor in anchors}
        least = self._every_seals if grown_by is None else grown_by
        shard = table_of(Shard)
        names = ("merchant_id", "mode", "seal_number", "seal_hash")
        query = select(*(shard.c[name] for name in names)).where(shard.c.seal_number >= least)
        grown = [
            row
            for row in await self._reads.all(query.order_by(shard.c.merchant_id, shard.c.mode))
            if row["seal_number"] - self._told.get((row["merchant_id"], row["mode"]), 0) >= least
        ]
        if not grown:
            return 0
        await asyncio.to_thread(self._file.append, rfc3339(self._clock.now_us()), grown)
        for row in grown:
            self._told[row["merchant_id"], row["mode"]] = row["seal_number"]
            _log.warning("ledger_anchored", **_shown(row))  # a warning, so that it stands in every log
        await asyncio.gather(*(self._writer.submit(_told_event(row)) for row in grown))
        return len(grown)

    async def hashes(self) -> list[str]:
        """Return every hash that was anchored: the chain must have them all."""
        return [anchor["hash"] for anchor in await asyncio.to_thread(self._file.read)]


def _told_event(row: Row) -> Unit:
    """Tell the merchant the head of its chain, once for each link."""

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.emit("ledger.anchored", row["merchant_id"], orjson.dumps(_shown(row)).decode())
        return {}

    return Unit(row["merchant_id"], row["mode"], f"anchor:{row['seal_number']}", (), decide)


def _shown(row: Row) -> dict[str, Any]:
    return {
        "merchant_id": row["merchant_id"],
        "mode": row["mode"],
        "number": row["seal_number"],
        "hash": row["seal_hash"],
    }
