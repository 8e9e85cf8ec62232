"""``crossrail``: exit 0 = fine, 1 = the answer is no, 2 = wrong usage or configuration."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Final

import typer

from orchestrator.cli.console import Failure

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "serve": ("serve", "demo", "db"),
    "rules": ("rules",),
    "rails_and_rates": ("rates", "addresses"),
    "data": ("ledger", "payments", "wallets"),
    "payouts": ("payouts",),
    "people": ("merchants", "keys"),
    "usage": ("usage",),
    "prices": ("prices",),
    "doctor": ("doctor",),
    "signer": ("signer",),
    "sweeps": ("sweeps",),
    "events": ("events",),
    "refunds": ("refunds", "disputes"),
    "reconcile": ("reconcile",),
    "reviews": ("reviews",),
    "deposits": ("deposits",),
}
"""Which file has which commands."""


def program(word: str = "") -> typer.Typer:
    """Return the commands: only those of one file where ``word`` names one of them, because loading all takes seconds."""
    app = typer.Typer(
        name="crossrail",
        help="Top-ups over card, local method and USDT: quoted, routed, confirmed, credited once.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(_whole)  # a program of one command would take its name for an argument
    wanted = [module for module, words in MODULES.items() if word in words] or MODULES
    for module in wanted:
        importlib.import_module(f"orchestrator.cli.{module}").register(app)
    return app


def _whole() -> None:
    """Top-ups over card, local method and USDT: quoted, routed, confirmed, credited once."""


def main() -> None:
    """Run one command."""
    try:
        program(sys.argv[1] if len(sys.argv) > 1 else "")()
    except Failure as error:
        print(f"crossrail: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None
    except Exception as error:
        said = _wrong_use(error)
        if said is None:
            raise
        print(said, file=sys.stderr)
        raise SystemExit(2) from None


def _wrong_use(error: Exception) -> str | None:
    """Say what is wrong with the configuration or the database; None for a bug. The imports wait for such an error."""
    from orchestrator.config_source import ConfigInvalid
    from orchestrator.database.sqlite_backend import DatabaseInUse

    if isinstance(error, ConfigInvalid):
        return str(error)
    return f"crossrail: {error}" if isinstance(error, DatabaseInUse) else None
