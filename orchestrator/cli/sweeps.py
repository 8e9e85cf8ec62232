"""``crossrail sweeps``: from deposit addresses to the treasury. Writes go through the running service."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_fields,
    print_json,
    print_table,
    run,
)
from orchestrator.cli.people import call

TransactionArgument = Annotated[str, typer.Argument(help="Its id (ctx_...), as `sweeps list` shows it.")]
PLAN = ("network", "token", "amount", "address", "cost_usd", "worth", "why")
COLUMNS = ("id", "network", "purpose", "status", "asset", "units", "tx_hash", "note")


def register(app: typer.Typer) -> None:
    sweeps = typer.Typer(help="Tokens from deposit addresses to the treasury.", no_args_is_help=True)
    for command in (plan, build, broadcast, approve, void):
        sweeps.command()(command)
    sweeps.command("list")(list_)
    app.add_typer(sweeps, name="sweeps")


def plan(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show what lies where, what moving it would cost, and whether that is worth it."""
    _table(run(call(config, "GET", "/v1/sweeps/plan"))["data"], PLAN, json_=json_)


def build(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Store the transactions of all sweeps that are worth it. Nothing is sent."""
    answer = run(call(config, "POST", "/v1/sweeps"))
    if json_:
        print_json(answer)
    else:
        print("\n".join(answer["sweeps"]) or "nothing is worth it")


def broadcast(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Take every transaction a step further: sign, send, close. Safe to repeat; exit 1 while something waits."""
    answer = run(call(config, "POST", "/v1/sweeps/broadcast"))
    waiting = [row for status in ("built", "signed", "sent") for row in _rows(config, status)]
    if json_:
        print_json({**answer, "waiting": waiting})
    else:
        print(f"{answer['moved']} moved, {len(waiting)} on their way")
        if waiting:
            _table(waiting, COLUMNS, json_=False)
    if waiting:
        raise Failure(f"{len(waiting)} on their way: run it again later")


def list_(
    *,
    status: Annotated[str | None, typer.Option(help="Only those: built, signed, sent, final, failed ...")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List our own transactions, newest first."""
    _table(_rows(config, status), COLUMNS, json_=json_)


def approve(
    *,
    transaction: TransactionArgument,
    signature: Annotated[str, typer.Argument(help="Of `crossrail signer approve`.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Hand in a person's approval; only the signer judges it."""
    _one(run(call(config, "POST", f"/v1/chain_transactions/{transaction}/approve", {"signature": signature})), json_)


def void(*, transaction: TransactionArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Give up a transaction that was never signed, and what it served."""
    _one(run(call(config, "POST", f"/v1/chain_transactions/{transaction}/void")), json_)


def _rows(config: ConfigOption, status: str | None) -> list[dict[str, Any]]:
    query = {"limit": "100"} | ({"status": status} if status else {})
    rows: list[dict[str, Any]] = run(call(config, "GET", "/v1/chain_transactions", None, **query))["data"]
    return rows


def _one(row: dict[str, Any], json_: bool) -> None:
    if json_:
        print_json(row)
    else:
        print_fields({name: row[name] or "" for name in COLUMNS})


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...], *, json_: bool) -> None:
    if json_:
        print_json(rows)
    else:
        print_table(columns, [["" if row[name] is None else row[name] for name in columns] for row in rows])
