"""Credits deposits that are deep enough, provisionally or for good, and takes back what fell away.

Each in a unit of its own that looks at the cursor and at the header under the deposit again, inside its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import Counter
from sqlalchemy import func, select, tuple_

from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Deposit, table_of
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.payments.crediting import holding_of
from orchestrator.payments.deposit_credit import DepositCredit, NotFinal, deposit_credit_locks, money_of
from orchestrator.payments.deposit_reversal import DepositReversal, reversal_locks
from orchestrator.payments.finality import last_final
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.pricing import Price
from orchestrator.payments.sightings import Network
from rates.money import Asset, Money

PAGE: Final = 500
Vouch = Callable[[Row], Awaitable[bool]]
_log = structlog.get_logger("deposits")
_placed = Counter("crossrail_deposits", "Deposits placed, by how", ["network", "result"])


@dataclass(frozen=True, slots=True)
class DepositDesk:
    writer: Writer
    reads: Reads
    pricer: Pricer
    clock: Clock

    async def reverse_fallen(self, network: Network) -> int:
        """Take back what the blocks that fell away had brought and the new branch has not; return how many."""
        table = table_of(Deposit)
        query = select(table).where(table.c.network == network.name, table.c.fallen_us.is_not(None))
        done = 0
        async for rows in self._pages(query, table.c.merchant_id, table.c.id):
            done += await self._submit(network, [(row, self._reversal_unit(row)) for row in rows])
        return done

    async def settle(self, network: Network, cursor: Row, vouch: Vouch | None = None) -> int:
        """Credit every deposit that is deep enough under the cursor; return how many were placed.

        One that cannot be placed now (another scanner went back on a fork, a full cap, a bug) waits and holds up no
        other. ``vouch``: asks a second node about one deposit; needed from ``second_opinion_from`` on.
        """
        table = table_of(Deposit)
        rule = network.finality
        final = last_final(rule, cursor["number"], cursor["finalized_number"])
        query = select(table).where(
            table.c.network == network.name,
            table.c.status.in_(("detected", "provisional")),
            table.c.block_number <= final,
            table.c.fallen_us.is_(None),
        )
        done = 0
        async for rows in self._pages(query, table.c.block_number, table.c.id):
            vouched = [row for row in rows if await self._vouched(network, row, vouch)]
            done += await self._submit(network, [(row, self._credit_unit(network, row, "credit")) for row in vouched])
        if rule.tiers:
            done += await self._credit_early(network, final, cursor["number"] - rule.tiers[0].blocks + 1)
        return done

    async def _vouched(self, network: Network, row: Row, vouch: Vouch | None) -> bool:
        """Say whether a deposit may be credited as far as nodes are concerned. A large one needs a second node's word."""
        limit = network.finality.second_opinion_from
        if limit is None:
            return True
        arrival = self.arrival(network, row)
        if not isinstance(arrival, str) and arrival.received().value.units < limit.units:
            return True
        if vouch is None or not await vouch(row):
            _placed.labels(network.name, "not_vouched").inc()
            _log.error("deposit_not_vouched", network=network.name, deposit=row["id"], tx=row["tx_hash"])
            return False
        return True

    async def _credit_early(self, network: Network, above: int, up_to: int) -> int:
        """Credit provisionally what a tier allows, one after the other: each counts against the chain's cap."""
        table = table_of(Deposit)
        query = select(table).where(
            table.c.network == network.name,
            table.c.status == "detected",
            table.c.block_number > above,
            table.c.block_number <= up_to,
            table.c.generation == 0,
            table.c.fallen_us.is_(None),
        )
        done = 0
        async for rows in self._pages(query, table.c.block_number, table.c.id):
            open_units = await self._open_on(network)
            units = []
            for row in rows:
                unit, worth = self._early_unit(network, row, open_units)
                if unit is not None:
                    open_units += worth
                    units.append((row, unit))
            done += await self._submit(network, units)
        return done

    def _early_unit(self, network: Network, row: Row, open_units: int) -> tuple[Unit | None, int]:
        arrival = self.arrival(network, row)
        if isinstance(arrival, str):
            return None, 0
        worth = arrival.received().value.units  # at least the principal, whatever rate was locked nearby
        if worth > network.finality.tiers[-1].up_to.units * 2:
            return None, 0
        return self._credit_unit(network, row, "early", open_units), worth

    async def _open_on(self, network: Network) -> int:
        table = table_of(Deposit)
        row = await self.reads.one(
            select(func.coalesce(func.sum(table.c.provisional_units), 0).label("units")).where(
                table.c.network == network.name, table.c.status == "provisional"
            )
        )
        return 0 if row is None else int(row["units"])

    async def _pages(self, query: Any, *order: Any) -> AsyncIterator[list[Row]]:
        """Yield pages of rows by their keys, so that rows which stay as they are hold up none behind them."""
        after: tuple[Any, ...] | None = None
        while True:
            paged = query if after is None else query.where(tuple_(*order) > tuple_(*after))
            rows = await self.reads.all(paged.order_by(*order).limit(PAGE))
            if rows:
                yield rows
            if len(rows) < PAGE:
                return
            after = tuple(rows[-1][column.name] for column in order)

    async def _submit(self, network: Network, units: Sequence[tuple[Row, Unit]]) -> int:
        results = await asyncio.gather(*(self.writer.submit(unit) for _, unit in units), return_exceptions=True)
        done = 0
        for (row, _), result in zip(units, results, strict=True):
            if isinstance(result, NotFinal):
                _log.debug("deposit_waits", network=network.name, deposit=row["id"], text=str(result))
            elif isinstance(result, BaseException):
                _log.error("deposit_not_placed", network=network.name, deposit=row["id"], error=repr(result)[:300])
            else:
                done += 1
                if not result.duplicate:
                    _placed.labels(network.name, str(result.answer.get("result"))).inc()
        return done

    def _credit_unit(self, network: Network, row: Row, step: str, chain_units: int = 0) -> Unit:
        holding = holding_of(network.account.rail, network.account.account, network.name)
        money = money_of(network, row, Money(row["units"], Asset.parse(row["asset"])), holding)
        arrival = self.arrival(network, row)

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return DepositCredit(view, changes, network, money, arrival, chain_units).run()

        # The generation makes a credit after a reorganization a new unit; the money claim stays the same for ever.
        key = f"{step}:{network.name}:{money.rail_id}:{row['generation']}"
        return Unit(row["merchant_id"], row["mode"], key, deposit_credit_locks(network, row, money), decide)

    def arrival(self, network: Network, row: Row) -> Price | str:
        """Price a deposit at the rate of now; or the reason why it cannot be."""
        account = network.account
        total = Money(row["units"], Asset.parse(row["asset"]))
        return self.pricer.arrival(
            total, rail=account.rail, account=account.account, method=row["method"], now=self.clock.now()
        )

    def _reversal_unit(self, row: Row) -> Unit:
        merchant, deposit = row["merchant_id"], row["id"]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            return DepositReversal(view, changes, merchant, deposit).run()

        # No key: what is marked as fallen says whether it is still to be done.
        return Unit(merchant, row["mode"], None, reversal_locks(row), decide)
