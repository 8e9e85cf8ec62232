"""``crossrail rules explain``: one decision, made now or stored, with every reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli import rules_replay
from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run

if TYPE_CHECKING:
    from orchestrator.bootstrap import LoadedRails
    from orchestrator.routing.facts import RoutingFacts
    from orchestrator.routing.rules import Given
    from orchestrator.routing.ruleset import Ruleset

OPTION_OF: Final = {"amount_usd": "amount", "methods": "method"}
"""Facts whose option has another name."""


def register(group: typer.Typer) -> None:
    group.command("explain")(explain)


def explain(
    *,
    country: Annotated[str | None, typer.Option(help="The buyer's country, two letters.")] = None,
    amount: Annotated[str | None, typer.Option(help="USD that shall reach the wallet.")] = None,
    currency: Annotated[str | None, typer.Option(help="A charge currency that the buyer asked for.")] = None,
    method: Annotated[
        list[str] | None, typer.Option(help="A method that the session asks for; may be given again.")
    ] = None,
    customer: Annotated[str, typer.Option(help="The customer's reference: sticky splits hang on it.")] = "",
    customer_age_days: Annotated[int | None, typer.Option(help="Days since the customer was first seen.")] = None,
    risk: Annotated[str | None, typer.Option(help="low, medium or high.")] = None,
    metadata: Annotated[list[str] | None, typer.Option(help="KEY=VALUE of the session; may be given again.")] = None,
    hour: Annotated[int | None, typer.Option(help="As if it were this hour, UTC.")] = None,
    weekday: Annotated[str | None, typer.Option(help="As if it were this day, UTC: mon ... sun.")] = None,
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
        told = {
            "country": country.upper(), "amount_usd": amount, "currency": currency, "methods": method or None,
            "customer": customer, "customer_age_days": customer_age_days, "risk": risk,
            "metadata": _pairs(metadata or []), "hour": hour, "weekday": weekday, "merchant": merchant,
            "merchant_category": merchant_category,
        }  # fmt: skip
        stored, ruleset = run(_decide(file, config, told))
    if json_:
        print_json(explained(stored, ruleset))
    else:
        print(render(stored, ruleset))


def _pairs(written: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in written]
    for key, equals, _ in pairs:
        if not key or not equals:
            raise Failure(f"--metadata {key}: KEY=VALUE is expected, such as plan=pro", 2)
    return {key: value for key, _, value in pairs}


def _given(told: dict[str, Any]) -> Given:
    """Read the options as the embedded tests read theirs. Raises Failure."""
    from pydantic import ValidationError

    from orchestrator.routing.rules import Given

    try:
        return Given.model_validate({name: value for name, value in told.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        hint = first.get("ctx", {}).get("hint")
        option = OPTION_OF.get(name, name).replace("_", "-")
        words = first["msg"].replace("Value error, ", "").replace("Input should", "should")
        raise Failure(f"--{option}: {words}" + (f" ({hint})" if hint else ""), 2) from None


async def _decide(file: Path | None, config: Path, told: dict[str, Any]) -> tuple[str, Ruleset]:
    from orchestrator.cli.rules import assembled, mid_of
    from orchestrator.clock import SystemClock
    from orchestrator.routing import engine
    from orchestrator.routing.catalogue import supports_of

    given = _given(told)
    _, ruleset, loaded = await assembled(file, config)
    facts, now = _facts(given, told, loaded), SystemClock().now()
    market = loaded.settings.market()
    await market.refresh(now)
    mid = mid_of(market)
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


def _facts(given: Given, told: dict[str, Any], loaded: LoadedRails) -> RoutingFacts:
    """Return the facts of now, but for the hour and the weekday that were asked for."""
    from orchestrator.clock import SystemClock
    from orchestrator.routing.facts import WEEKDAYS
    from orchestrator.routing.selftest import facts_of

    at = SystemClock().now()
    if told["weekday"] is not None:
        at += timedelta(days=(WEEKDAYS.index(given.weekday) - at.weekday()) % 7)
    if told["hour"] is not None:
        at = at.replace(hour=given.hour, minute=0)
    facts = facts_of(given, loaded.catalogue)
    for method in given.methods or ():
        if not loaded.catalogue.expand(method):
            raise Failure(f"--method: no rail here offers {method}: {', '.join(loaded.catalogue.words())}", 2)
    return replace(facts, at=at)
