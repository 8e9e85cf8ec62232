"""``crossrail payments resolve``: applies what rails told us and could not be applied or placed then, once more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_json,
    print_table,
    run,
    settings_of,
)
from orchestrator.cli.people import call
from orchestrator.database.reads import Reads
from orchestrator.database.tables import RawWebhook, table_of

WEBHOOKS_MAX = 1000
OPEN = ("unplaced", "stuck")


def register(payments: typer.Typer) -> None:
    payments.command("resolve")(resolve)


def resolve(
    *,
    webhook: Annotated[str | None, typer.Argument(help="A stored webhook (we_...). Default: every open one.")] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Replay stored webhooks that were stuck or unplaced; exit 1 where one still is. Safe to repeat."""
    replayed = run(_replay(config, webhook))
    if json_:
        print_json(replayed)
    else:
        columns = ("id", "state", "events", "note")
        print_table(columns, [[str(one[name]) for name in columns] for one in replayed])
    left = sum(one["state"] != "processed" for one in replayed)
    if left:
        raise Failure(f"{left} of {len(replayed)} are still open")


async def _replay(config: Path, webhook: str | None) -> list[dict[str, Any]]:
    wanted = [webhook] if webhook is not None else await _open(config)
    return [await call(config, "POST", f"/v1/rail_webhooks/{one}/replay") for one in wanted]


async def _open(config: Path) -> list[str]:
    settings, _ = settings_of(config)
    reads, table = Reads(settings.service.database), table_of(RawWebhook)
    try:
        rows = await reads.all(
            select(table.c.id).where(table.c.state.in_(OPEN)).order_by(table.c.id).limit(WEBHOOKS_MAX)
        )
    finally:
        await reads.close()
    return [row["id"] for row in rows]
