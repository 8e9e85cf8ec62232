"""``crossrail rules``: check, test and explain the routing rules before they are live."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import rules_live, rules_replay
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
    from orchestrator.routing.rules import RoutingBlock
    from orchestrator.routing.ruleset import Ruleset
    from rates.market import Market

FileArgument = Annotated[
    Path | None, typer.Argument(help="A configuration, or a routing block alone; --config where absent.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Routing rules: lint, test, explain, replay, apply, roll back.", no_args_is_help=True)
    group.command("lint")(lint)
    group.command("test")(test)
    group.command("explain")(explain)
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
    from orchestrator.routing.reading import Source

    try:
        loaded = await load_rails(config)
        source = Source.of_file(file or config, os.environ, whole=file is None)
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
        block, ruleset, loaded = run(_assembled(file, config))
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


async def _assembled(file: Path | None, config: Path) -> tuple[RoutingBlock, Ruleset, LoadedRails]:
    from orchestrator.clock import SystemClock
    from orchestrator.routing.load import assemble
    from orchestrator.routing.reading import Source

    loaded = await load_rails(config)
    document, prefix = Source.of_file(file or config, os.environ, whole=file is None).document()
    made = assemble(document, loaded.catalogue, today=SystemClock().now().date(), prefix=prefix)
    problems = (*made.unreachable, *made.failing)
    if problems:
        raise ConfigInvalid(problems)
    return made.block, made.ruleset, loaded


def explain(
    *,
    country: Annotated[str | None, typer.Option(help="The buyer's country, two letters.")] = None,
    amount: Annotated[str | None, typer.Option(help="USD that shall reach the wallet.")] = None,
    currency: Annotated[str | None, typer.Option(help="A charge currency that the buyer asked for.")] = None,
    customer: Annotated[str, typer.Option(help="The customer's reference: sticky splits hang on it.")] = "",
    merchant: Annotated[str, typer.Option(help="The merchant's id: some rail accounts are for some only.")] = "",
    merchant_category: Annotated[str, typer.Option(help="The merchant's category code, four digits.")] = "",
    decision: Annotated[str | None, typer.Option(help="Explain this stored decision (dec_...) instead.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Rules to explain; the configuration where absent.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Explain one decision, made now or stored: every rule and every rail, and why."""
    from orchestrator.routing.explain import explain as explained
    from orchestrator.routing.explain import render

    if decision is not None:
        stored, ruleset = run(rules_replay.stored_decision(config, decision))
    elif country is None or amount is None:
        raise Failure("give --country and --amount, or --decision", 2)
    else:
        seller = (merchant, merchant_category)
        stored, ruleset = run(_decide(file, config, country.upper(), amount, currency, customer, seller))
    if json_:
        print_json(explained(stored, ruleset))
    else:
        print(render(stored, ruleset))


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


async def _decide(
    file: Path | None,
    config: Path,
    country: str,
    amount: str,
    currency: str | None,
    customer: str,
    seller: tuple[str, str],
) -> tuple[str, Ruleset]:
    from adapters.base import Mode
    from orchestrator.clock import SystemClock
    from orchestrator.routing import engine
    from orchestrator.routing.catalogue import supports_of
    from orchestrator.routing.countries import is_country
    from orchestrator.routing.facts import RoutingFacts
    from rates.money import WALLET_USD, Money, MoneyError

    if not is_country(country):
        raise Failure(f"{country!r} is no ISO 3166-1 country: two letters such as BR", 2)
    try:
        money = Money.parse(amount, WALLET_USD)
    except MoneyError as error:
        raise Failure(f"--amount: {error}", 2) from None
    merchant, category = seller
    if category and re.fullmatch("[0-9]{4}", category) is None:
        raise Failure(f"--merchant-category: {category!r} is not four digits", 2)
    _, ruleset, loaded = await _assembled(file, config)
    now = SystemClock().now()
    market = loaded.settings.market()
    await market.refresh(now)
    mid = mid_of(market)
    modes = {option.mode for option in loaded.catalogue.options}
    mode = Mode.TEST if Mode.TEST in modes else Mode.LIVE
    facts = RoutingFacts(
        country=country, amount=money, at=now, mode=mode, currency=currency, customer=customer,
        merchant=merchant, merchant_category=category,
    )  # fmt: skip
    decision = engine.decide(
        facts,
        ruleset,
        loaded.catalogue,
        rates=lambda wanted: mid(wanted, now),
        health={},
        supports=supports_of(loaded.rails.values()),
        knowledge=rules_replay.knowledge_without_history(loaded),
    )
    return decision.to_json(), ruleset
