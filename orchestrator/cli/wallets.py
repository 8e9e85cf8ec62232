"""``crossrail wallets``: look into one, give free credit, take it back. Writes go through the running service."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from sqlalchemy import select

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_fields,
    print_json,
    run,
    settings_of,
)
from orchestrator.cli.people import call
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, Lot, Wallet, table_of
from orchestrator.ledger.grants import lot_shown
from orchestrator.ledger.wallet_settings import settings_shown
from orchestrator.payments.story import usd_body
from rates.money import WALLET_USD, Money, MoneyError

WalletArgument = Annotated[str, typer.Argument(help="Its id, or the customer's reference.")]


def register(app: typer.Typer) -> None:
    wallets = typer.Typer(help="Wallets.", no_args_is_help=True)
    wallets.command("show")(wallets_show)
    wallets.command("adjust")(wallets_adjust)
    app.add_typer(wallets, name="wallets")


def wallets_show(*, wallet: WalletArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show wallets with the balance of each of their parts, their settings and their open credit."""
    shown = run(_with_reads(config, wallet))
    if not shown:
        raise Failure(f"no wallet {wallet}")
    if json_:
        print_json(shown)
        return
    for one in shown:
        named = {name: one[name] for name in ("id", "merchant", "mode", "customer", "status")}
        print_fields({**named, **{name: _cell(value) for name, value in one["settings"].items()}, **one["balances"]})
        for lot in one["credit"]:
            ends = f", until {lot['expires_at']}" if lot["expires_at"] else ""
            print(f"  {lot['id']}  {lot['kind']}: {_cell(lot['remaining'])} of {_cell(lot['amount'])}{ends}")


def wallets_adjust(
    *,
    wallet: WalletArgument,
    reason: Annotated[str, typer.Option(help="Why; it stays in the event.")],
    amount: Annotated[str | None, typer.Option(help="US dollars of free credit to give, such as 5.00.")] = None,
    revoke: Annotated[str | None, typer.Option(help="Credit (lot_...) of which to take back what is left.")] = None,
    kind: Annotated[str, typer.Option(help="compensation or promotional.")] = "compensation",
    expires_at: Annotated[str | None, typer.Option(help="RFC 3339; default: never.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Give a wallet free credit, or take back what is left of it. Paid credit is refunded instead."""
    if (amount is None) == (revoke is None):
        raise Failure("say --amount or --revoke", 2)
    found = run(_with_reads(config, wallet))
    if len(found) != 1:
        raise Failure(f"{len(found)} wallets are called {wallet}" if found else f"no wallet {wallet}")
    whose = {"merchant": found[0]["merchant"], "mode": found[0]["mode"], "reason": reason}
    path = f"/v1/wallets/{found[0]['id']}/credits"
    if revoke is not None:
        answer = run(call(config, "POST", f"{path}/{revoke}/revoke", whose))
    else:
        body = {**whose, "kind": kind, "amount": {"amount": _dollars(amount or ""), "currency": "USD"}}
        answer = run(call(config, "POST", path, body | ({} if expires_at is None else {"expires_at": expires_at})))
    if json_:
        print_json(answer)
    else:
        print_fields({name: _cell(value) for name, value in answer.items()})


def _dollars(amount: str) -> str:
    """Return the amount as it was given. Raises Failure (2) where it is none."""
    try:
        Money.parse(amount, WALLET_USD)
    except MoneyError as error:
        raise Failure(str(error), 2) from None
    return amount


async def _with_reads(config: ConfigOption, wallet: str) -> list[dict[str, Any]]:
    settings, _ = settings_of(config)
    reads = Reads(settings.service.database)
    try:
        return await _found(reads, wallet)
    finally:
        await reads.close()


async def _found(reads: Reads, wallet: str) -> list[dict[str, Any]]:
    wallets, accounts, lots = table_of(Wallet), table_of(Account), table_of(Lot)
    found = []
    for row in await reads.all(
        select(wallets).where((wallets.c.id == wallet) | (wallets.c.customer_reference == wallet))
    ):
        parts = await reads.all(
            select(accounts).where(accounts.c.merchant_id == row["merchant_id"], accounts.c.subject == row["id"])
        )
        credit = await reads.all(
            select(lots)
            .where(lots.c.merchant_id == row["merchant_id"], lots.c.wallet_id == row["id"], lots.c.open == 1)
            .order_by(lots.c.id)
        )
        balances = {part["code"]: usd_body(abs(part["balance"]))["amount"] for part in parts}
        found.append({"id": row["id"], "merchant": row["merchant_id"], "mode": row["mode"],
                      "customer": row["customer_reference"], "status": row["status"],
                      "settings": settings_shown(row), "balances": balances,
                      "credit": [lot_shown(lot) for lot in credit]})  # fmt: skip
    return found


def _cell(value: Any) -> str:
    return f"{value['amount']} {value['currency']}" if isinstance(value, dict) else "" if value is None else str(value)
