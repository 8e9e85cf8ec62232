"""Calling a rail and storing how the call ended. The type of the ending says what may be done next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from tenacity import (
    RetryCallState,
    retry,
    retry_if_exception_type,
    wait_exponential_jitter,
)

from adapters.base import (
    ChargesSaved,
    Mode,
    NoAction,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentStarted,
    RailAdapter,
    RailError,
    RailEvent,
    RailEventKind,
    RailMisconfigured,
    RailUnavailable,
)
from orchestrator.clock import Clock
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.payments.attempt import AttemptStatus
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.offers import offers_of
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story
from orchestrator.payments.wire_json import action_to_json
from orchestrator.routing.health import HealthBoard, outcome_of

CALL_TIMEOUT_S = 40
TRIES_MAX = 3
REST_SECONDS_MAX = 3.0
"""A rail that asks for a longer rest (Retry-After) is passed over: the buyer is shown the next offer."""
AFTER_START_US = 5_000_000
"""First poll of a payment that the buyer was sent to; webhooks are usually faster."""
_log = structlog.get_logger("rail")

Rails = Mapping[tuple[str, str], RailAdapter]

_jitter = wait_exponential_jitter(multiplier=0.1, max=1.0)


def _asked_rest(state: RetryCallState) -> float:
    """Return the seconds for which the rail asked to be left alone, 0 where it did not."""
    error = state.outcome.exception() if state.outcome is not None else None
    return (error.retry_after_seconds or 0.0) if isinstance(error, RailUnavailable) else 0.0


def _wait(state: RetryCallState) -> float:
    return max(_jitter(state), _asked_rest(state))


def _enough(state: RetryCallState) -> bool:
    return state.attempt_number >= TRIES_MAX or _asked_rest(state) > REST_SECONDS_MAX


_when_safe = retry(
    retry=retry_if_exception_type(RailUnavailable),
    wait=_wait,
    stop=_enough,
    reraise=True,
)


@dataclass(frozen=True, slots=True)
class RailCalls:
    """Sends orders and stores the outcome."""

    writer: Writer
    confirmation: Confirmation
    rails: Rails
    health: HealthBoard
    clock: Clock
    unknown_recheck_us: int

    async def send(self, found: AttemptAt, order: PaymentOrder, *, again: bool = False) -> None:
        """Ask the rail to collect and store what came of it. Never raises for how the rail answered.

        ``again``: the order was sent before and its answer was lost. That this call did not reach the rail says
        nothing about the first one, so the outcome stays unknown.
        """
        adapter = self.rails[found.rail, found.account]
        try:
            started = await self._create(adapter, order)
        except PaymentDeclined as no:
            self._note(found, order.method, no)
            await self.confirmation.apply(self._declined(found, no))
        except (RailUnavailable, RailMisconfigured, OutcomeUnknown, TimeoutError) as error:
            self._note(found, order.method, error)
            if again or isinstance(error, (OutcomeUnknown, TimeoutError)):
                next_check_us = self.clock.now_us() + self.unknown_recheck_us
                await self._store(found, lambda scene: scene.unknown(next_check_us))
            else:
                reason = type(error).__name__
                await self._store(found, lambda scene: scene.not_sent(reason))
        else:
            self._note(found, order.method, None)
            await self._store(found, lambda scene: scene.started(started))
            for event in started.events:
                await self.confirmation.apply(event)

    @staticmethod
    @_when_safe
    async def _create(adapter: RailAdapter, order: PaymentOrder) -> PaymentStarted:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            if order.saved is None:
                return await adapter.create_payment(order)
            if not isinstance(adapter, ChargesSaved):
                raise RailMisconfigured(f"{adapter.account.rail} charges no saved methods")
            return await adapter.charge_saved(order)

    def _note(self, found: AttemptAt, method: str, error: RailError | TimeoutError | None) -> None:
        outcome = outcome_of(error)
        if outcome is not None:
            key = (found.rail, found.account, method)
            self.health.record(key, outcome, self.clock.now(), "" if error is None else str(error)[:200])
        if error is not None:
            _log.warning(
                "rail_call_failed", rail=found.rail, account=found.account, attempt=found.attempt_id,
                error=type(error).__name__, text=str(error)[:200],
            )  # fmt: skip

    def _declined(self, found: AttemptAt, no: PaymentDeclined) -> RailEvent:
        return RailEvent(
            rail=found.rail,
            account=found.account,
            mode=Mode(found.mode),
            event_id=f"{found.attempt_id}:declined:{no.decline.code}",
            kind=RailEventKind.DECLINED,
            attempt_id=found.attempt_id,
            rail_reference=no.rail_reference,
            occurred_at=self.clock.now(),
            decline=no.decline,
        )

    async def _store(self, found: AttemptAt, tell: Callable[[_Ending], None]) -> None:
        merchant = found.merchant_id
        locks = (
            row_lock("attempt", merchant, found.attempt_id),
            row_lock("payment", merchant, found.payment_id),
            row_lock("checkout_session", merchant, found.session_id),
        )

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            scene = _Ending.of(view, changes, found)
            tell(scene)
            scene.story.write()
            return {}

        await self.writer.submit(Unit(merchant, found.mode, None, locks, decide))


@dataclass(slots=True)
class _Ending:
    """The end of one call, inside the flush. A webhook may have been faster: what it said stands."""

    changes: Changes
    found: AttemptAt
    attempt: Row
    session: Row
    story: Story
    now_us: int

    @classmethod
    def of(cls, view: View, changes: Changes, found: AttemptAt) -> _Ending:
        attempt = view.one("attempt", found.merchant_id, found.attempt_id)
        payment = view.one("payment", found.merchant_id, found.payment_id)
        session = view.one("checkout_session", found.merchant_id, found.session_id)
        assert attempt is not None
        assert payment is not None
        assert session is not None
        return cls(changes, found, attempt, session, Story(payment, changes, view.now_us), view.now_us)

    def _waits(self) -> bool:
        return self.attempt["status"] in {AttemptStatus.SENT.value, AttemptStatus.OUTCOME_UNKNOWN.value}

    def _update(self, **columns: Any) -> None:
        key = (self.found.merchant_id, self.found.attempt_id)
        self.changes.update("attempt", key, updated_us=self.now_us, **columns)

    def started(self, started: PaymentStarted) -> None:
        action = orjson.dumps(action_to_json(started.action)).decode()
        if not self._waits():
            self._update(rail_reference=started.rail_reference, next_action=action)
            return
        next_check_us = self.now_us + AFTER_START_US
        idle = isinstance(started.action, NoAction)
        status = AttemptStatus.PENDING if idle else AttemptStatus.REQUIRES_ACTION
        self._update(
            rail_reference=started.rail_reference, next_action=action, status=status.value, next_check_us=next_check_us
        )
        fact = Fact.PENDING if idle else Fact.ACTION_REQUIRED
        self.story.tell(fact, attempt_id=self.found.attempt_id, rail_reference=started.rail_reference)

    def not_sent(self, reason: str) -> None:
        if not self._waits():
            return
        self._update(status=AttemptStatus.NOT_SENT.value, open_at_rail=0)
        self.story.tell(Fact.NOT_SENT, attempt_id=self.found.attempt_id, reason=reason)
        offers = offers_of(self.session)
        position = next(i for i, offer in enumerate(offers) if offer.id == self.attempt["offer_id"])
        following = offers[position + 1 :]
        key = (self.found.merchant_id, self.found.session_id)
        self.changes.update("checkout_session", key, suggested_offer=following[0].id if following else None)

    def unknown(self, next_check_us: int) -> None:
        if self.attempt["status"] != AttemptStatus.SENT.value:
            return
        self._update(status=AttemptStatus.OUTCOME_UNKNOWN.value, next_check_us=next_check_us)
        self.story.tell(Fact.UNKNOWN, attempt_id=self.found.attempt_id)
