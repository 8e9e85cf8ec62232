"""Follows the hash chains of an export (``export.py``) and says in words where the first link of a book is broken. Pure.

It needs no database: whoever has an export and a head that was anchored elsewhere can prove the books. Beside the hashes
it does the sums again: every entry balances, every ``balance_after`` follows from the line before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from orchestrator.database.seal import LINE_COLUMNS, seal_hash
from orchestrator.ledger.export import ENTRY_FIELDS, FORMAT, SEAL_FIELDS, Record

LINK_ENTRIES_MAX: Final = 1_000_000
"""No flush writes as many; a seal that claims more would only fill the memory."""
_HEAD_FIELDS: Final = ("merchant_id", "mode", "entry_sequence", "seal_number", "seal_hash")
_TEXTS: Final = frozenset({"merchant_id", "mode", "seal_hash", "id", "kind", "fact", "previous_hash", "hash"})


@dataclass(slots=True)
class ChainReport:
    books: int = 0
    seals: int = 0
    entries: int = 0
    before_chain: int = 0
    """Entries that are older than the first link of their book."""
    findings: list[str] = field(default_factory=list)
    """The first broken link of each book, and heads that were not found."""
    heads: dict[str, str] = field(default_factory=dict)
    """The last hash of every book, by ``merchant mode``."""

    @property
    def ok(self) -> bool:
        return not self.findings

    def to_json(self) -> dict[str, Any]:
        names = ("ok", "books", "seals", "entries", "before_chain", "findings", "heads")
        return {name: getattr(self, name) for name in names}


class Malformed(Exception):
    """A record is not one of an export."""


class ChainWalk:
    """Takes the records of one export in their order. ``finish`` says what was found."""

    def __init__(self, anchored: Collection[str] = ()) -> None:
        self.report = ChainReport()
        self._missing = dict.fromkeys(anchored)
        self._book: _Book | None = None
        self._seen: set[str] = set()
        self._begun = self._ended = False

    def take(self, record: Record) -> None:
        """Follow one record. Raises Malformed."""
        if not isinstance(record, dict) or self._ended:
            raise Malformed("something stands after the end" if self._ended else "not a JSON object")
        kind = record.get("record")
        if (kind == "export") == self._begun:
            raise Malformed("an export begins with its record of that name, and has one")
        match kind:
            case "export":
                if record.get("format") != FORMAT:
                    raise Malformed(f"format {record.get('format')!r}, this program reads {FORMAT}")
                self._begun = True
            case "book":
                self._open(record)
            case "seal":
                self._counted("seals").seal(_checked(record, SEAL_FIELDS))
                self._missing.pop(record["hash"], None)
            case "entry":
                self._counted("entries").entry(_checked(record, ENTRY_FIELDS), _lines(record))
            case "end":
                self._end(record)
            case _:
                raise Malformed(f"unknown record {str(kind)[:40]!r}")

    def finish(self) -> ChainReport:
        """Return the report, once nothing follows."""
        if not self._ended:
            self._close()
            self.report.findings.append(
                "the export is cut off: it has no end record, so it proves nothing about the rest"
            )
        for head in self._missing:
            self.report.findings.append(
                f"no link has the anchored hash {head}: the chain is not the one that was anchored"
            )
        return self.report

    def _open(self, record: Record) -> None:
        self._close()
        head = _checked(record, _HEAD_FIELDS)
        self._book = _Book(head)
        if self._book.name in self._seen:
            raise Malformed(f"{self._book.name} comes twice")
        self._seen.add(self._book.name)
        self.report.books += 1

    def _counted(self, name: str) -> _Book:
        if self._book is None:
            raise Malformed("a seal or an entry stands before any book")
        setattr(self.report, name, getattr(self.report, name) + 1)
        return self._book

    def _close(self) -> None:
        if self._book is None:
            return
        self._book.end()
        self.report.before_chain += self._book.before_chain
        self.report.heads[self._book.name] = self._book.hash
        if self._book.broken is not None:
            self.report.findings.append(f"{self._book.name}: {self._book.broken}")
        self._book = None

    def _end(self, record: Record) -> None:
        self._close()
        self._ended = True
        said = {name: record.get(name) for name in ("books", "seals", "entries")}
        found = {name: getattr(self.report, name) for name in said}
        if said != found:
            self.report.findings.append(f"the export says that it holds {said}, it holds {found}")


class _Book:
    """One chain, link by link. Only the first thing that is wrong is kept: all after it may follow from it."""

    def __init__(self, head: Record) -> None:
        self.name = f"{head['merchant_id']} {head['mode']}"
        self.broken: str | None = None
        self.hash = ""
        self.before_chain = 0
        self._head = head
        self._link: Record | None = None
        self._number = 0
        self._sequence = 0
        self._covered: list[tuple[Record, Sequence[Mapping[str, Any]]]] = []
        self._odd: str | None = None
        """The first entry of this link whose sums are wrong: it names the culprit where a hash does not."""
        self._balances: dict[tuple[str, str, str], int] = {}

    def seal(self, seal: Record) -> None:
        self._close_link()
        number, first = seal["number"], seal["first_sequence"]
        if number != self._number + 1:
            self._break(f"link {self._number + 1} is missing: link {number} follows link {self._number}")
        elif seal["previous_hash"] != self.hash:
            self._break(f"link {number} follows the hash {_short(seal['previous_hash'])}, link {self._number} has "
                        f"{_short(self.hash)}")  # fmt: skip
        elif first != self._sequence + 1:
            self._break(f"link {number} begins at entry {first}, the entry before it is {self._sequence}")
        elif not 0 <= seal["last_sequence"] - first < LINK_ENTRIES_MAX:
            self._break(f"link {number} covers entries {first} to {seal['last_sequence']}, which cannot be")
        self._number, self.hash, self._link = number, seal["hash"], seal

    def entry(self, entry: Record, lines: Sequence[Mapping[str, Any]]) -> None:
        sequence = entry["sequence"]
        if sequence != self._sequence + 1:
            self._break(f"entry {self._sequence + 1} is missing: entry {sequence} follows entry {self._sequence}")
        self._sequence = sequence
        odd = self._sums(entry, lines)
        if self._link is not None and sequence <= self._link["last_sequence"]:
            self._odd = self._odd or odd
            if self.broken is None:
                merchant_id, mode = self._head["merchant_id"], self._head["mode"]
                self._covered.append(({**entry, "merchant_id": merchant_id, "mode": mode}, lines))
            return
        if odd is not None:
            self._break(odd)
        if self._number:
            self._close_link()
            self._break(f"entry {sequence} ({entry['id']}) is in no link: its seal is missing")
        self.before_chain += 1

    def end(self) -> None:
        self._close_link()
        head = self._head
        if self._sequence != head["entry_sequence"]:
            self._break(f"the last entry is {self._sequence}, the book's head says {head['entry_sequence']}")
        if (self._number, self.hash) != (head["seal_number"], head["seal_hash"]):
            self._break(f"the chain ends with link {self._number}, hash {_short(self.hash)}; the book's head says "
                        f"link {head['seal_number']}, hash {_short(head['seal_hash'])}")  # fmt: skip

    def _close_link(self) -> None:
        """Compare the hash of the link that was open, now that all its entries have come."""
        link, covered, odd = self._link, self._covered, self._odd
        self._link, self._covered, self._odd = None, [], None
        if link is None or self.broken is not None:
            return
        number, first, last = link["number"], link["first_sequence"], link["last_sequence"]
        if self._sequence < last:
            self._break(f"entry {self._sequence + 1} is missing: link {number} covers entries {first} to {last}")
            return
        found = seal_hash(link["previous_hash"], covered)
        if found != link["hash"]:
            where = f"entry {first}" if first == last else f"one of the entries {first} to {last}"
            ids = ", ".join(str(entry["id"]) for entry, _ in covered[:3])
            self._break(f"link {number}: {odd or f'{where} ({ids}) is not what was sealed'}; "
                        f"its hash is {_short(found)}, sealed was {_short(link['hash'])}")  # fmt: skip
        elif odd is not None:
            self._break(f"link {number} is whole, but {odd}")

    def _sums(self, entry: Record, lines: Sequence[Mapping[str, Any]]) -> str | None:
        sums: dict[str, int] = {}
        odd: str | None = None
        name = f"entry {entry['sequence']} ({entry['id']}, {entry['kind']} of {entry['fact']})"
        for line in lines:
            account = (line["code"], line["subject"], line["asset"])
            sums[line["asset"]] = sums.get(line["asset"], 0) + line["units"]
            expected = self._balances.get(account, 0) + line["units"]
            if line["balance_after"] != expected:
                odd = odd or (f"{name} line {line['line']}: {line['code']} {line['subject']} is {line['balance_after']} "
                              f"after it, its units make it {expected}")  # fmt: skip
            self._balances[account] = line["balance_after"]
        if any(sums.values()) or not lines:
            return f"{name} does not sum to zero: {sums}"
        return odd

    def _break(self, text: str) -> None:
        self.broken = self.broken or text


def _checked(record: Record, names: Sequence[str]) -> Record:
    """Return the record where every field is there and of its type. Raises Malformed."""
    for name in names:
        value = record.get(name)
        if name == "payment_id":
            fine = name in record and (value is None or type(value) is str)
        else:
            fine = type(value) is (str if name in _TEXTS else int)
        if not fine:
            raise Malformed(f"{record['record']}: {name} is {str(value)[:40]!r}")
    return record


def _lines(record: Record) -> list[Mapping[str, Any]]:
    lines = record.get("lines")
    if not isinstance(lines, list):
        raise Malformed("entry: lines are missing")
    found: list[Mapping[str, Any]] = []
    for line in lines:
        kinds = [type(part) for part in line] if isinstance(line, list) else []
        if kinds != [int, str, str, str, int, int]:
            raise Malformed(f"entry {record['sequence']}: a line is {LINE_COLUMNS}")
        found.append(dict(zip(LINE_COLUMNS, line, strict=True)))
    return found


def _short(hash_: str) -> str:
    return hash_[:16] or "nothing"
