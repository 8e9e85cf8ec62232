"""``crossrail rules``: check, test and explain the routing rules before they are live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run, settings_of
from orchestrator.config_source import ConfigInvalid, Problem

if TYPE_CHECKING:
    from fractions import Fraction

    from orchestrator.bootstrap import Loaded
    from orchestrator.routing.ruleset import Ruleset

FileArgument = Annotated[Path | None, typer.Argument(help="The file to check; the configuration where absent.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Routing rules: lint, test, explain.", no_args_is_help=True)
    group.command("lint")(lint)
    group.command("test")(test)
    group.command("explain")(explain)
    app.add_typer(group, name="rules")


def lint(*, file: FileArgument = None, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Check the configuration and its rules, embedded tests included; every problem with file, line and column."""
    try:
        loaded = run(load_all(file or config))
    except ConfigInvalid as invalid:
        if json_:
            print_json({"ok": False, "problems": [_problem(problem) for problem in invalid.problems]})
            raise Failure(f"{len(invalid.problems)} problems", 1) from None
        raise Failure(f"{len(invalid.problems)} problems\n{invalid}", 1) from None
    warnings = loaded.ruleset.warnings
    if json_:
        print_json({"ok": True, "ruleset": loaded.ruleset.hash, "warnings": [_problem(one) for one in warnings]})
        return
    for warning in warnings:
        print(f"warning: {warning}")
    print(f"{len(loaded.ruleset.rules)} rules are fine; ruleset {loaded.ruleset.hash[:12]}")


def _problem(problem: Problem) -> dict[str, object]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "message": problem.message,
        "hint": problem.hint,
    }


def test(*, file: FileArgument = None, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Run the tests that stand beside the rules."""
    document_path = file or config
    try:
        loaded = run(load_all(document_path))
    except ConfigInvalid as invalid:
        if json_:
            print_json({"ok": False, "problems": [_problem(problem) for problem in invalid.problems]})
        raise Failure(str(invalid), 1) from None
    rules = loaded.document.at(("routing", "rules")) or []
    count = sum(len(rule.get("tests") or []) for rule in rules)
    if json_:
        print_json({"ok": True, "tests": count, "ruleset": loaded.ruleset.hash})
    else:
        print(f"{count} embedded tests passed")


def explain(
    *,
    country: Annotated[str, typer.Option(help="The buyer's country, two letters.")],
    amount: Annotated[str, typer.Option(help="USD that shall reach the wallet.")],
    currency: Annotated[str | None, typer.Option(help="A charge currency that the buyer asked for.")] = None,
    customer: Annotated[str, typer.Option(help="The customer's reference: sticky splits hang on it.")] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="Rules to explain; the configuration where absent.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Explain one decision: every rule and every rail, and why."""
    from orchestrator.routing.explain import explain as explained
    from orchestrator.routing.explain import render

    stored, ruleset = run(_decide(file or config, country.upper(), amount, currency, customer))
    if json_:
        print_json(explained(stored, ruleset))
    else:
        print(render(stored, ruleset))


async def load_all(path: Path) -> Loaded:
    import aiohttp

    from orchestrator import bootstrap
    from orchestrator.clock import SystemClock

    settings, document = settings_of(path)
    async with aiohttp.ClientSession() as http:
        return bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:1")


async def _decide(path: Path, country: str, amount: str, currency: str | None, customer: str) -> tuple[str, Ruleset]:
    from adapters.base import Mode
    from orchestrator.clock import SystemClock
    from orchestrator.routing import engine
    from orchestrator.routing.catalogue import supports_of
    from orchestrator.routing.countries import is_country
    from orchestrator.routing.facts import RoutingFacts
    from rates.errors import RateError
    from rates.money import WALLET_USD, Money, MoneyError

    if not is_country(country):
        raise Failure(f"{country!r} is no ISO 3166-1 country: two letters such as BR", 2)
    try:
        money = Money.parse(amount, WALLET_USD)
    except MoneyError as error:
        raise Failure(f"--amount: {error}", 2) from None
    loaded = await load_all(path)
    now = SystemClock().now()
    market = loaded.settings.market()
    await market.refresh(now)

    def mid(wanted: str) -> Fraction | None:
        try:
            return market.mid(WALLET_USD.code, wanted, now).rate
        except RateError:
            return None

    modes = {option.mode for option in loaded.catalogue.options}
    mode = Mode.TEST if Mode.TEST in modes else Mode.LIVE
    facts = RoutingFacts(country=country, amount=money, at=now, mode=mode, currency=currency, customer=customer)
    decision = engine.decide(
        facts, loaded.ruleset, loaded.catalogue, rates=mid, health={}, supports=supports_of(loaded.rails.values())
    )
    return decision.to_json(), loaded.ruleset
