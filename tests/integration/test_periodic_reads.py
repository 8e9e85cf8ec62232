"""What workers ask every few seconds is found by an index: no table that grows with payments is read whole for it.

On SQLite, which plans by what the statement says alone; PostgreSQL takes the same indexes once its tables are large.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Engine

from adapters.base import ScansChain
from orchestrator.payments.chain_balances import ChainBalances
from orchestrator.payments.sightings import Network
from orchestrator.workers.roster import workers
from orchestrator.workers.supervisor import PeriodicWorker
from tests.support.world import world

RARE: Final = {"dispute_rates", "reconciliation", "chain_reconciliation", "runway"}
"""Once in ten minutes or less, over a month or all days."""
SMALL: Final = {"settlement_cursor", "merchant", "shard", "merchant_rules"}
"""A row for each merchant, book or rail account (of merchant_rules, by its key alone, for each version)."""
KNOWN: Final = {("earnings", "earning")}
"""One row for each book and day, in the order of its key."""
PARTIAL: Final = {"account_position", "attempt_in_flight", "refund_watch", "x402_attempt_settling"}
"""Indexes that hold what is open only: one is read whole."""
BY_ADDRESS: Final = ("deposit_recipient", "stray_transfer_recipient", "chain_transaction_nonce")


async def test_no_worker_reads_a_whole_table_every_few_seconds(sqlite_url: str, tmp_path: Path) -> None:
    whole: set[tuple[str, str]] = set()
    async with world(sqlite_url, tmp_path, loops=False) as here:
        for country in ("BR", "DE", "VN"):
            session = await here.session(country)
            await here.pay_at_rail(await here.select(session))
        for worker in workers(here.services):
            if not isinstance(worker, PeriodicWorker) or worker.name in RARE:
                continue
            with asked() as statements:
                await worker._action()  # one round of what it does
            whole |= {(worker.name, table) for table in read_whole(tmp_path / "crossrail.db", statements)}
    assert whole == KNOWN, "what is known is found, so the looking works; nothing else is"


async def test_what_came_to_addresses_is_found_by_the_address(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path, loops=False) as here:
        chain = next(watch.adapter for watch in here.watches if watch.network.family == "tron")
        assert isinstance(chain, ScansChain)
        looks = ChainBalances(chain, chain, here.services.writer, here.services.reads)
        addresses = [chain.derive_address(index) for index in range(200)]
        with asked() as statements:
            await looks.known(Network.of(chain.account, chain), chain.tokens[0], addresses, until=1)
        plans = [" ".join(plan(tmp_path / "crossrail.db", *one)) for one in statements.items()]
    assert len(plans) == len(BY_ADDRESS)
    for steps, index in zip(plans, BY_ADDRESS, strict=True):
        assert f"USING INDEX {index} (network=? AND " in steps


def plan(file: Path, statement: str, parameters: Any) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]


@contextmanager
def asked() -> Iterator[dict[str, Any]]:
    """Collect the queries that are made meanwhile, each with its last parameters."""
    found: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_more: Any) -> None:
        if statement.startswith("SELECT"):
            found[statement] = parameters

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def read_whole(file: Path, statements: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for statement, parameters in statements.items():
        for step in plan(file, statement, parameters):
            scan = re.match(r"SCAN (\w+)(?: USING (?:COVERING )?INDEX (\w+))?$", step)
            if scan is not None and scan[1] not in SMALL and scan[2] not in PARTIAL:
                found.add(scan[1])
    return found
