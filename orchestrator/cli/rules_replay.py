"""``crossrail rules replay``: stored decisions through a draft and the rules in force, before anything is live."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_json,
    print_table,
    run,
)

if TYPE_CHECKING:
    from orchestrator.bootstrap import LoadedRails
    from orchestrator.database.reads import Reads
    from orchestrator.routing.ranking import Knowledge
    from orchestrator.routing.replay_report import Report
    from orchestrator.routing.ruleset import Ruleset

_AGO: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_SECONDS: Final = {"m": 60, "h": 3_600, "d": 86_400}
IN_FORCE: Final = "in force"


def register(group: typer.Typer) -> None:
    group.command("replay")(replay)


def replay(
    *,
    draft: Annotated[str, typer.Argument(help="A file with rules, or a version's hash.")],
    against: Annotated[str | None, typer.Option(help="A file or a version; what is in force where absent.")] = None,
    since: Annotated[str, typer.Option(help="How far back: 90m, 24h, 30d.")] = "30d",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with charts to this file.")] = None,
    processes: Annotated[int | None, typer.Option(min=1, max=64, help="One for each processor where absent.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Decide what was decided again, by a draft and by the rules in force, and tell what moves.

    Facts, rates and the health of the rails are those of each decision's moment. Nothing is written to the database.
    """
    report = run(_replay(config, draft, against, seconds_of(since), processes))
    if html is not None:
        html.write_text(report.html(), "utf-8")
    if json_:
        print_json(report.to_json())
        return
    tally = report.tally
    print(f"{tally.decisions:,} decisions in {report.seconds:.1f} s: {report.live_name} against {report.draft_name}")
    print(
        f"another first offer: {tally.moved:,} ({report.moved_percent:.2f} %); only another order below it: "
        f"{tally.reordered:,}; newly without an offer: {tally.newly_without:,}; newly with one: {tally.newly_with:,}"
    )
    print_table(("expected", "in force", "draft"), report.rows())
    told = report.to_json()
    if told["from_to"]:
        print_table(
            ("from", "to", "decisions"), [(one["from"], one["to"], one["decisions"]) for one in told["from_to"]]
        )
        print_table(
            ("country", "moved", "of"), [(one["country"], one["moved"], one["of"]) for one in told["by_country"]]
        )
    for id_, country, amount in tally.without[:20]:
        print(f"newly without an offer: {id_} ({country}, {amount} USD)")
    if html is not None:
        print(f"written to {html}")


def seconds_of(text: str) -> int:
    """Read ``30d``. Raises Failure."""
    found = _AGO.fullmatch(text)
    if found is None:
        raise Failure(f"--since {text!r}: a number and m, h or d, such as 30d", 2)
    return int(found[1]) * _SECONDS[found[2]]


async def _replay(config: Path, draft: str, against: str | None, ago_s: int, processes: int | None) -> Report:
    from orchestrator.cli.rules import load_rails, mid_of
    from orchestrator.clock import SystemClock
    from orchestrator.routing import figures as counted
    from orchestrator.routing import replay_run
    from orchestrator.routing.replay import Sides
    from orchestrator.routing.replay_report import Report

    clock = SystemClock()
    loaded = await load_rails(config)
    async with AsyncExitStack() as stack:
        reads = _reads(loaded, stack)
        live, live_name = await _rules(against, loaded, reads, config)
        new, draft_name = await _rules(draft, loaded, reads, config)
        now = clock.now()
        market = loaded.settings.market()
        await market.refresh(now)
        mid = mid_of(market)
        codes = sorted({*market.currencies(), "USD"})
        rates = {code: rate for code in codes if (rate := mid(code, now)) is not None}
        since_us = clock.now_us() - ago_s * 1_000_000
        window_us = live.weights.window_days * 86_400 * 1_000_000
        figures = await counted.read(reads, clock.now_us() - window_us, clock.now_us())
        knowledge = replace(knowledge_without_history(loaded), figures=figures)
        supports = replay_run.KnownSupports.of(loaded.rails.values(), codes)
        sides = Sides(live, new, loaded.catalogue, supports, knowledge, rates)
        total = await replay_run.count(reads, since_us)
        started = time.monotonic()
        with typer.progressbar(length=total, label="replaying", file=sys.stderr) as bar:
            tally = await replay_run.replay(reads, sides, since_us, bar.update, processes)
        return Report.of(tally, sides, figures, (live_name, draft_name), time.monotonic() - started)


def knowledge_without_history(loaded: LoadedRails) -> Knowledge:
    """Return the fee tables of a configuration; nothing was seen of payments."""
    from orchestrator.bootstrap import fee_tables
    from orchestrator.routing.ranking import Knowledge

    return Knowledge(fee_tables(loaded.settings))


def _reads(loaded: LoadedRails, stack: AsyncExitStack) -> Reads:
    from orchestrator.database.reads import Reads

    reads = Reads(loaded.settings.service.database)
    stack.push_async_callback(reads.close)
    return reads


async def _rules(word: str | None, loaded: LoadedRails, reads: Reads, config: Path) -> tuple[Ruleset, str]:
    """Return the rules that a word names: a file, a version, or what is in force."""
    from orchestrator.clock import SystemClock
    from orchestrator.routing.reading import Source, read

    today = SystemClock().now().date()
    if word is not None and await asyncio.to_thread(Path(word).exists):
        ruleset = read(Source.of_file(Path(word), os.environ), loaded.catalogue, today)
        return ruleset, f"{word} ({ruleset.hash[:12]})"
    row = await _version(reads, word)
    if row is None:
        if word is not None:
            raise Failure(f"{word} is no file and no version: `crossrail rules history` lists versions", 2)
        ruleset = read(Source.of_file(config, os.environ), loaded.catalogue, today)
        return ruleset, f"{config} ({ruleset.hash[:12]})"
    ruleset = read(Source(f"version {row['hash'][:12]}", row["canonical"], {}), loaded.catalogue, today)
    return ruleset, f"{IN_FORCE if word is None else 'version'} {ruleset.hash[:12]}"


async def _version(reads: Reads, word: str | None) -> dict[str, str] | None:
    from sqlalchemy import select

    from orchestrator.database.tables import RulesetState, RulesetVersion, table_of

    versions, states = table_of(RulesetVersion), table_of(RulesetState)
    if word is None:
        state = await reads.one(select(states))
        if state is None:
            return None
        word = state["active_hash"]
    if len(word) < 8 or not word.isalnum():
        return None
    rows = await reads.all(select(versions).where(versions.c.hash.startswith(word, autoescape=True)).limit(2))
    if len(rows) > 1:
        raise Failure(f"several versions begin with {word}: give more of it", 2)
    return rows[0] if rows else None


async def stored_decision(config: Path, decision: str) -> tuple[str, Ruleset | None]:
    """Return a stored decision and, where it is known, the rules that made it."""
    from sqlalchemy import select

    from orchestrator.cli.rules import load_rails
    from orchestrator.database.tables import Decision, table_of

    loaded = await load_rails(config)
    async with AsyncExitStack() as stack:
        reads = _reads(loaded, stack)
        table = table_of(Decision)
        row = await reads.one(select(table).where(table.c.id == decision))
        if row is None:
            raise Failure(f"there is no decision {decision}")
        if await _version(reads, row["ruleset_hash"]) is None:
            return row["body"], None
        ruleset, _ = await _rules(row["ruleset_hash"], loaded, reads, config)
        return row["body"], ruleset
