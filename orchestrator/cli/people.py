"""``crossrail merchants|keys``: who may call. Writes go through the running service, where there is one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import aiohttp
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

ModeOption = Annotated[str, typer.Option(help="test or live.")]
MerchantOption = Annotated[str, typer.Option("--merchant", help="The merchant's id.")]
DescriptorOption = Annotated[
    str | None,
    typer.Option(help="What a buyer's statement shows: 2 to 22 letters, digits, spaces and . , _ ? + / -"),
]
CategoryOption = Annotated[
    str | None, typer.Option(help="Merchant category code (ISO 18245), as the acquirer assigned it: four digits.")
]
MERCHANT_COLUMNS = ("id", "name", "statement_descriptor", "merchant_category", "created_at")
CALL_TIMEOUT = aiohttp.ClientTimeout(total=20)


def register(app: typer.Typer) -> None:
    merchants = typer.Typer(help="Merchants.", no_args_is_help=True)
    merchants.command("create")(merchants_create)
    merchants.command("list")(merchants_list)
    merchants.command("show")(merchants_show)
    merchants.command("set")(merchants_set)
    app.add_typer(merchants, name="merchants")
    keys = typer.Typer(help="API keys of merchants.", no_args_is_help=True)
    keys.command("create")(keys_create)
    keys.command("list")(keys_list)
    keys.command("revoke")(keys_revoke)
    app.add_typer(keys, name="keys")


def running_service(config: Path) -> Mapping[str, str] | None:
    """Return where the running service of this configuration listens, and its admin token; None: none runs."""
    settings, _ = settings_of(config)
    path = Path(settings.service.state_dir) / "service.json"
    try:
        note: dict[str, Any] = json.loads(path.read_text("utf-8"))
        os.kill(int(note["pid"]), 0)
    except (OSError, ValueError, KeyError):
        return None
    return note if note["database"] == settings.service.database else None


async def call(config: Path, verb: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
    """Call the API as the platform: of the running service, or of one that lives for this call. Raises Failure."""
    note = running_service(config)
    if note is not None:
        async with aiohttp.ClientSession(timeout=CALL_TIMEOUT) as http:
            return await _call(http, note["url"], note["admin_token"], verb, path, body, query)
    import asyncio
    from contextlib import AsyncExitStack

    from orchestrator.cli.demo import free_ports
    from orchestrator.cli.service import Service

    port = free_ports()
    service = await asyncio.to_thread(Service.prepare, config, port, with_workers=False)
    async with AsyncExitStack() as stack:
        services, _ = await service.start(stack)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=CALL_TIMEOUT))
        url = f"http://{service.settings.service.host}:{port}"
        return await _call(http, url, services.secrets.admin_token, verb, path, body, query)


async def _call(
    http: aiohttp.ClientSession,
    url: str,
    token: str,
    verb: str,
    path: str,
    body: Mapping[str, Any] | None,
    query: Mapping[str, str],
) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.request(verb, url + path, json=body, params=query, headers=headers) as response:
        if response.content_type == "text/csv":
            return (await response.read()).decode()
        answer = await response.json(content_type=None)
        if response.status >= 400:
            raise Failure(f"{answer.get('code')}: {answer.get('detail')}")
        return answer


def merchants_create(
    *,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    statement_descriptor: DescriptorOption = None,
    merchant_category: CategoryOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Make a merchant."""
    body = {"name": name, **_told(statement_descriptor, merchant_category)}
    _show(run(call(config, "POST", "/v1/merchants", body)), json_=json_)


def merchants_list(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """List merchants, newest first."""
    _list(run(call(config, "GET", "/v1/merchants", limit="100")), MERCHANT_COLUMNS, json_=json_)


def merchants_show(
    *,
    merchant: Annotated[str, typer.Argument(help="The merchant's id.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show a merchant, with what the card world is told of it."""
    _show(run(call(config, "GET", f"/v1/merchants/{merchant}")), json_=json_)


def merchants_set(
    *,
    merchant: Annotated[str, typer.Argument(help="The merchant's id.")],
    statement_descriptor: DescriptorOption = None,
    merchant_category: CategoryOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Set what the card world is told of a merchant; "" takes it away. For payments from now on."""
    told = _told(statement_descriptor, merchant_category)
    if not told:
        raise Failure("give --statement-descriptor, --merchant-category or both", 2)
    _show(run(call(config, "PATCH", f"/v1/merchants/{merchant}", told)), json_=json_)


def _told(statement_descriptor: str | None, merchant_category: str | None) -> dict[str, str]:
    said = {"statement_descriptor": statement_descriptor, "merchant_category": merchant_category}
    return {name: text for name, text in said.items() if text is not None}


def keys_create(
    *,
    merchant: MerchantOption,
    mode: ModeOption = "test",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Make a key. It is shown this once and stored hashed."""
    _show(run(call(config, "POST", "/v1/keys", {"merchant": merchant, "mode": mode})), json_=json_)


def keys_list(
    *,
    merchant: MerchantOption,
    mode: ModeOption = "test",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List a merchant's keys by their last characters."""
    answer = run(call(config, "GET", "/v1/keys", merchant=merchant, mode=mode, limit="100"))
    _list(answer, ("id", "mode", "hint", "scopes", "created_at", "revoked_at"), json_=json_)


def keys_revoke(
    *,
    key: Annotated[str, typer.Argument(help="The key's id (key_...), not the key itself.")],
    merchant: MerchantOption,
    mode: ModeOption = "test",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Revoke a key: it opens nothing after five seconds at most."""
    _show(run(call(config, "DELETE", f"/v1/keys/{key}", merchant=merchant, mode=mode)), json_=json_)


def _show(answer: Mapping[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(answer)
    else:
        print_fields({name: _text(value) for name, value in answer.items()})


def _list(answer: Mapping[str, Any], columns: tuple[str, ...], *, json_: bool) -> None:
    if json_:
        print_json(answer["data"])
    else:
        print_table(columns, [[_text(row[name]) for name in columns] for row in answer["data"]])


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
