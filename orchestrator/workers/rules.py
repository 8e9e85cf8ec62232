"""Rules: the file and the database are followed, a canary is guarded, a shadow is counted."""

from __future__ import annotations

import asyncio
from typing import Final

import orjson
import structlog

from orchestrator.database.unit import Row
from orchestrator.routing.catalogue import OptionKey
from orchestrator.routing.control import RuleControl
from orchestrator.routing.decision import Decision
from orchestrator.routing.eligibility import health_of
from orchestrator.routing.engine import decide
from orchestrator.routing.health import HealthState
from orchestrator.routing.rollout import Guards, ShadowCount, breach
from orchestrator.routing.trial import arms
from orchestrator.routing.versions import By
from orchestrator.services import Services

FOLLOW_POLL_S: Final = 1.0
GUARD_POLL_S: Final = 5.0
SHADOW_POLL_S: Final = 2.0
SHADOW_BATCH: Final = 500
"""Decisions asked about before anybody else gets a turn: some ten milliseconds."""
READ_TIMEOUT_S: Final = 60
_log = structlog.get_logger("rules")


async def follow(control: RuleControl) -> bool:
    """Follow the file and the database once."""
    await control.run_once()
    return False


async def guard(services: Services) -> bool:
    """Look at a canary once: note how both sides do, and call the draft back where it does worse than it may."""
    state = await services.rules.versions.state()
    if state is None or state.trial is None or state.trial["kind"] != "canary":
        return False
    trial: Row = state.trial
    async with asyncio.timeout(READ_TIMEOUT_S):
        base, draft = await arms(services.reads, trial)
    figures = {"base": base.to_json(), "draft": draft.to_json(), "at_us": services.clock.now_us()}
    why = breach(Guards.from_json(trial["guards"]), base, draft)
    if why is None:
        if orjson.dumps({**orjson.loads(trial["figures"]), "at_us": figures["at_us"]}) != orjson.dumps(figures):
            await services.rules.versions.note_figures(trial["number"], figures)
        return False
    if await services.rules.versions.end_trial(trial["number"], "rolled_back", By("guard", why), figures):
        _log.error("canary_rolled_back", trial=trial["number"], ruleset=trial["hash"], reason=why)
    await services.rules.follow()
    return False


async def shadow(services: Services) -> bool:
    """Ask the draft in the shadow about decisions that were made; True: there are more."""
    desk, trial = services.routing, services.routing.trial
    if trial is None or trial.kind != "shadow":
        desk.shadowed.clear()
        return False
    counted = ShadowCount()
    for _ in range(min(SHADOW_BATCH, len(desk.shadowed))):
        made: Decision = desk.shadowed.popleft()
        again = decide(
            made.facts,
            trial.ruleset,
            made.catalogue,
            rates=made.rates.get,
            health=_health(made),
            supports=desk.supports,
        )
        counted = counted.plus(ShadowCount.of(made.facts.country, _keys(made), _keys(again)))
    if counted.compared:
        await services.rules.versions.count_shadow(trial.number, counted)
    return len(desk.shadowed) >= SHADOW_BATCH


def _health(made: Decision) -> dict[OptionKey, HealthState]:
    options = zip(made.catalogue.options, made.option_outcomes, strict=True)
    return health_of((option.key, outcome) for option, outcome in options)


def _keys(decision: Decision) -> tuple[object, ...]:
    return tuple((offer.rail, offer.account, offer.method) for offer in decision.offers)
