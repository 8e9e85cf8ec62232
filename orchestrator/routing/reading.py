"""From text to a ruleset without holding anybody up: a large file is read in a process of its own.

Reading YAML keeps the interpreter busy for seconds when there are thousands of rules. A small file is read in a
thread; a large one in a child, which hands the checked rules over in slices, so that decisions go on meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from orchestrator import settings as settings_file
from orchestrator.config_source import ConfigInvalid, Document, Problem, Trail, load_document
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.load import compiled, load_ruleset
from orchestrator.routing.ruleset import Rule, Ruleset

LARGE_CHARS: Final = 100_000
SLICE: Final = 250
"""Rules that are handed over at once: a few milliseconds."""
READ_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class Source:
    """A file with rules: a whole configuration, or its ``routing:`` block alone."""

    file: str
    text: str
    environment: Mapping[str, str]
    whole: bool = False
    """It must be a configuration that a service could start with: every block of it is checked."""
    ours: bool = False
    """It is a file of this machine, not a text that was sent: its secrets file is read."""

    @classmethod
    def of_file(cls, path: Path, environment: Mapping[str, str], *, whole: bool = False) -> Source:
        """Read a file's text. Raises ConfigInvalid where it cannot be read."""
        try:
            return cls(str(path), path.read_text("utf-8-sig"), environment, whole, ours=True)
        except (OSError, UnicodeDecodeError) as error:
            told = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ConfigInvalid([Problem(str(path), 1, 1, "", f"the file cannot be read: {told}")]) from None

    def document(self) -> tuple[Document, Trail]:
        """Return the file with its variables filled in, and where its rules stand. Raises ConfigInvalid."""
        document = load_document(self.text, self.file)
        around = settings_file.with_secrets(document, self.environment) if self.ours else self.environment
        document = settings_file.with_environment(document, around)
        if self.whole:
            settings_file.checked(document)
        data = document.data
        if isinstance(data, dict) and "routing" not in data and "defaults" in data:
            return document, ()
        return document, ("routing",)


def read(source: Source, catalogue: Catalogue, today: date) -> Ruleset:
    """Return the rules of a file, here and now. Raises ConfigInvalid with every problem."""
    document, prefix = source.document()
    return load_ruleset(document, catalogue, today=today, prefix=prefix)


async def read_aside(source: Source, catalogue: Catalogue, today: date) -> Ruleset:
    """Return the rules of a file while everything else goes on. Raises ConfigInvalid, TimeoutError."""
    async with asyncio.timeout(READ_TIMEOUT_S):
        if len(source.text) < LARGE_CHARS:
            return await asyncio.to_thread(read, source, catalogue, today)
        return await asyncio.to_thread(_read_in_a_child, source, catalogue, today)


# --- between the two processes ----------------------------------------------------------------------------------------


def _read_in_a_child(source: Source, catalogue: Catalogue, today: date) -> Ruleset:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as child:
        return _fetch(child, source, catalogue, today)


def _fetch(child: ProcessPoolExecutor, source: Source, catalogue: Catalogue, today: date) -> Ruleset:
    told, slices = child.submit(_read_in_child, source, catalogue.portable(), today).result(READ_TIMEOUT_S)
    if isinstance(told, tuple):
        raise ConfigInvalid(told)
    collecting = gc.isenabled()
    gc.disable()  # what comes now is all kept: looking through it for rubbish would stop everybody
    try:
        rules: list[Rule] = []
        for slice_ in slices:
            rules.extend(pickle.loads(slice_))  # noqa: S301  # our own child's
        return compiled(replace(told, rules=tuple(rules)))
    finally:
        gc.freeze()  # thousands of rules that live long: the collector's next look would stop everybody for 30 ms
        if collecting:
            gc.enable()


def _read_in_child(
    source: Source, catalogue: Catalogue, today: date
) -> tuple[Ruleset | tuple[Problem, ...], list[bytes]]:
    """Return the ruleset without its rules, and those in slices that are still to be unpacked.

    All in one answer: a request for each slice would wait for the interpreter's lock again and again, for minutes where
    the parent is never idle.
    """
    try:
        ruleset = read(source, catalogue, today)
    except ConfigInvalid as invalid:
        return invalid.problems, []
    rules = ruleset.rules
    slices = [pickle.dumps(rules[start : start + SLICE]) for start in range(0, len(rules), SLICE)]
    return replace(ruleset, rules=()), slices
