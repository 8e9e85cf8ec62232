"""``crossrail deposits``: the inbox of what no rule could place. Writes go through the running service."""

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
from orchestrator.cli.people import call

ItemArgument = Annotated[str, typer.Argument(help="Its id (str_... or dep_...), as `deposits inbox` shows it.")]
ReasonOption = Annotated[str, typer.Option(help="Why; kept beside it for ever.")]
COLUMNS = ("id", "status", "reason", "chain", "amount", "merchant", "wallet", "tx_hash")


def register(app: typer.Typer) -> None:
    deposits = typer.Typer(help="Transfers that no rule could place.", no_args_is_help=True)
    for command in (inbox, credit, ignore, refund):
        deposits.command()(command)
    app.add_typer(deposits, name="deposits")


def inbox(
    *,
    status: Annotated[
        str, typer.Option(help="open, credited, refund_planned, refunding, refunded, ignored or orphaned")
    ] = "open",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List what waits for a person, newest first."""
    rows: list[dict[str, Any]] = run(call(config, "GET", "/v1/unallocated", None, status=status))["data"]
    if json_:
        print_json(rows)
        return
    print_table(COLUMNS, [[_cell(row[name]) for name in COLUMNS] for row in rows])


def credit(
    *,
    item: ItemArgument,
    reason: ReasonOption,
    wallet: Annotated[str | None, typer.Option(help="Whose it is, where the address has no owner.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Credit one to a wallet."""
    _tell(run(call(config, "POST", f"/v1/unallocated/{item}/credit", {"reason": reason, "wallet": wallet})), json_)


def ignore(
    *, item: ItemArgument, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False
) -> None:
    """Leave one where it is."""
    _tell(run(call(config, "POST", f"/v1/unallocated/{item}/ignore", {"reason": reason})), json_)


def refund(
    *, item: ItemArgument, reason: ReasonOption, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False
) -> None:
    """Send one back: one in suspense goes to the address that its customer confirmed, once there is one."""
    _tell(run(call(config, "POST", f"/v1/unallocated/{item}/refund", {"reason": reason})), json_)


def _tell(shown: dict[str, Any], json_: bool) -> None:
    if json_:
        print_json(shown)
    else:
        print_fields({name: _cell(shown[name]) for name in COLUMNS})


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['amount']} {value['currency']}"
    return "" if value is None else str(value)
