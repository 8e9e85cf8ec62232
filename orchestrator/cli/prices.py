"""``crossrail prices import|rerate``: price versions out of files, and what past usage would cost with another one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_json,
    print_table,
    run,
)
from orchestrator.cli.people import MerchantOption, ModeOption

SKIPPED_LISTED_MAX: Final = 20


def register(app: typer.Typer) -> None:
    prices = typer.Typer(help="The price book.", no_args_is_help=True)
    prices.command("import")(prices_import)
    prices.command("rerate")(prices_rerate)
    app.add_typer(prices, name="prices")


def prices_import(
    *,
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="LiteLLM's price map (.json), or YAML of our own.")
    ],
    merchant: Annotated[str | None, typer.Option(help="Whose book; none: the platform's base book.")] = None,
    mode: ModeOption = "test",
    markup_bps: Annotated[int | None, typer.Option(help="Added to every price: 2000 = 20 %.")] = None,
    provider: Annotated[str | None, typer.Option(help="Of LiteLLM's map: only this litellm_provider.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and say what would be taken; write nothing.")
    ] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Make the next price version out of a file; the same content again makes none."""
    from orchestrator.metering.prices_file import read_file
    from orchestrator.metering.rating import PriceInvalid

    try:
        read = read_file(file, provider=provider)
    except PriceInvalid as error:
        raise Failure(str(error), 2) from None
    if not read.found.models and not read.markups:
        raise Failure(f"{file} has no price that can be taken")
    if markup_bps is not None:
        read.markup_bps = markup_bps
    body = read.request()
    if merchant is not None:
        body |= {"merchant": merchant, "mode": mode}
    shown: dict[str, Any] = {
        "format": read.kind,
        "models": len(read.found.models),
        "skipped": read.found.skipped,
        "left_out": dict(read.found.left_out),
        "dry_run": dry_run,
    }
    if not dry_run:
        version = run(_put(config, body))
        shown["version"] = {name: version[name] for name in ("id", "number", "effective_from", "markup_bps", "base")}
    if json_:
        print_json(shown)
    else:
        _print_import(shown)


async def _put(config: Path, body: dict[str, Any]) -> Any:
    from orchestrator.cli.api_session import api_of

    async with api_of(config) as api:
        return await api.call("PUT", "/v1/prices", body)


def _print_import(shown: dict[str, Any]) -> None:
    print(f"{shown['models']} models with a price")
    reasons = Counter(shown["skipped"].values())
    if reasons:
        print(f"{len(shown['skipped'])} models skipped (--json names them):")
        for reason, count in reasons.most_common(SKIPPED_LISTED_MAX):
            print(f"  {count:5}  {reason}")
    if shown["left_out"]:
        print("prices without a token type here, left out:")
        for name, count in sorted(shown["left_out"].items(), key=lambda item: -item[1])[:SKIPPED_LISTED_MAX]:
            print(f"  {count:5}  {name}")
    if shown["dry_run"]:
        print("dry run: nothing was written")
    else:
        version = shown["version"]
        print(f"version {version['number']} ({version['id']}), from {version['effective_from']} on")


def prices_rerate(
    *,
    merchant: MerchantOption,
    start: Annotated[str, typer.Option("--from", help="Usage from this time on: 2026-11-01, or RFC 3339.")],
    end: Annotated[str, typer.Option("--to", help="Up to, and without, this time.")],
    version: Annotated[str, typer.Option(help="Price version: its id or number.")],
    mode: ModeOption = "test",
    post: Annotated[bool, typer.Option("--post", help="Post the correcting entries: once for ever.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Price past usage again with another version: print the difference per wallet and model."""
    body = {"from": _moment(start), "to": _moment(end), "version": version}
    shown = run(_rerate(config, body, merchant, mode, post=post))
    if json_:
        print_json(shown)
        return
    columns = ("wallet", "model", "events", "before", "after", "difference")
    print_table(columns, [[line[name] for name in columns] for line in shown["lines"]])
    if shown["unpriced_events"]:
        print(f"{shown['unpriced_events']} events have no price in this version: they stay as they are")
    for wallet, amount in (shown.get("posted") or {}).items():
        print(f"posted {amount} USD to {wallet}")
    print(f"{shown['id']}: {shown['status']}")


def _moment(text: str) -> str:
    return f"{text}T00:00:00Z" if len(text) == len("2026-11-01") else text


async def _rerate(config: Path, body: dict[str, Any], merchant: str, mode: str, *, post: bool) -> Any:
    from orchestrator.cli.api_session import api_of

    whose = {"merchant": merchant, "mode": mode}
    async with api_of(config) as api:
        report = await api.call("POST", "/v1/reratings", body | whose)
        return await api.call("POST", f"/v1/reratings/{report['id']}/post", whose) if post else report
