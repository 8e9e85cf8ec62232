"""``crossrail refunds`` and ``crossrail disputes``: money that goes back. Everything goes through the API, as the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

REFUND_COLUMNS = ("id", "payment", "status", "amount", "paid_back", "reason", "created_at")
RATE_COLUMNS = (
    "merchant",
    "mode",
    "programme",
    "disputes",
    "payments",
    "ratio_bps",
    "limit_count",
    "limit_bps",
    "level",
)
DISPUTE_COLUMNS = ("id", "payment", "status", "disputed", "frozen", "clawed_back", "answer_by")
Limit = Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")]
RefundArgument = Annotated[str, typer.Argument(help="Its id, ref_...")]
DisputeArgument = Annotated[str, typer.Argument(help="Its id, dis_...")]


def register(app: typer.Typer) -> None:
    refunds = typer.Typer(help="Money back to whoever paid.", no_args_is_help=True)
    refunds.command("list")(refunds_list)
    refunds.command("show")(refunds_show)
    refunds.command("create")(refunds_create)
    app.add_typer(refunds, name="refunds")
    disputes = typer.Typer(help="What payers' banks take back.", no_args_is_help=True)
    disputes.command("list")(disputes_list)
    disputes.command("show")(disputes_show)
    disputes.command("evidence")(disputes_evidence)
    disputes.command("accept")(disputes_accept)
    disputes.command("rates")(disputes_rates)
    app.add_typer(disputes, name="disputes")


def refunds_list(
    *,
    payment: Annotated[str | None, typer.Option(help="Only of this payment.")] = None,
    status: Annotated[str | None, typer.Option(help="pending, succeeded or failed.")] = None,
    limit: Limit = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List refunds, newest first."""
    query = _query(limit=str(limit), payment=payment, status=status)
    _list(run(call(config, "GET", "/v1/refunds", None, **query))["data"], REFUND_COLUMNS, json_=json_)


def refunds_show(*, refund: RefundArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show one refund with its lines."""
    _show(run(call(config, "GET", f"/v1/refunds/{refund}")), json_=json_)


def refunds_create(
    *,
    payment: Annotated[str, typer.Argument(help="The payment's id, pay_...")],
    reason: Annotated[str, typer.Option(help="Why; it is kept.")],
    amount: Annotated[str | None, typer.Option(help="Of the credit, in USD. Default: all that is unspent.")] = None,
    to: Annotated[str, typer.Option(help="source, wallet or address.")] = "source",
    force: Annotated[bool, typer.Option("--force", help="Take used credit from the merchant as well.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Refund a payment, whole or in part."""
    body: dict[str, Any] = {"reason": reason, "destination": {"type": to}, "force": force}
    if amount is not None:
        body["amount"] = {"amount": amount, "currency": "USD"}
    _show(run(call(config, "POST", f"/v1/payments/{payment}/refunds", body)), json_=json_)


def disputes_list(
    *,
    status: Annotated[str | None, typer.Option(help="needs_answer, under_review, won, lost or closed.")] = None,
    payment: Annotated[str | None, typer.Option(help="Only of this payment.")] = None,
    limit: Limit = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List disputes, newest first."""
    query = _query(limit=str(limit), payment=payment, status=status)
    _list(run(call(config, "GET", "/v1/disputes", None, **query))["data"], DISPUTE_COLUMNS, json_=json_)


def disputes_rates(
    *,
    month: Annotated[str | None, typer.Option(help="Such as 2026-11; this month if nothing is said.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Hold each merchant's disputes of a month against the card schemes' limits. Exit 1 where one is exceeded."""
    found = run(call(config, "GET", "/v1/dispute_rates", None, **_query(month=month)))["data"]
    rows = [{"merchant": one["merchant"], "mode": one["mode"], **part} for one in found for part in one["programmes"]]
    if rows or json_:
        _list(rows, RATE_COLUMNS, json_=json_)
    else:
        typer.echo("No card payment was disputed in that month.")
    if any(row["level"] == "exceeded" for row in rows):
        raise typer.Exit(1)


def disputes_show(
    *, dispute: DisputeArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False
) -> None:
    """Show one dispute."""
    _show(run(call(config, "GET", f"/v1/disputes/{dispute}")), json_=json_)


def disputes_evidence(
    *,
    dispute: DisputeArgument,
    summary: Annotated[str | None, typer.Option(help="What you say; it comes before what the records say.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Send it to the rail now: once, and finally.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Print the evidence that the records make as JSON; with --summary or --submit: add to it, send it."""
    path = f"/v1/disputes/{dispute}/evidence"
    if summary is None and not submit:
        print_json(run(call(config, "GET", path)))
        return
    body = {"submit": submit} | ({} if summary is None else {"summary": summary})
    _show(run(call(config, "POST", path, body)), json_=json_)


def disputes_accept(
    *, dispute: DisputeArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False
) -> None:
    """Give a dispute up: the money is the payer's."""
    _show(run(call(config, "POST", f"/v1/disputes/{dispute}/accept")), json_=json_)


def _query(**words: str | None) -> dict[str, str]:
    return {name: word for name, word in words.items() if word is not None}


def _list(rows: Sequence[Mapping[str, Any]], columns: tuple[str, ...], *, json_: bool) -> None:
    if json_:
        print_json(rows)
    else:
        print_table(columns, [[_text(row[name]) for name in columns] for row in rows])


def _show(found: Mapping[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(found)
    else:
        print_fields({name: _text(value) for name, value in found.items()})


def _text(value: Any) -> str:
    if isinstance(value, Mapping) and {"amount", "currency"} <= set(value):
        kind = f"{value['type']} " if "type" in value else ""
        return f"{kind}{value['amount']} {value['currency']}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return "" if value is None else str(value)
