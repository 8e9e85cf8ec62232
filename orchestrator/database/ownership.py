"""One owner at a time for a group of merchants: several processes on one PostgreSQL, without waiting for each other.

Row locks alone keep the books right; two writers on the same accounts are slow, because each waits for the other's
commit. So merchants are put into groups, a group has one owning process, and the API sends hot requests there.

- A process that is alive has a seat: a row of ``writer_lease`` with a negative number. Groups are shared out evenly among
  the seats; who has too many lets some go, who has too few takes those whose lease ran out (by the database's clock).
- Taking a group raises its epoch. Every flush reads the rows of the groups that its process believes to own FOR SHARE, and
  a unit whose epoch is over is not executed (NotOwner): a process that slept does not write for what it lost meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import Gauge

from orchestrator.database.sleepers import end_sleepers
from orchestrator.database.unit import Claim, Row

if TYPE_CHECKING:
    import asyncpg

GROUPS: Final = 64
LEASE_S: Final = 10.0
_log = structlog.get_logger("ownership")
_owned = Gauge("crossrail_writer_groups", "Wallet groups that this process owns")

_RENEW = """WITH mine AS (SELECT group_id FROM writer_lease WHERE owner = $1 AND group_id = ANY($2::bigint[])
 ORDER BY group_id FOR UPDATE)
 UPDATE writer_lease t SET expires_us = $3 FROM mine WHERE t.group_id = mine.group_id RETURNING t.group_id, t.epoch"""
_TAKE = """INSERT INTO writer_lease AS t (group_id, owner, address, epoch, expires_us)
 SELECT g, $1, $2, 1, $4 FROM unnest($3::bigint[]) AS g ORDER BY g
 ON CONFLICT (group_id) DO UPDATE SET owner = $1, address = $2, epoch = t.epoch + 1, expires_us = $4
 WHERE t.expires_us < $5 RETURNING t.group_id, t.epoch"""
_LEAVE = "UPDATE writer_lease SET expires_us = 0 WHERE owner = $1"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


@lru_cache(maxsize=65_536)
def group_of(merchant_id: str, groups: int) -> int:
    """Return a merchant's group: the same in every process and for ever."""
    return int.from_bytes(hashlib.sha256(merchant_id.encode()).digest()[:8]) % groups


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with which groups."""

    keep: Sequence[int]
    take: Sequence[int]
    let_go: Sequence[int]


def plan(rows: Sequence[Row], me: str, groups: int, now_us: int) -> Plan:
    """Share the groups out among the processes that are alive. Pure; ``rows`` are those of ``writer_lease``."""
    seats = {row["owner"] for row in rows if row["group_id"] < 0 and row["expires_us"] >= now_us} | {me}
    share = -(-groups // len(seats))
    leases = {row["group_id"]: row for row in rows if row["group_id"] >= 0}
    mine = sorted(number for number, row in leases.items() if row["owner"] == me and row["expires_us"] >= now_us)
    free = [number for number in range(groups) if number not in leases or leases[number]["expires_us"] < now_us]
    return Plan(mine[:share], free[: max(0, share - len(mine))], mine[share:])


class Ownership:
    """What this process owns, and where the owners of the rest are."""

    def __init__(self, dsn: str, owner: str, address: str, *, groups: int = GROUPS, lease_s: float = LEASE_S) -> None:
        self._dsn = dsn.replace("postgresql+asyncpg://", "postgresql://", 1)
        self._owner = owner
        self._address = address
        self._groups = groups
        self._lease_s = lease_s
        self._held: dict[int, int] = {}
        self._others: dict[int, tuple[str, float]] = {}
        """Address, and until when by ``time.monotonic``."""
        self._connection: asyncpg.Connection[Any] | None = None
        self._task: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()
        self._looked = asyncio.Event()

    async def open(self) -> None:
        await self.look()
        self._task = asyncio.create_task(self._loop(), name="ownership")

    async def close(self) -> None:
        """Give everything back, so that nobody has to wait for the leases to run out."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._held = {}
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            try:
                await connection.execute(_LEAVE, self._owner)
                await connection.close(timeout=5)
            except _database_errors():
                connection.terminate()  # the leases run out by themselves

    @property
    def held(self) -> Mapping[int, int]:
        """Groups that this process believes to own, and their epochs."""
        return self._held

    def claim(self, merchant_id: str) -> Claim | None:
        """Return what a unit of this merchant says at its flush; None where another process owns the group, or nobody."""
        group = group_of(merchant_id, self._groups)
        epoch = self._held.get(group)
        return None if epoch is None else Claim(group, epoch)

    def elsewhere(self, merchant_id: str) -> str | None:
        """Return the address of the merchant's owner where that is another process, alive as far as we know."""
        found = self._others.get(group_of(merchant_id, self._groups))
        return found[0] if found is not None and found[1] > time.monotonic() else None

    def lost(self, claim: Claim) -> None:
        """A flush found that the epoch is over: forget the group and look who has it."""
        if self._held.get(claim.group) == claim.epoch:
            del self._held[claim.group]
        self._hurry.set()

    async def looked(self) -> None:
        """Wait until the leases were looked at again, or for as long as that may take."""
        self._hurry.set()
        self._looked.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), self._lease_s / 3)

    async def _loop(self) -> None:
        while True:
            self._hurry.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), self._lease_s / 3)
            try:
                await self.look()
                self._looked.set()
            except _database_errors() as error:
                _log.warning("leases_not_renewed", error=type(error).__name__, text=str(error)[:200])
                await asyncio.sleep(self._lease_s / 20)

    async def look(self) -> None:
        """Renew what is ours, let go, take; learn who has the rest."""
        connection = await self._connect()
        now_us = await connection.fetchval(_NOW)
        until_us = now_us + int(self._lease_s * 1e6)
        rows = [dict(row) for row in await connection.fetch("SELECT * FROM writer_lease ORDER BY group_id")]
        await self._sit(connection, rows, now_us, until_us)
        wanted = plan(rows, self._owner, self._groups, now_us)
        held = dict(await connection.fetch(_RENEW, self._owner, wanted.keep, until_us))
        self._held = held
        if wanted.let_go:
            await connection.fetch(_RENEW, self._owner, wanted.let_go, 0)
        if wanted.take:
            # It waits for flushes of the old owner that read the row and have not committed; then it is tried again. One
            # that sleeps in the middle of its flush would be waited for for ever.
            await end_sleepers(connection, self._lease_s)
            held |= dict(await connection.fetch(_TAKE, self._owner, self._address, wanted.take, until_us, now_us))
        _owned.set(len(held))
        offset_s = time.monotonic() - now_us / 1e6
        self._others = {
            row["group_id"]: (row["address"], row["expires_us"] / 1e6 + offset_s)
            for row in rows
            if row["group_id"] >= 0 and row["owner"] != self._owner and row["group_id"] not in held
        }

    async def _sit(self, connection: asyncpg.Connection[Any], rows: Sequence[Row], now_us: int, until_us: int) -> None:
        """Say that this process is alive: keep its seat, or take a free one."""
        seats = {row["group_id"]: row for row in rows if row["group_id"] < 0}
        mine = [number for number, row in seats.items() if row["owner"] == self._owner]
        if mine:
            await connection.fetch(_RENEW, self._owner, mine, until_us)
            return
        free = next(number for number in count(-1, -1) if number not in seats or seats[number]["expires_us"] < now_us)
        # Where another process was faster, the next look finds another seat.
        await connection.fetch(_TAKE, self._owner, self._address, [free], until_us, now_us)

    async def _connect(self) -> asyncpg.Connection[Any]:
        import asyncpg

        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(
                self._dsn,
                timeout=5,
                command_timeout=self._lease_s,
                server_settings={
                    "application_name": "crossrail-leases",
                    "lock_timeout": str(int(self._lease_s * 250)),
                },
            )
        return self._connection


def _database_errors() -> tuple[type[Exception], ...]:
    import asyncpg

    return (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
