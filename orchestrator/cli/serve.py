"""``crossrail serve``, ``crossrail demo``: the service, with its sandbox, and the scripted main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run

PortOption = Annotated[int | None, typer.Option("--port", "-p", envvar="PORT", help="Where to listen.")]


def register(app: typer.Typer) -> None:
    app.command("serve")(serve)
    app.command("demo")(demo)
    database = typer.Typer(help="The database's schema.", no_args_is_help=True)
    database.command("upgrade")(upgrade)
    database.command("roles")(roles)
    app.add_typer(database, name="db")


def serve(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    port: PortOption = None,
    api_only: Annotated[bool, typer.Option("--api-only", help="No workers in this process.")] = False,
    workers_only: Annotated[bool, typer.Option("--workers-only", help="No HTTP in this process.")] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Make a merchant, a key and a checkout link, and play the buyers once.")
    ] = False,
) -> None:
    """Run the API and the workers until Ctrl-C (SIGTERM); a sandbox serves its simulators beside them."""
    if api_only and workers_only:
        raise Failure("--api-only and --workers-only leave nothing to run: give one of them", 2)
    from orchestrator.cli.service import Service, Show

    service = Service.prepare(config, port, with_api=not workers_only, with_workers=not api_only)
    run(service.run(Show.from_environment() if demo else None))


def demo(
    *,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
    keep: Annotated[Path | None, typer.Option("--keep", help="Keep the demo's database in this folder.")] = None,
) -> None:
    """Play the main job against the sandbox: buyers of several countries, every rail, faults; check the books.

    Exit 0 only if every buyer was credited exactly once and the books balance.
    """
    from orchestrator.cli.demo import play

    report = run(play(config, keep))
    if json_:
        print_json(report.to_json())
    else:
        report.print()
    if not report.ok:
        raise Failure("the demo did not end as it should: see above")


def upgrade(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Bring the database to the newest schema. Safe to repeat."""
    import asyncio

    from orchestrator.cli.console import settings_of
    from orchestrator.database import migrate

    settings, _ = settings_of(config)
    migrate.upgrade(settings.service.database)
    current, head = asyncio.run(migrate.current_and_head(settings.service.database))
    if json_:
        print_json({"revision": current, "head": head, "ok": current == head})
    else:
        print(f"database at revision {current}")


def roles(
    *,
    print_: Annotated[bool, typer.Option("--print", help="Print the SQL that makes the role, for psql.")] = False,
    role: Annotated[str, typer.Option(help="What the role is called.")] = "crossrail_app",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Say whether the service's PostgreSQL role can do no more than add to append-only tables; exit 1 where it can."""
    from orchestrator.cli.console import settings_of
    from orchestrator.database.roles import BadRole, rights_too_many, roles_sql

    if print_:
        try:
            sql = roles_sql(role)
        except BadRole as error:
            raise Failure(str(error), 2) from None
        if json_:
            print_json({"role": role, "sql": sql})
        else:
            print(sql, end="")
        return
    settings, _ = settings_of(config)
    url = settings.service.database
    found = [] if url.startswith("sqlite") else run(rights_too_many(url))
    if json_:
        print_json({"ok": not found, "rights_too_many": found})
    else:
        print("\n".join(found) or "nothing append-only can be changed by this role"
              + (": SQLite has no roles, triggers refuse it" if url.startswith("sqlite") else ""))  # fmt: skip
    if found:
        raise Failure("the service's role may change append-only tables: see crossrail db roles --print")
