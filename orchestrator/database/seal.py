"""The hash chain over a book's entries: one link per flush. Pure, so that anybody can follow it from an export.

A link's hash is SHA-256, in hex, over the hash before it ("" for the first) and the entries that the flush wrote, in
their order: every one a line of compact JSON in UTF-8 (no spaces, nothing escaped that JSON does not ask for),

    [merchant_id, mode, sequence, id, kind, fact, payment_id, created_us,
     [[line, code, subject, asset, units, balance_after], ...]]

and every line, the hash before it too, ended by a line feed. Whoever changes, drops or inserts an entry has to make all
links after it again, and their hashes were told to others by then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

import orjson

SealedEntry: TypeAlias = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]
"""A row of ``journal_entry`` and its rows of ``posting`` by ``line``, as columns by name; whole numbers as ``int``."""

ENTRY_COLUMNS: Final = ("merchant_id", "mode", "sequence", "id", "kind", "fact", "payment_id", "created_us")
LINE_COLUMNS: Final = ("line", "code", "subject", "asset", "units", "balance_after")

_entry: Final[Callable[[Mapping[str, Any]], tuple[Any, ...]]] = itemgetter(*ENTRY_COLUMNS)
_line: Final[Callable[[Mapping[str, Any]], tuple[Any, ...]]] = itemgetter(*LINE_COLUMNS)


def seal_hash(previous_hash: str, entries: Iterable[SealedEntry]) -> str:
    """Return the hash of the link that covers ``entries`` (by ``sequence``) and follows ``previous_hash``."""
    digest = hashlib.sha256(previous_hash.encode() + b"\n")
    for entry, lines in entries:
        digest.update(orjson.dumps([*_entry(entry), [_line(line) for line in lines]], option=orjson.OPT_APPEND_NEWLINE))
    return digest.hexdigest()
