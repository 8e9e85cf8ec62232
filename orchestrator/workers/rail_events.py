"""Tells merchants when a rail does badly and when it is well again; keeps what ranking knows up to date."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import structlog
from prometheus_client import Gauge
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.tables import Merchant, table_of
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.events.catalog import EventType
from orchestrator.routing import figures
from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.exposure import Exposure, exposures, volatilities
from orchestrator.routing.health import HealthState
from orchestrator.services import Services
from orchestrator.sweeps.costs import transfer_costs

POLL_S: Final = 2.0
KNOWLEDGE_POLL_S: Final = 60.0
READ_TIMEOUT_S: Final = 120
SAME_S: Final = 60
"""Two processes that see the same change within a minute tell it once."""
TOLD_AT_ONCE: Final = 100
_log = structlog.get_logger("rails")


@dataclass(slots=True)
class RailEvents:
    """Remembers which rails were told to do badly."""

    services: Services
    unwell: dict[OptionKey, HealthState] = field(default_factory=dict)

    async def run_once(self) -> bool:
        """Compare what is with what was told; tell what changed."""
        services = self.services
        snapshot = services.health.snapshot(services.clock.now())
        for key, state in snapshot.items():
            told = self.unwell.get(key)
            if state is HealthState.HEALTHY and told is not None:
                await self._tell(key, state, EventType.RAIL_RECOVERED)
                del self.unwell[key]
            elif (state is HealthState.DOWN and told is not HealthState.DOWN) or (
                state is HealthState.DEGRADED and told is None
            ):
                await self._tell(key, state, EventType.RAIL_DEGRADED)
                self.unwell[key] = state
        return False

    async def _tell(self, key: OptionKey, state: HealthState, type_: EventType) -> None:
        services = self.services
        rail, account, method = key
        adapter = services.rails.get((rail, account))
        if adapter is None:
            return
        mode, now_us = adapter.account.mode.value, services.clock.now_us()
        report = services.health.report(key, services.clock.now())
        body = {
            "rail": rail, "account": account, "method": method, "state": state.value, "calls": report.calls,
            "failures": report.failures, "at": rfc3339(now_us),
        }  # fmt: skip
        _log.warning("rail_state_changed", rail=rail, account=account, method=method, state=state.value)
        merchants = [row["id"] for row in await services.reads.all(select(table_of(Merchant).c.id))]
        once = f"rail:{'/'.join(key)}:{state.value}:{now_us // (SAME_S * 1_000_000)}"
        for start in range(0, len(merchants), TOLD_AT_ONCE):
            units = [_unit(merchant, mode, once, type_, body) for merchant in merchants[start : start + TOLD_AT_ONCE]]
            await asyncio.gather(*(services.writer.submit(unit) for unit in units))


def _unit(merchant: str, mode: str, once: str, type_: EventType, body: Mapping[str, Any]) -> Unit:
    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.emit(type_, f"{body['rail']}/{body['account']}/{body['method']}", orjson.dumps(body).decode())
        return {}

    locks: Sequence[Any] = ()
    return Unit(merchant, mode, once, locks, decide)


_open_usd = Gauge("crossrail_fx_open_quotes_usd", "Principal of open sessions by currency", ["currency", "mode"])
_held_usd = Gauge("crossrail_fx_unconverted_usd", "Taken and not converted, worth at mid", ["currency", "mode"])


async def expose(services: Services) -> None:
    """Bring the gauges of exposure up to date. Whole dollars: a gauge is for looking at.

    Where it cannot be read the gauges are empty until it can, rather than old, and the log says why: it is only shown,
    so that what is learned beside it, which payments are routed by, does not wait for it.
    """
    found: Sequence[Exposure] = ()
    try:
        found = await exposures(services.reads, services.pricer.market, services.clock.now())
    except Exception:  # noqa: BLE001  # whatever it was: nothing is decided by these gauges
        _log.exception("exposure_not_read")
    _open_usd.clear()
    _held_usd.clear()
    for one in found:
        _open_usd.labels(one.currency, one.mode).set(one.open_usd.units // 10**one.open_usd.asset.scale)
        if one.held_usd is not None:
            _held_usd.labels(one.currency, one.mode).set(one.held_usd.units // 10**9)


async def learn(services: Services) -> bool:
    """Count what settled lately, ask what chains and rates do: ``rank: cost`` and ``rank: success`` go by it from now on."""
    await expose(services)
    desk = services.routing
    if desk.knowledge is None:
        return False
    now_us = services.clock.now_us()
    window_us = desk.ruleset.weights.window_days * 86_400 * 1_000_000
    async with asyncio.timeout(READ_TIMEOUT_S):
        seen = await figures.read(services.reads, max(0, now_us - window_us), now_us)
        chain_fees = await transfer_costs(services.sweeps.machine.networks.values(), services.rails)
    volatility = volatilities(services.pricer.market, services.clock.now())
    desk.knowledge = replace(desk.knowledge, figures=seen, chain_fees=chain_fees, volatility_bps=volatility)
    return False
