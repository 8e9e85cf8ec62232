"""``crossrail reconcile``: reads the rails' reports, matches them with the books, and says what does not fit."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, print_table, run
from orchestrator.cli.people import call


def register(app: typer.Typer) -> None:
    app.command("reconcile")(reconcile)


def reconcile(
    *,
    rail: Annotated[
        str | None,
        typer.Argument(help="stripe, adyen, evm, tron, ... Without it: every rail that reports, every real chain."),
    ] = None,
    account: Annotated[str | None, typer.Option(help="Only this account of it.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Read the rails' reports and hold them against the books. Exit 1 where something does not fit."""
    body = {name: value for name, value in (("rail", rail), ("account", account)) if value is not None}
    found = run(call(config, "POST", "/v1/reconciliations", body))
    if json_:
        print_json(found)
    else:
        for one in found["accounts"]:
            _print(one)
    if not found["ok"]:
        raise Failure("books and rails do not fit: each break is a review (crossrail reviews list)")


def _print(one: dict[str, Any]) -> None:
    print(f"{one['rail']}/{one['account']} ({one['mode']}): {one['lines']} lines, {one['matched']} matched, "
          f"{one['waiting']} waiting, {len(one['breaks'])} breaks")  # fmt: skip
    if one["compared_at"]:
        print(f"compared at block {one['compared_at']['block']} ({one['compared_at']['finality']})")
    columns = ("currency", "books", "rail", "not_reported", "not_booked", "unexplained")
    print_table(columns, [[balance[name] for name in columns] for balance in one["balances"]])
    if one["breaks"]:
        told = ("type", "line", "kind", "amount", "currency", "object", "money")
        print_table(told, [[str(found[name] or "") for name in told] for found in one["breaks"]])
