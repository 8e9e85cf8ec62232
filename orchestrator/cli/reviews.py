"""``crossrail reviews``: what needs a person. Decisions go through the running service."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    JsonOption,
    print_fields,
    print_json,
    print_table,
    run,
)
from orchestrator.cli.people import call

ReviewArgument = Annotated[str, typer.Argument(help="Its id (rev_...), as `reviews list` shows it.")]
COLUMNS = ("id", "created_at", "merchant", "reason", "subject", "status", "actions")


def register(app: typer.Typer) -> None:
    reviews = typer.Typer(help="What needs a person.", no_args_is_help=True)
    reviews.command("list")(list_)
    reviews.command()(show)
    reviews.command()(resolve)
    app.add_typer(reviews, name="reviews")


def list_(
    *,
    status: Annotated[str, typer.Option(help="open or resolved")] = "open",
    reason: Annotated[str | None, typer.Option(help="Only those with this reason.")] = None,
    merchant: Annotated[str | None, typer.Option(help="Only those of this merchant.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List items, newest first, a hundred at most."""
    asked = {"status": status, "reason": reason, "merchant": merchant, "limit": "100"}
    query = {name: value for name, value in asked.items() if value}
    rows: list[dict[str, Any]] = run(call(config, "GET", "/v1/reviews", None, **query))["data"]
    if json_:
        print_json(rows)
    else:
        print_table(COLUMNS, [[_cell(row[name]) for name in COLUMNS] for row in rows])


def show(*, review: ReviewArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show one item: the evidence, what can be decided, what was."""
    _one(run(call(config, "GET", f"/v1/reviews/{review}")), json_)


def resolve(
    *,
    review: ReviewArgument,
    action: Annotated[str, typer.Argument(help="One of the item's actions.")],
    note: Annotated[str, typer.Option(help="Why; kept beside it for ever.")],
    wallet: Annotated[str | None, typer.Option(help="For credit, where it is another's.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Decide an item; exit 1 where that is not possible."""
    body = {"action": action, "note": note} | ({"wallet": wallet} if wallet else {})
    _one(run(call(config, "POST", f"/v1/reviews/{review}/resolve", body)), json_)


def _one(row: dict[str, Any], json_: bool) -> None:
    if json_:
        print_json(row)
    else:
        print_fields({name: _cell(value) for name, value in row.items()})


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case list():
            return ", ".join(map(str, value))
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
