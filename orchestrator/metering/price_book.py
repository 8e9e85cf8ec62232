"""Price books: immutable versions in the database, compiled ones in memory.

A merchant's version may take models over from one version of the platform's base book, named for ever, so that a merchant's
prices never change behind its back. A merchant without any version sells at the base book's prices.

Which version holds for an event is decided by its ``at``: the one in force then. A version never begins in the past (but
for the first of a book). Another process sees a new version within ``LOOK_EVERY_S``; so that no process rates with the one
before it, a version begins ``LEAD_S`` after it was written where several processes may write (PostgreSQL).
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select

from orchestrator.clock import Clock, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import PriceVersion, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy, Invalid, NotFound
from orchestrator.ids import new_id
from orchestrator.metering.price_content import Content, digest, stored
from orchestrator.metering.rating import Rates

PLATFORM: Final = "platform"
BASE_MODE: Final = "live"
"""The base book is one for both modes."""
LOOK_EVERY_S: Final = 2.0
LEAD_S: Final = 5
TRIES_MAX: Final = 8

_UNASKED: Final = -1.0


@dataclass(slots=True)
class Version:
    """One version, compiled model by model as they are used."""

    id: str
    number: int
    merchant_id: str
    mode: str
    content: Content
    base: Version | None
    hash: str
    author: str
    note: str
    effective_us: int
    created_us: int
    _rates: dict[str, Rates | None] = field(default_factory=dict)

    def rates(self, model: str) -> Rates | None:
        """Return what a model costs; None: not in this book nor in its base."""
        try:
            return self._rates[model]
        except KeyError:
            found = self.content.rates(model, self.base.content if self.base else None)
            if found is not None:  # names that nobody knows are not kept: a caller could fill the memory with them
                self._rates[model] = found
            return found

    def shown(self) -> dict[str, Any]:
        """Return it as the API shows it, without its models."""
        return {
            "id": self.id,
            "number": self.number,
            "base": self.base.id if self.base else None,
            "markup_bps": self.content.markup_bps,
            "markups": dict(self.content.markups),
            "author": self.author,
            "note": self.note,
            "effective_from": rfc3339(self.effective_us),
            "created_at": rfc3339(self.created_us),
        }


class Book:
    """The versions of one merchant and mode, and those of the base book, by when they begin."""

    __slots__ = ("_begins", "_versions", "asked_s", "base", "versions")

    def __init__(self, base: Book | None) -> None:
        self.versions: dict[int, Version] = {}
        self.base = base
        self.asked_s = _UNASKED
        self._begins: list[int] = []
        self._versions: list[Version] = []

    def add(self, version: Version) -> None:
        self.versions[version.number] = version
        order = sorted(self.versions.values(), key=lambda one: (one.effective_us, one.number))
        self._begins = [one.effective_us for one in order]
        self._versions = order

    @property
    def last_number(self) -> int:
        return max(self.versions, default=0)

    @property
    def latest(self) -> Version | None:
        return self.versions[self.last_number] if self.versions else None

    def in_force(self, at_us: int) -> Version | None:
        """Return the version that holds at a time; the base book's where the merchant had none yet."""
        place = bisect_right(self._begins, at_us)
        if place:
            return self._versions[place - 1]
        return self.base.in_force(at_us) if self.base else None

    def named(self, version_id: str) -> Version | None:
        found = next((one for one in self._versions if one.id == version_id), None)
        return found or (self.base.named(version_id) if self.base else None)


@dataclass(frozen=True, slots=True)
class NewVersion:
    """What somebody wants to be the next version."""

    content: Content
    base: str | None
    """Id of a version of the base book; ``latest``: the one in force when this one begins; None: no base."""
    effective_us: int | None
    author: str
    note: str = ""


class PriceBook:
    """Finds and makes versions."""

    def __init__(
        self,
        writer: Writer,
        reads: Reads,
        clock: Clock,
        *,
        lead_s: int = LEAD_S,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._lead_us = lead_s * 1_000_000
        self._monotonic_s = monotonic_s
        self._base = Book(None)
        self._books: dict[tuple[str, str], Book] = {(PLATFORM, BASE_MODE): self._base}

    async def book(self, merchant_id: str, mode: str, *, fresh: bool = False) -> Book:
        """Return a merchant's versions, as of ``LOOK_EVERY_S`` ago at most (``fresh``: of now)."""
        key = (merchant_id, BASE_MODE if merchant_id == PLATFORM else mode)
        book = self._books.get(key)
        now_s = self._monotonic_s()
        if book is not None and book.asked_s != _UNASKED and not fresh and now_s - book.asked_s < LOOK_EVERY_S:
            return book
        if book is None:
            book = Book(self._base)
            self._books[key] = book
        asked_s = book.asked_s
        if asked_s != _UNASKED and not fresh:
            book.asked_s = now_s  # one asks; the many beside it go on with what is known meanwhile
        try:
            await self._load(self._base, PLATFORM, BASE_MODE)
            if book is not self._base:
                await self._load(book, *key)
        except BaseException:
            book.asked_s = asked_s
            raise
        book.asked_s = self._base.asked_s = now_s
        return book

    async def _load(self, book: Book, merchant_id: str, mode: str) -> None:
        """Read the versions that are new. Old ones never change."""
        table = table_of(PriceVersion)
        rows = await self._reads.all(
            select(table)
            .where(table.c.merchant_id == merchant_id, table.c.mode == mode, table.c.number > book.last_number)
            .order_by(table.c.number)
        )
        for row in rows:
            if row["number"] not in book.versions:  # another request may have read it meanwhile
                book.add(self._version(row))

    def _version(self, row: Row) -> Version:
        base = None if row["base_version"] is None else self._base.named(row["base_version"])
        if row["base_version"] is not None and base is None:
            raise AssertionError(f"price version {row['id']} stands on {row['base_version']}, which is not there")
        return Version(
            row["id"], row["number"], row["merchant_id"], row["mode"], stored(row["body"], row["markup_bps"]), base,
            row["hash"], row["author"], row["note"], row["effective_us"], row["created_us"],
        )  # fmt: skip

    async def version(self, merchant_id: str, mode: str, name: str) -> Version:
        """Return a version by its id or number. Raises NotFound."""
        book = await self.book(merchant_id, mode, fresh=True)
        found = book.versions.get(int(name)) if name.isdecimal() and len(name) < 10 else book.named(name)
        if found is None:
            raise NotFound("price_version_not_found", f"there is no price version {name}")
        return found

    async def put(self, merchant_id: str, mode: str, wanted: NewVersion) -> tuple[Version, bool]:
        """Make the next version, or return the last one where it says the same (and False). Raises Invalid, NotFound."""
        mode = BASE_MODE if merchant_id == PLATFORM else mode
        for _ in range(TRIES_MAX):
            self._forget(merchant_id, mode)
            book = await self.book(merchant_id, mode)
            row = self._row(book, merchant_id, mode, wanted)
            latest = book.latest
            if latest is not None and latest.hash == row["hash"] and wanted.effective_us in {None, latest.effective_us}:
                return latest, False
            key = (merchant_id, mode, row["number"])

            def decide(view: View, changes: Changes, row: Row = row, key: tuple[Any, ...] = key) -> Mapping[str, Any]:
                if view.one("price_version", *key) is not None:
                    return {"made": False}
                changes.insert("price_version", **row)
                return {"made": True}

            unit = Unit(merchant_id, mode, None, (row_lock("price_version", *key),), decide)
            if (await self._writer.submit(unit)).answer["made"]:
                self._forget(merchant_id, mode)
                return (await self.book(merchant_id, mode)).versions[row["number"]], True
        raise Busy("prices_are_changing", "somebody else makes versions of this book just now: try again")

    def _forget(self, merchant_id: str, mode: str) -> None:
        """Ask the database at the next look."""
        book = self._books.get((merchant_id, mode))
        if book is not None:
            book.asked_s = _UNASKED

    def _row(self, book: Book, merchant_id: str, mode: str, wanted: NewVersion) -> Row:
        now_us = self._clock.now_us()
        first = not book.versions
        effective_us = wanted.effective_us
        if effective_us is None:
            # Where nothing was priced before, another process asks again before it calls a model unknown.
            nothing_before = first and (book.base is None or book.base.in_force(now_us) is None)
            effective_us = now_us if nothing_before else now_us + self._lead_us
        elif effective_us < now_us and not first:
            raise Invalid("effective_from_is_past", "a version begins now or later: what was used is priced again with "
                          "crossrail prices rerate", pointer="/effective_from")  # fmt: skip
        base = self._base_of(merchant_id, wanted.base, effective_us)
        return {
            "merchant_id": merchant_id, "mode": mode, "number": book.last_number + 1, "id": new_id("prv"),
            "base_version": base, "markup_bps": wanted.content.markup_bps, "body": wanted.content.body(),
            "hash": digest(wanted.content, base), "author": wanted.author, "note": wanted.note,
            "effective_us": effective_us, "created_us": now_us,
        }  # fmt: skip

    def _base_of(self, merchant_id: str, wanted: str | None, at_us: int) -> str | None:
        if merchant_id == PLATFORM or wanted is None:
            return None
        found = self._base.in_force(at_us) if wanted == "latest" else self._base.named(wanted)
        if found is None and wanted != "latest":
            raise Invalid("base_version_unknown", f"the base book has no version {wanted}", pointer="/base")
        return None if found is None else found.id
