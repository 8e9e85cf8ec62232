"""``crossrail events``: what happened, how it was delivered, sending it again. Through the running service."""

from __future__ import annotations

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
from orchestrator.cli.people import MerchantOption, ModeOption, call

EventArgument = Annotated[str, typer.Argument(help="Its id (evt_...).")]
COLUMNS = ("sequence", "created_at", "type", "object_id", "id")
ATTEMPTS = ("endpoint", "status", "number", "at", "http_status", "duration_ms", "note")


def register(app: typer.Typer) -> None:
    events = typer.Typer(help="What merchants are told.", no_args_is_help=True)
    events.command("list")(list_)
    events.command()(deliveries)
    events.command()(resend)
    app.add_typer(events, name="events")


def list_(
    *,
    merchant: MerchantOption,
    mode: ModeOption = "live",
    after: Annotated[str | None, typer.Option(help="Read on behind this sequence or id.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List a merchant's events, oldest first, a hundred at most."""
    query = {"merchant": merchant, "mode": mode, "limit": "100"} | ({"after": after} if after else {})
    rows = run(call(config, "GET", "/v1/events", None, **query))["data"]
    if json_:
        print_json(rows)
    else:
        print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])


def deliveries(
    *,
    event: EventArgument,
    merchant: MerchantOption,
    mode: ModeOption = "live",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show every attempt to deliver one event."""
    found = run(call(config, "GET", f"/v1/events/{event}/deliveries", None, merchant=merchant, mode=mode))["data"]
    if json_:
        print_json(found)
        return
    rows = [[_cell(row | one, name) for name in ATTEMPTS] for row in found for one in row["attempts"] or [{}]]
    print_table(ATTEMPTS, rows)


def _cell(row: dict[str, Any], name: str) -> object:
    value = row.get(name)
    return "" if value is None else value


def resend(
    *,
    first: Annotated[str, typer.Argument(help="The event to send again, or the first of a range: its id or sequence.")],
    last: Annotated[str | None, typer.Argument(help="The last of the range.")] = None,
    merchant: MerchantOption,
    mode: ModeOption = "live",
    endpoint: Annotated[str | None, typer.Option(help="To this endpoint only (we_...).")] = None,
    failed_only: Annotated[bool, typer.Option("--failed-only", help="Only what was given up.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Deliver an event, or a range of them, again under the same ids."""
    body: dict[str, Any] = {"merchant": merchant, "mode": mode, "last": last or first, "failed_only": failed_only}
    if endpoint is not None:
        body["endpoint"] = endpoint
    sent, following = 0, first
    while following:
        answer = run(call(config, "POST", "/v1/events/resend", {**body, "first": following}))
        sent, following = sent + answer["deliveries"], str(answer["next"] or "")
    if json_:
        print_json({"deliveries": sent})
    else:
        print_fields({"deliveries": sent})
