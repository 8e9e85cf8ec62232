"""``crossrail ledger|payments|wallets``: look, and prove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, TypeVar

import typer
from sqlalchemy import select

from orchestrator.cli import books, replays, statements, wallets
from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_fields,
    print_json,
    print_table,
    run,
    settings_of,
)
from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Payment, PaymentFact, table_of
from orchestrator.payments.story import payment_object

T = TypeVar("T")
LimitOption = Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")]


def register(app: typer.Typer) -> None:
    ledger = typer.Typer(help="The books.", no_args_is_help=True)
    books.register(ledger)
    statements.register(ledger)
    app.add_typer(ledger, name="ledger")
    payments = typer.Typer(help="Payments.", no_args_is_help=True)
    payments.command("list")(payments_list)
    payments.command("show")(payments_show)
    replays.register(payments)
    app.add_typer(payments, name="payments")
    wallets.register(app)


async def _read(config: ConfigOption, query: Callable[[Reads], Awaitable[T]]) -> T:
    settings, _ = settings_of(config)
    reads = Reads(settings.service.database)
    try:
        return await query(reads)
    finally:
        await reads.close()


def payments_list(
    *,
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    limit: LimitOption = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List payments, newest first."""
    table = table_of(Payment)
    query = select(table).order_by(table.c.id.desc()).limit(limit)
    rows = run(
        _read(config, lambda reads: reads.all(query if status is None else query.where(table.c.status == status)))
    )
    shown = [payment_object(row) for row in rows]
    if json_:
        print_json(shown)
        return
    columns = ("id", "status", "amount", "credited", "created_at")
    print_table(columns, [[_cell(one[name]) for name in columns] for one in shown])


def payments_show(
    *,
    payment: Annotated[str, typer.Argument(help="Its id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show one payment with its attempts and its history."""

    async def query(reads: Reads) -> dict[str, Any] | None:
        payments, attempts, facts = table_of(Payment), table_of(Attempt), table_of(PaymentFact)
        row = await reads.one(select(payments).where(payments.c.id == payment))
        if row is None:
            return None
        tried = await reads.all(select(attempts).where(attempts.c.payment_id == payment).order_by(attempts.c.id))
        history = await reads.all(select(facts).where(facts.c.payment_id == payment).order_by(facts.c.number))
        names = ("id", "rail", "account", "method", "status", "rail_reference")
        return payment_object(row) | {
            "attempts": [{name: one[name] for name in names} for one in tried],
            "history": [
                {
                    "at": rfc3339(one["at_us"]),
                    "fact": one["kind"],
                    "status": one["status"],
                    "attempt": one["attempt_id"],
                }
                for one in history
            ],
        }

    shown = run(_read(config, query))
    if shown is None:
        raise Failure(f"no payment {payment}")
    if json_:
        print_json(shown)
        return
    print_fields({name: _cell(value) for name, value in shown.items() if name not in {"attempts", "history"}})
    for name in ("attempts", "history"):
        print(f"\n{name}")
        _print_rows(shown[name])


def _cell(value: Any) -> str:
    return f"{value['amount']} {value['currency']}" if isinstance(value, dict) else str(value)


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        print_table(list(rows[0]), [[row[name] or "" for name in row] for row in rows])
