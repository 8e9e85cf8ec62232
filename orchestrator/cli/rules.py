"""``crossrail rules``: check, test and explain the routing rules before they are live."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import rules_explain, rules_live, rules_replay
from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_json,
    print_table,
    run,
    settings_of,
)
from orchestrator.config_source import ConfigInvalid

if TYPE_CHECKING:
    from datetime import datetime
    from fractions import Fraction

    from orchestrator.bootstrap import Loaded, LoadedRails
    from orchestrator.routing.lint import Finding
    from orchestrator.routing.reading import Source
    from orchestrator.routing.rules import RoutingBlock
    from orchestrator.routing.ruleset import Ruleset
    from rates.market import Market

FileArgument = Annotated[
    Path | None,
    typer.Argument(help="A configuration, held against its own rails; or a routing block alone, against --config's."),
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Routing rules: lint, test, explain, replay, apply, roll back.", no_args_is_help=True)
    group.command("lint")(lint)
    group.command("test")(test)
    rules_explain.register(group)
    group.command("schema")(schema)
    rules_replay.register(group)
    rules_live.register(group)
    app.add_typer(group, name="rules")


def lint(
    *,
    file: FileArgument = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
    annotations: Annotated[
        bool, typer.Option("--annotations", help="Print ::error lines for continuous integration.")
    ] = False,
) -> None:
    """Check rules: every finding with file, line, column and what to do. Exit 1 where there is an error."""
    findings = run(_findings(file, config))
    errors = [finding for finding in findings if finding.is_error]
    if json_:
        print_json({"ok": not errors, "findings": [finding.to_json() for finding in findings]})
    elif annotations:
        for finding in findings:
            print(finding.annotation())
    else:
        for finding in findings:
            print(f"{finding.severity}[{finding.code}] {finding.problem}")
        print(f"{_many(len(errors), 'error')}, {_many(len(findings) - len(errors), 'warning')}")
    if errors:
        raise Failure(_many(len(errors), "error"))


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


async def _findings(file: Path | None, config: Path) -> list[Finding]:
    from orchestrator.clock import SystemClock
    from orchestrator.routing.catalogue import supports_of
    from orchestrator.routing.lint import Finding, lint_source

    try:
        source, loaded = await _held_against(file, config)
        now, market = SystemClock().now(), loaded.settings.market()
        await market.refresh(now)
        return lint_source(source, loaded.catalogue, supports_of(loaded.rails.values()), now, mid_of(market))
    except ConfigInvalid as invalid:
        return [Finding("invalid", "error", problem) for problem in invalid.problems]


def mid_of(market: Market) -> Mid:
    """Return the question what one USD is worth, None where nobody can say."""
    return Mid(market)


class Mid:
    def __init__(self, market: Market) -> None:
        self._market = market

    def __call__(self, currency: str, now: datetime) -> Fraction | None:
        from rates.errors import RateError
        from rates.money import WALLET_USD

        try:
            return self._market.mid(WALLET_USD.code, currency, now).rate
        except RateError:
            return None


def test(
    *,
    file: FileArgument = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
    coverage_min: Annotated[
        int, typer.Option(min=0, max=100, help="Exit 1 where tests reach fewer percent of the rules.")
    ] = 0,
) -> None:
    """Run the tests that stand beside the rules, and say which rules no test reaches."""
    from orchestrator.routing.coverage import coverage

    try:
        block, ruleset, loaded = run(assembled(file, config))
    except ConfigInvalid as invalid:
        if json_:
            from orchestrator.routing.lint import Finding

            findings = [Finding("invalid", "error", problem) for problem in invalid.problems]
            print_json({"ok": False, "findings": [finding.to_json() for finding in findings]})
        raise Failure(str(invalid), 1) from None
    found = coverage(block, ruleset, loaded.catalogue)
    fits = found.percent >= coverage_min
    if json_:
        rules = [
            {"rule": one.rule, "reached": one.reached, "never_seen_failing": list(one.unseen)} for one in found.rules
        ]
        print_json(
            {
                "ok": fits,
                "tests": found.tests,
                "coverage_percent": found.percent,
                "rules": rules,
                "ruleset": ruleset.hash,
            }
        )
    else:
        rows = [(one.rule, one.reached or "NONE", "; ".join(one.unseen)) for one in found.rules]
        print_table(("rule", "tests that reach it", "conditions that no test sees fail"), rows)
        print(f"{found.tests} embedded tests passed; they reach {found.percent} % of the rules")
    if not fits:
        raise Failure(f"tests reach {found.percent} % of the rules, {coverage_min} are wanted")


async def _held_against(file: Path | None, config: Path) -> tuple[Source, LoadedRails]:
    """Return a file's text, and the rails it is for: its own where it names rails, else those of --config."""
    from orchestrator.routing.reading import Source

    source = Source.of_file(file or config, os.environ)
    own = any(line.startswith("rails:") for line in source.text.splitlines())
    if own or file is None:
        return replace(source, whole=True), await load_rails(file or config)
    if not await asyncio.to_thread(config.exists):
        text = f"{file} names no rails, and {config} is not there: --config says whose rails these rules are for"
        raise Failure(text, 2)
    return source, await load_rails(config)


async def assembled(file: Path | None, config: Path) -> tuple[RoutingBlock, Ruleset, LoadedRails]:
    from orchestrator.clock import SystemClock
    from orchestrator.routing.load import assemble

    source, loaded = await _held_against(file, config)
    document, prefix = source.document()
    made = assemble(document, loaded.catalogue, today=SystemClock().now().date(), prefix=prefix)
    problems = (*made.unreachable, *made.failing)
    if problems:
        raise ConfigInvalid(problems)
    return made.block, made.ruleset, loaded


def schema(
    *,
    block: Annotated[
        bool, typer.Option("--block", help="Only the routing block, for a file that holds it alone.")
    ] = False,
) -> None:
    """Print the JSON Schema, so that an editor completes and checks: see docs/routing.md."""
    from orchestrator.routing.schema import config_schema, routing_schema

    print_json(routing_schema() if block else config_schema())


async def load_all(path: Path) -> Loaded:
    """Return a configuration with its rails and rules. Raises ConfigInvalid."""
    import aiohttp

    from orchestrator import bootstrap
    from orchestrator.clock import SystemClock

    settings, document = settings_of(path)
    async with aiohttp.ClientSession() as http:
        return bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:1")


async def load_rails(path: Path) -> LoadedRails:
    """Return a configuration with its rails; of its rules nothing is asked. Raises ConfigInvalid."""
    import aiohttp

    from orchestrator import bootstrap

    settings, document = settings_of(path)
    async with aiohttp.ClientSession() as http:
        return bootstrap.load_rails(settings, document, http, "http://127.0.0.1:1")
