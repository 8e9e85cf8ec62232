"""What is wrong with rules, or looks like a mistake, before they are live: every finding at its line and column.

An error is something that cannot do what its author wanted (exit 1; ``apply`` refuses it); a warning is for people to
read. What makes a file unloadable (unknown words, splits that are not 100, failing tests ...) comes from ``load`` and
stands here as an error too, so that one command tells everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any, Final, Literal

from orchestrator.config_source import ConfigInvalid, Document, Problem, Trail
from orchestrator.routing.catalogue import Catalogue, Supports
from orchestrator.routing.load import assemble
from orchestrator.routing.reading import READ_TIMEOUT_S, Source
from orchestrator.routing.rules import RoutingBlock
from orchestrator.routing.ruleset import Ruleset
from rates.money import WALLET_USD, Money, MoneyError

Severity = Literal["error", "warning"]
SESSION_MIN: Final = 1 * 10**9
SESSION_MAX: Final = 10_000 * 10**9
"""Where the file says nothing of ``compliance``: nano-dollars."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault. ``code`` is stable, for programs."""

    code: str
    severity: Severity
    problem: Problem

    @property
    def is_error(self) -> bool:
        return self.severity == "error"

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "severity": self.severity, **asdict(self.problem)}

    def annotation(self) -> str:
        """Return the form that continuous integration shows beside the line (GitHub, Gitea, Forgejo)."""
        one = self.problem
        text = one.message + (f" ({one.hint})" if one.hint else "")
        escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        return f"::{self.severity} file={one.file},line={one.line},col={one.column},title={self.code}::{escaped}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Rules that could be loaded, and the world that they are for."""

    document: Document
    prefix: Trail
    block: RoutingBlock
    ruleset: Ruleset
    catalogue: Catalogue
    supports: Supports
    mid: Callable[[str, datetime], Fraction | None]
    now: datetime

    def rate(self, currency: str) -> Fraction | None:
        return Fraction(1) if currency == WALLET_USD.code else self.mid(currency, self.now)

    def error(self, code: str, path: Trail, message: str, hint: str | None = None) -> Finding:
        return Finding(code, "error", self.document.problem((*self.prefix, *path), message, hint))

    def warning(self, code: str, path: Trail, message: str, hint: str | None = None) -> Finding:
        return Finding(code, "warning", self.document.problem((*self.prefix, *path), message, hint))

    @property
    def blocked_countries(self) -> frozenset[str]:
        written = self.document.at(("compliance", "blocked_countries"))
        return frozenset(map(str, written)) if isinstance(written, list) else frozenset()

    @property
    def session_units(self) -> tuple[int, int]:
        """Return the smallest and the largest session, in nano-dollars."""
        low = _usd_units(self.document.at(("compliance", "session_min_usd")), SESSION_MIN)
        return low, max(low, _usd_units(self.document.at(("compliance", "session_max_usd")), SESSION_MAX))


def _usd_units(written: object, default: int) -> int:
    if written is None:
        return default
    try:
        return max(1, Money.parse(str(written), WALLET_USD).units)
    except MoneyError:  # the block itself is checked elsewhere, with its own message
        return default


def lint(
    document: Document,
    prefix: Trail,
    catalogue: Catalogue,
    supports: Supports,
    now: datetime,
    mid: Callable[[str, datetime], Fraction | None],
) -> list[Finding]:
    """Return every finding, in the order of the file. ``mid``: what one USD is worth now, None = not quotable."""
    from orchestrator.routing.lint_habits import habits
    from orchestrator.routing.lint_offers import offers
    from orchestrator.routing.lint_reach import reach

    try:
        made = assemble(document, catalogue, today=now.date(), prefix=prefix)
    except ConfigInvalid as invalid:
        return [Finding("invalid", "error", problem) for problem in invalid.problems]
    scene = Scene(document, prefix, made.block, made.ruleset, catalogue, supports, mid, now)

    def all_of_them() -> Iterator[Finding]:
        yield from (Finding("shadowed", "error", problem) for problem in made.unreachable)
        yield from (Finding("test-fails", "error", problem) for problem in made.failing)
        yield from (Finding("expired", "warning", problem) for problem in made.ruleset.warnings)
        yield from reach(scene)
        yield from offers(scene)
        yield from habits(scene)

    found = list(dict.fromkeys(all_of_them()))
    return sorted(found, key=lambda finding: (finding.problem.line, finding.problem.column, finding.code))


def lint_source(
    source: Source,
    catalogue: Catalogue,
    supports: Supports,
    now: datetime,
    mid: Callable[[str, datetime], Fraction | None],
) -> list[Finding]:
    """Return the findings about a file. Raises ConfigInvalid where it cannot even be read as YAML."""
    document, prefix = source.document()
    return lint(document, prefix, catalogue, supports, now, mid)


async def lint_aside(
    source: Source,
    catalogue: Catalogue,
    supports: Supports,
    now: datetime,
    mid: Callable[[str, datetime], Fraction | None],
) -> list[Finding]:
    """The same in a thread, while everything else goes on. Raises ConfigInvalid, TimeoutError."""
    async with asyncio.timeout(READ_TIMEOUT_S):
        return await asyncio.to_thread(lint_source, source, catalogue, supports, now, mid)
