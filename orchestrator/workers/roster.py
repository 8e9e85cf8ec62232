"""Who works in a running service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from adapters.base import ScansChain
from orchestrator.events.delivery import DeliveryPolicy
from orchestrator.events.targets import TargetPolicy
from orchestrator.payments.chain_balances import ChainBalances
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.routing.exposure import RateRecorder
from orchestrator.services import Services
from orchestrator.workers import rail_events, rules
from orchestrator.workers.alarms import Alarms
from orchestrator.workers.auto_topup import AutoTopupWorker
from orchestrator.workers.chain_watch import ChainWatch
from orchestrator.workers.delivery import DeliveryWorker
from orchestrator.workers.proof import AnchorWorker, ProofWorker
from orchestrator.workers.supervisor import PeriodicWorker, Worker

INBOX_POLL_S = 1.0
WATCH_POLL_S = 0.5
EXPIRY_POLL_S = 1.0
REFUNDS_POLL_S = 1.0
DISPUTE_LISTS_POLL_S = 300.0
DISPUTE_RATES_POLL_S = 3600.0
ALARMS_POLL_S = 15.0
RECONCILIATION_POLL_S = 86_400.0
HOLDS_POLL_S = 0.5
CREDIT_EXPIRY_POLL_S = 1.0
RUNWAY_POLL_S = 600.0
RATES_POLL_S = 60.0
EARNINGS_POLL_S = 15.0
SWEEPS_POLL_S = 5.0
TOPUPS_POLL_S = 2.0
BALANCES_POLL_S = 60.0
CHAIN_POLL_SHARE = 0.5
"""Of a chain's block time: how long to wait before asking for the next block."""


def workers(services: Services) -> list[Worker]:
    """Return every worker of this process. All of them may run in several processes at once."""
    roster: list[Worker] = [
        PeriodicWorker("inbox", INBOX_POLL_S, _more(services.inbox.run_once), services.inbox.arrived),
        PeriodicWorker("settlement", WATCH_POLL_S, _more(services.watch.run_once), services.watch.nudged),
        PeriodicWorker("reservations", REFUNDS_POLL_S, _more(services.reservations.run_once)),
        PeriodicWorker("refunds", REFUNDS_POLL_S, _more(RefundWatch(services.refunds).run_once)),
        PeriodicWorker("disputes", REFUNDS_POLL_S, _more(services.disputes.run_once)),
        PeriodicWorker("dispute_lists", DISPUTE_LISTS_POLL_S, _once(services.disputes.poll)),
        PeriodicWorker("dispute_rates", DISPUTE_RATES_POLL_S, _once(services.dispute_rates.run_once)),
        PeriodicWorker("reconciliation", RECONCILIATION_POLL_S, _once(services.reconciliation.run_once)),
        PeriodicWorker("chain_reconciliation", RECONCILIATION_POLL_S, _once(services.chain_desk.run_once)),
        PeriodicWorker("alarms", ALARMS_POLL_S, Alarms(services).run_once),
        PeriodicWorker("expiry", EXPIRY_POLL_S, _more(services.expiry.run_once)),
        PeriodicWorker("topups", TOPUPS_POLL_S, _once(services.topup_watch.run_once)),
        PeriodicWorker("earnings", EARNINGS_POLL_S, _more(services.earnings.run_once)),
        PeriodicWorker("holds", HOLDS_POLL_S, _more(services.holds.expire_due)),
        PeriodicWorker("credit_expiry", CREDIT_EXPIRY_POLL_S, _more(services.credit_expiry.expire_due)),
        PeriodicWorker("runway", RUNWAY_POLL_S, _once(services.runway.run_once)),
        PeriodicWorker("rates", RATES_POLL_S, _rates(services)),
        PeriodicWorker("canary", rules.GUARD_POLL_S, partial(rules.guard, services)),
        PeriodicWorker("rail_events", rail_events.POLL_S, rail_events.RailEvents(services).run_once),
        *watchers(services),
        AutoTopupWorker(services.writer, services.auto_topups, services.mandates),
        AnchorWorker(services.anchors, services.settings.proof.anchor_poll_s),
        ProofWorker(
            services.writer,
            services.reads,
            services.clock,
            services.anchors,
            database=services.settings.service.database,
            hour_utc=services.settings.proof.check_hour_utc,
        ),
        DeliveryWorker(
            services.writer,
            services.reads,
            services.clock,
            policy=DeliveryPolicy(time_scale=services.settings.webhooks.retry_scale),
            targets=TargetPolicy(allow_private=services.settings.webhooks.allow_private_networks),
        ),
    ]
    if services.sweeps.machine.networks:
        roster.append(PeriodicWorker("sweeps", SWEEPS_POLL_S, _once(services.sweeps.run_once)))
        roster.append(PeriodicWorker("chain_refunds", SWEEPS_POLL_S, _once(services.chain_refunds.run_once)))
        roster.append(PeriodicWorker("suspense_refunds", SWEEPS_POLL_S, _once(services.suspense_refunds.run_once)))
    for (rail, account), adapter in services.rails.items():
        if isinstance(adapter, ScansChain):
            watch = ChainWatch(adapter, adapter, services.deposits, services.reads, services.health)
            every_s = max(0.05, adapter.block_seconds * CHAIN_POLL_SHARE)
            roster.append(PeriodicWorker(f"chain:{rail}/{account}", every_s, _once(watch.run_once)))
            if not services.settings.rails[rail].accounts[account].simulated:  # a sandbox forgets when it restarts
                balances = ChainBalances(adapter, adapter, services.writer, services.reads)
                roster.append(PeriodicWorker(f"balances:{rail}/{account}", BALANCES_POLL_S, _told(balances.look)))
    return roster


def watchers(services: Services) -> list[Worker]:
    """Return who works in every process, one that only serves HTTP too: it follows the rules in force."""
    return [
        PeriodicWorker("rules", rules.FOLLOW_POLL_S, partial(rules.follow, services.rules)),
        PeriodicWorker("knowledge", rail_events.KNOWLEDGE_POLL_S, partial(rail_events.learn, services)),
        PeriodicWorker("shadow", rules.SHADOW_POLL_S, partial(rules.shadow, services)),
    ]


def _more(run_once: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[bool]]:
    """Look again at once while there was something to do."""

    async def action() -> bool:
        return await run_once() > 0

    return action


def _once(run_once: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[bool]]:
    async def action() -> bool:
        await run_once()
        return False

    return action


def _told(look: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[bool]]:
    async def action() -> bool:
        await look()
        return False

    return action


def _rates(services: Services) -> Callable[[], Awaitable[bool]]:
    recorder = RateRecorder(services.writer, services.reads, services.pricer.market)

    async def action() -> bool:
        async with asyncio.timeout(60):
            await services.pricer.market.refresh(services.clock.now())
            await recorder.run_once(services.clock.now())
        return False

    return action
