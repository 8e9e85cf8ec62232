"""A short storm on each database in ``make test``, a long one over two processes and PostgreSQL in ``make soak``.

A seed draws the deaths, the weather and the buyers; clocks, threads and sockets are real, so that a story is told again only
as a rule. What a storm finds wrong is therefore kept: the logs of both processes lie in the test's folder.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storm.storm import storm
from tests.support.postgres import PostgresServer, start_postgres

SECONDS = 12.0


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A server that may be killed."""
    server = start_postgres()
    yield server
    server.stop()


async def test_two_processes_and_postgresql_die_at_random_and_no_unit_is_lost_or_doubled(
    tmp_path: Path, own_postgres: PostgresServer
) -> None:
    await _rages(tmp_path, 1, SECONDS, own_postgres)


async def test_the_one_process_on_sqlite_dies_at_random_and_no_unit_is_lost_or_doubled(tmp_path: Path) -> None:
    await _rages(tmp_path, 2, SECONDS, None)


@pytest.mark.soak
async def test_a_storm_for_as_long_as_is_asked(
    tmp_path: Path, own_postgres: PostgresServer, soak_seed: int, soak_seconds: float
) -> None:
    """``DURATION_S=1800 make soak`` for the half hour that a release wants."""
    await _rages(tmp_path, soak_seed, soak_seconds, own_postgres)


async def _rages(folder: Path, seed: int, seconds: float, postgres: PostgresServer | None) -> None:
    report = await storm(folder, seed, seconds, postgres)
    said = "\n".join(report.lines())
    sys.stdout.write(said + "\n")
    assert not report.wrong, f"{said}\nlogs: {folder}"
    assert report.counts["top-ups paid"] > 5
