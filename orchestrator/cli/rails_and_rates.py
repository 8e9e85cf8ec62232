"""``crossrail rates``, ``crossrail addresses``: what money is worth, and where customers pay tokens to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

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
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from orchestrator.database.reads import Reads
    from rates.market import Market

BaseOption = Annotated[str, typer.Option(help="From this currency.")]


def register(app: typer.Typer) -> None:
    rates = typer.Typer(help="Exchange rates: sources, mids, quotes.", no_args_is_help=True)
    rates.command("show")(show)
    rates.command("quote")(quote)
    rates.command("history")(history)
    rates.command("exposure")(exposure)
    rates.command("unrealised")(unrealised)
    app.add_typer(rates, name="rates")
    addresses = typer.Typer(help="Deposit addresses.", no_args_is_help=True)
    addresses.command("derive")(derive)
    app.add_typer(addresses, name="addresses")


async def _market(config: ConfigOption) -> Market:
    from orchestrator.clock import SystemClock

    settings, _ = settings_of(config)
    market = settings.market()
    await market.refresh(SystemClock().now())
    return market


def show(
    *,
    currency: Annotated[list[str] | None, typer.Argument(help="Currencies; without any: the sources.")] = None,
    base: BaseOption = "USD",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show what the sources say, or the agreed mid of currencies with its sources."""
    from orchestrator.clock import SystemClock
    from rates.errors import RateError

    market = run(_market(config))
    now = SystemClock().now()
    if not currency:
        rows: list[dict[str, Any]] = [
            {
                "source": one.name,
                "rates": one.rates_count,
                "newest": one.newest_as_of.isoformat() if one.newest_as_of else None,
                "error": one.error,
            }
            for one in market.statuses()
        ]
        _sources(rows, market, json_=json_)
        return
    found: list[dict[str, Any]] = []
    missing: list[dict[str, str]] = []
    for code in currency:
        try:
            mid = market.mid(base.upper(), code.upper(), now)
        except RateError as error:
            missing.append({"currency": code.upper(), "reason": str(error)})
            continue
        sources = [{"source": one.source, "as_of": one.as_of.isoformat()} for one in mid.sources]
        found.append({"currency": mid.quote, "mid": _decimal(mid.rate), "as_of": mid.as_of.isoformat(),
                      "volatility_bps": market.volatility_bps(base.upper(), code.upper(), now),
                      "sandbox": mid.sandbox_as_of is not None, "sources": sources,
                      "marked": _mark(market, mid.base, mid.quote)})  # fmt: skip
    if json_:
        print_json({"base": base.upper(), "rates": found, "missing": missing})
    else:
        print_table(
            ("currency", f"1 {base.upper()} =", "moves a day", "as of", "sources"),
            [
                [
                    one["currency"],
                    one["mid"],
                    _moves(one["volatility_bps"]),
                    one["as_of"],
                    ", ".join(s["source"] for s in one["sources"]),
                ]
                for one in found
            ],
        )
        for one in [*found, *missing]:
            if text := one.get("reason") or one.get("marked"):
                print(f"{one['currency']}: {text}")
    if missing:
        raise Failure(f"no rate for {', '.join(one['currency'] for one in missing)}")


def _sources(rows: list[dict[str, Any]], market: Market, *, json_: bool) -> None:
    marked = [{"currency": code, "marked": str(mark)} for code, mark in sorted(market.marked.items())]
    if json_:
        print_json({"sources": rows, "marked": marked})
        return
    print_table(("source", "rates", "newest", "error"), [[row[n] or "" for n in row] for row in rows])
    if marked:
        print_table(("currency", "marked"), [[*one.values()] for one in marked])
    print("mids: crossrail rates show BRL EUR")


def _mark(market: Market, *codes: str) -> str | None:
    """Return in words what is special about a currency of a pair; None where nothing is."""
    return "; ".join(str(market.marked[code]) for code in codes if code in market.marked) or None


def _moves(volatility_bps: int | None) -> str:
    return "not known" if volatility_bps is None else f"{volatility_bps} bps"


def _decimal(rate: object) -> str:
    from fractions import Fraction

    from rates.agreement import decimal_text

    assert isinstance(rate, Fraction)
    return decimal_text(rate)


def quote(
    *,
    currency: Annotated[str, typer.Argument(help="What the buyer pays in.")],
    amount: Annotated[str, typer.Argument(help="USD to be converted.")],
    method: Annotated[str | None, typer.Option(help="Spreads may differ by method.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Convert USD at today's mid and the corridor's spread, without fees. Nothing is stored."""
    from orchestrator.cli.rules import load_all
    from orchestrator.clock import SystemClock
    from rates.errors import RateError
    from rates.money import WALLET_USD, Money, MoneyError, Rounding
    from rates.quote import make_quote
    from rates.spread import SpreadTable

    loaded = run(load_all(config))
    settings, now = loaded.settings, SystemClock().now()
    spreads = SpreadTable.from_config([priced.entry() for priced in loaded.ruleset.pricing])
    try:
        usd = Money.parse(amount, WALLET_USD)
        market = run(_market(config))
        spread = spreads.spread("USD", currency.upper(), method, usd.units)
        volatility_bps = market.volatility_bps("USD", currency.upper(), now)
        spread_bps = spread.bps(volatility_bps)
        made = make_quote(
            quote_id="quo_preview", session_id="cs_preview", mid=market.mid("USD", currency.upper(), now),
            spread_bps=spread_bps, now=now, ttl_seconds=settings.checkout.session_ttl_s,
        )  # fmt: skip
        price = made.convert(usd, Rounding.UP)
    except MoneyError as error:
        raise Failure(str(error), 2) from None
    except RateError as error:
        raise Failure(str(error)) from None
    answer = {
        "amount": amount,
        "price": {"amount": price.decimal(price.asset.scale), "currency": price.asset.code},
        "mid": made.to_json()["mid"],
        "rate": made.to_json()["rate"],
        "spread_bps": made.spread_bps,
        "volatility_bps": volatility_bps,
        "volatility_added_bps": made.spread_bps - spread.spread_bps,
        "as_of": made.as_of.isoformat(),
        "sandbox": made.sandbox,
    }
    if json_:
        print_json(answer)
    else:
        print_fields({**answer, "price": f"{price.decimal(price.asset.scale)} {price.asset.code}"})


def history(
    *,
    currency: Annotated[str, typer.Argument(help="A currency, such as BRL.")],
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the newest.")] = 30,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show the mids of one USD as the service recorded them, oldest first."""
    from fractions import Fraction

    from orchestrator.clock import from_us
    from orchestrator.database.reads import Reads
    from orchestrator.routing import exposure as exposed

    async def read() -> list[dict[str, Any]]:
        settings, _ = settings_of(config)
        reads = Reads(settings.service.database)
        try:
            return await exposed.history(reads, currency.upper(), limit)
        finally:
            await reads.close()

    rows = [
        {
            "as_of": from_us(row["as_of_us"]).isoformat(),
            "mid": _decimal(Fraction(row["rate"])),
            "sources": row["sources"],
        }
        for row in run(read())
    ]
    if json_:
        print_json(rows)
    else:
        print_table(("as of", f"1 USD in {currency.upper()}", "sources"), [[*row.values()] for row in rows])


async def _held(
    config: ConfigOption, ask: Callable[[Reads, Market, datetime], Awaitable[Sequence[Any]]]
) -> list[dict[str, Any]]:
    """Ask the database about unconverted money, at the rates of now."""
    from orchestrator.clock import SystemClock
    from orchestrator.database.reads import Reads

    settings, _ = settings_of(config)
    market = await _market(config)
    reads = Reads(settings.service.database)
    try:
        return [one.to_json() for one in await ask(reads, market, SystemClock().now())]
    finally:
        await reads.close()


def exposure(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show open quotes and unconverted money per currency, and what to sell or buy to be flat."""
    from orchestrator.routing import exposure as exposed

    rows = run(_held(config, exposed.exposures))
    if json_:
        print_json(rows)
    else:
        columns = ("currency", "mode", "open_quotes", "open_usd", "held", "held_usd", "to_be_flat")
        print_table(columns, [[row[name] for name in columns] for row in rows])


def unrealised(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show what all unconverted money was counted as, what it is worth at mid now, and the difference. Books nothing."""
    from orchestrator.routing import exposure as exposed

    rows = run(_held(config, exposed.unrealised))
    if json_:
        print_json(rows)
    else:
        columns = ("mode", "counted_usd", "worth_usd", "unrealised_usd", "without_rate")
        print_table(columns, [[_told(row[name]) for name in columns] for row in rows])


def _told(value: str | list[str] | None) -> str:
    return ", ".join(value) if isinstance(value, list) else value or "no rate"


def derive(
    *,
    rail: Annotated[str, typer.Argument(help="tron or evm.")],
    start: Annotated[int, typer.Option(min=0, help="First index.")] = 0,
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 10,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Derive deposit addresses from the configured xpub again, for an audit."""
    from adapters.base import ScansChain
    from orchestrator.cli.rules import load_all

    loaded = run(load_all(config))
    scanner = next(
        (one for (name, _), one in loaded.rails.items() if name == rail and isinstance(one, ScansChain)), None
    )
    if scanner is None:
        raise Failure(f"config.yaml has no chain rail {rail!r}", 2)
    rows = [(index, scanner.show_address(scanner.derive_address(index))) for index in range(start, start + count)]
    if json_:
        print_json([{"index": index, "address": address} for index, address in rows])
    else:
        print_table(("index", "address"), rows)
