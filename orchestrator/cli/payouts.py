"""``crossrail payouts``: money out to merchants, in two steps. Everything goes through the API, as the platform.

Whoever asks cannot approve: what this command asked for is approved by an operator on the dashboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from orchestrator.cli import payout_batches
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

PayoutArgument = Annotated[str, typer.Argument(help="Its id, po_...")]
MerchantArgument = Annotated[str, typer.Argument(help="The merchant's id.")]
COLUMNS = ("id", "merchant", "status", "amount", "requested_by", "approved_by", "created_at")


def register(app: typer.Typer) -> None:
    payouts = typer.Typer(help="Money out to merchants.", no_args_is_help=True)
    payouts.command("list")(payouts_list)
    payouts.command("request")(payouts_request)
    payouts.command("approve")(payouts_approve)
    payouts.command("confirm")(payouts_confirm)
    payouts.command("fail")(payouts_fail)
    payouts.command("return")(payouts_return)
    payouts.command("terms")(payouts_terms)
    payout_batches.register(payouts)
    app.add_typer(payouts, name="payouts")


def payouts_list(
    *,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None,
    status: Annotated[str | None, typer.Option(help="requested, sent, paid, failed or canceled.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List payouts, newest first."""
    query = (
        {"limit": str(limit)} | ({"merchant": merchant} if merchant else {}) | ({"status": status} if status else {})
    )
    rows = run(call(config, "GET", "/v1/payouts", None, **query))["data"]
    if json_:
        print_json(rows)
    else:
        print_table(COLUMNS, [[_text(row[name]) for name in COLUMNS] for row in rows])


def payouts_request(
    *,
    merchant: MerchantArgument,
    amount: Annotated[str | None, typer.Option(help="In USD, such as 250.00. Default: all that is available.")] = None,
    mode: Annotated[str, typer.Option(help="test or live.")] = "live",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Ask for a payout on a merchant's behalf; an operator approves it on the dashboard."""
    body: dict[str, Any] = {"merchant": merchant, "mode": mode}
    if amount is not None:
        body["amount"] = {"amount": amount, "currency": "USD"}
    _show(run(call(config, "POST", "/v1/payouts", body)), json_=json_)


def payouts_approve(
    *, payout: PayoutArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False
) -> None:
    """Approve a payout that the merchant asked for."""
    _show(run(call(config, "POST", f"/v1/payouts/{payout}/approve")), json_=json_)


def payouts_confirm(
    *,
    payout: PayoutArgument,
    bank_reference: Annotated[str, typer.Argument(help="The bank's own reference of the transfer.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Note that the bank paid it."""
    _show(run(call(config, "POST", f"/v1/payouts/{payout}/confirm", {"bank_reference": bank_reference})), json_=json_)


def payouts_fail(
    *,
    payout: PayoutArgument,
    reason: Annotated[str, typer.Argument(help="Why: the merchant reads it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Cancel a payout, or note that the bank refused it: the merchant has the amount again."""
    _show(run(call(config, "POST", f"/v1/payouts/{payout}/fail", {"reason": reason})), json_=json_)


def payouts_return(
    *,
    payout: PayoutArgument,
    reason: Annotated[str, typer.Argument(help="Why, in the bank's words: the merchant reads it.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Note that the bank sent a paid payout back: the merchant has the amount again."""
    _show(run(call(config, "POST", f"/v1/payouts/{payout}/return", {"reason": reason})), json_=json_)


def payouts_terms(
    *,
    merchant: MerchantArgument,
    tier: Annotated[str | None, typer.Option(help="A risk tier of the configuration.")] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="NAME=TEXT of the destination, such as iban=DE02...; all of it.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show on what terms a merchant is paid; with --tier or --to, set them."""
    path = f"/v1/merchants/{merchant}/payout_terms"
    if tier is None and not to:
        _show(run(call(config, "GET", path)), json_=json_)
        return
    body: dict[str, Any] = {} if tier is None else {"risk_tier": tier}
    if to:
        pairs = [pair.partition("=") for pair in to]
        if not all(name and mark and text for name, mark, text in pairs):
            raise Failure("--to takes NAME=TEXT, such as iban=DE02120300000000202051", 2)
        body["destination"] = {name: text for name, _, text in pairs}
    _show(run(call(config, "PUT", path, body)), json_=json_)


def _show(answer: Mapping[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(answer)
    else:
        print_fields({name: _text(value) for name, value in answer.items()})


def _text(value: object) -> str:
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    if "currency" in value:
        return f"{value['amount']} {value['currency']}"
    return ", ".join(f"{name}={text}" for name, text in value.items())
