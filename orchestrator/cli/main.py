"""``crossrail``: exit 0 = fine, 1 = the answer is no, 2 = wrong usage or configuration."""

from __future__ import annotations

import sys

import typer

from orchestrator.cli import (
    data,
    deposits,
    doctor,
    events,
    payouts,
    people,
    prices,
    rails_and_rates,
    reviews,
    rules,
    serve,
    signer,
    sweeps,
    usage,
)
from orchestrator.cli.console import Failure

app = typer.Typer(
    name="crossrail",
    help="Top-ups over card, local method and USDT: quoted, routed, confirmed, credited once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
serve.register(app)
rules.register(app)
rails_and_rates.register(app)
data.register(app)
payouts.register(app)
people.register(app)
usage.register(app)
prices.register(app)
doctor.register(app)
signer.register(app)
sweeps.register(app)
events.register(app)
reviews.register(app)
deposits.register(app)


def main() -> None:
    """Run one command."""
    from orchestrator.config_source import ConfigInvalid
    from orchestrator.database.sqlite_backend import DatabaseInUse

    try:
        app()
    except ConfigInvalid as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None
    except DatabaseInUse as error:
        print(f"crossrail: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except Failure as error:
        print(f"crossrail: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None
