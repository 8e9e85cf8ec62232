"""The highest address index ever issued, kept outside the database too (money rule 19).

A database that was restored from a backup does not know the addresses that were issued after it, and would give them to
other customers. So a file beside it says how far indexes are reserved: always some ahead of the database, written before
they are used. When a process starts after anything but a clean end, or finds fewer addresses than were issued at the last
look, the counters skip to the end of what was reserved. A skipped index costs nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.database.reads import Reads
from orchestrator.database.tables import AddressCounter, table_of
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.database.writer import Writer

AHEAD: Final = 20_000
"""Indexes reserved beyond those issued: more than can be derived between two looks."""
LOOK_EVERY_S: Final = 0.5
Scope = tuple[str, str]
"""Mode and family of chains."""
_log = structlog.get_logger("addresses")


class MarkUnreadable(Exception):
    """The file of reserved address indexes is damaged: a person must restore it before an address is issued."""


@dataclass(frozen=True, slots=True)
class Mark:
    issued: int
    """Addresses that the database knew at the last look."""
    reserved: int
    """No index below this is free after a restore."""


@dataclass(slots=True)
class HighWater:
    """Keeps the marks of one process's database in one file."""

    path: Path
    writer: Writer
    reads: Reads
    marks: dict[Scope, Mark] = field(default_factory=dict)

    @asynccontextmanager
    async def kept(self, scopes: Collection[Scope]) -> AsyncIterator[None]:
        """Check and skip, then keep the file ahead until the block ends. Raises MarkUnreadable."""
        await self.open(scopes)
        task = asyncio.create_task(self._keep(), name="address marks")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.look()
            self._write(clean=True)

    async def open(self, scopes: Collection[Scope]) -> None:
        """Compare the file with the database, skip where it must be, and reserve ahead."""
        clean, kept = self._read()
        for scope in scopes:
            counter = await self._counter(scope)
            mark = kept.get(scope)
            if mark is not None and (not clean or counter < mark.issued) and mark.reserved > counter:
                if counter < mark.issued:
                    _log.error("addresses_were_lost", scope=scope, known=counter, issued=mark.issued)
                await self._skip(scope, mark.reserved)
                counter = mark.reserved
            self.marks[scope] = Mark(counter, counter + AHEAD)
        self._write(clean=False)

    async def look(self) -> bool:
        """Reserve further ahead where half of it was used; say whether the file was written."""
        moved = False
        for scope, mark in list(self.marks.items()):
            counter = await self._counter(scope)
            if counter != mark.issued:
                reserved = counter + AHEAD if mark.reserved - counter < AHEAD // 2 else mark.reserved
                self.marks[scope] = Mark(counter, reserved)
                moved = True
        if moved:
            self._write(clean=False)
        return moved

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                async with asyncio.timeout(30):
                    await self.look()
            except (OSError, TimeoutError, SQLAlchemyError) as error:
                _log.error("address_marks_not_kept", error=repr(error)[:200])

    async def _counter(self, scope: Scope) -> int:
        table = table_of(AddressCounter)
        row = await self.reads.one(select(table).where(table.c.mode == scope[0], table.c.family == scope[1]))
        return 0 if row is None else int(row["next_index"])

    async def _skip(self, scope: Scope, to: int) -> None:
        def decide(view: View, changes: Changes) -> dict[str, Any]:
            row = view.one("address_counter", *scope)
            if row is None:
                changes.insert("address_counter", mode=scope[0], family=scope[1], next_index=to)
            elif row["next_index"] < to:
                changes.update("address_counter", scope, next_index=to)
            return {}

        await self.writer.submit(Unit("platform", scope[0], None, (row_lock("address_counter", *scope),), decide))
        _log.warning("addresses_skipped", scope=scope, to=to)

    def _read(self) -> tuple[bool, dict[Scope, Mark]]:
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return True, {}
        try:
            told = orjson.loads(raw)
            marks = {
                (one["mode"], one["family"]): Mark(int(one["issued"]), int(one["reserved"])) for one in told["marks"]
            }
            return bool(told["clean"]), marks
        except (ValueError, KeyError, TypeError):
            raise MarkUnreadable(f"{self.path} is damaged: it says which address indexes were issued") from None

    def _write(self, *, clean: bool) -> None:
        marks = [
            {"mode": mode, "family": family, "issued": mark.issued, "reserved": mark.reserved}
            for (mode, family), mark in sorted(self.marks.items())
        ]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(orjson.dumps({"clean": clean, "marks": marks}, option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
