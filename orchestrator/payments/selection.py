"""The buyer chose an offer: close what is open elsewhere, store the attempt, call the rail, say what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import select

from adapters.base import CancelOutcome, Mode, RailError, RailEvent, RailEventKind, ScansChain
from orchestrator.compliance.screening import ScreeningPolicy
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, CheckoutSession, Payment, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.errors import Conflict, NotFound
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.begin import Beginning, ChainAddressing, find_offer, is_chain
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.payment import Fact
from orchestrator.payments.story import Story
from orchestrator.payments.watch import reference_of
from orchestrator.payments.wire_json import order_from_json

CLOSE_ROUNDS_MAX = 3
FIRST_CHECK_US = 45_000_000
"""Later than the longest call to a rail: until then the caller itself stores the outcome."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Turns an offer into an attempt."""

    calls: RailCalls
    reads: Reads
    screening: ScreeningPolicy
    public_url: str

    async def select(self, merchant_id: str, mode: str, session_id: str, offer_id: str) -> Mapping[str, Any]:
        """Start (or find again) the attempt of an offer; return payment, status, next action and what came of it.

        Raises NotFound, Conflict (expired, paid, in doubt, or the old attempt cannot be closed now).
        """
        session = await self._session(merchant_id, mode, session_id)
        offer = find_offer(session, offer_id)
        beginning = Beginning(
            merchant_id=merchant_id,
            mode=mode,
            session=session,
            offer=offer,
            screening=self.screening,
            return_url=f"{self.public_url}/pay/{session_id}/return",
            first_check_us=self.calls.clock.now_us() + FIRST_CHECK_US,
            chain=self._addressing(offer.rail, offer.account) if is_chain(offer) else None,
        )
        for _ in range(CLOSE_ROUNDS_MAX):
            answer = (await self.calls.writer.submit(beginning.unit())).answer
            if "close" in answer:
                for attempt in answer["close"]:
                    await self._close(AttemptAt.of_row(attempt), attempt)
                continue
            attempt = answer.get("attempt")
            if attempt is not None:
                await self.calls.send(AttemptAt.of_row(attempt), order_from_json(attempt["order_json"]))
            return await self._state(merchant_id, beginning.payment_id, (attempt or answer["existing"])["id"])
        raise Conflict("payment_in_progress", "another payment of this session is being started: ask again")

    def _addressing(self, rail: str, account: str) -> ChainAddressing:
        adapter = self.calls.rails[rail, account]
        assert isinstance(adapter, ScansChain), "deposit addresses come from chains"
        return ChainAddressing(adapter.family, adapter.derive_address, adapter.show_address)

    async def _session(self, merchant_id: str, mode: str, session_id: str) -> Row:
        table = table_of(CheckoutSession)
        query = select(table).where(table.c.merchant_id == merchant_id, table.c.id == session_id, table.c.mode == mode)
        row = await self.reads.one(query)
        if row is None:
            raise NotFound("session_not_found", f"no checkout session {session_id}")
        return row

    async def _close(self, found: AttemptAt, attempt: Row) -> None:
        """Get the rail's word that an attempt brings no money any more; or supersede what cannot be taken back."""
        adapter = self.calls.rails[found.rail, found.account]
        if attempt["rail_reference"] is None and attempt["status"] in IN_FLIGHT:
            raise Conflict(
                "payment_unknown", "the first payment is still being asked about at its rail: try again soon"
            )
        try:
            outcome = await adapter.cancel_payment(reference_of(attempt))
        except RailError as error:
            raise Conflict(
                "payment_in_progress", f"the open payment cannot be closed now ({error}): try again"
            ) from None
        match outcome:
            case CancelOutcome.CANCELED:
                event_id, kind = f"{found.attempt_id}:canceled", RailEventKind.CANCELED
                await self.calls.confirmation.apply(
                    RailEvent(
                        rail=found.rail, account=found.account, mode=Mode(found.mode), event_id=event_id, kind=kind,
                        attempt_id=found.attempt_id, rail_reference=attempt["rail_reference"],
                        occurred_at=self.calls.clock.now(),
                    )
                )  # fmt: skip
            case CancelOutcome.TOO_LATE:
                for event in await adapter.fetch_status(reference_of(attempt)):
                    await self.calls.confirmation.apply(event)
                raise Conflict("payment_made", "the first payment has been made: look at it before paying again")
            case CancelOutcome.CANNOT:
                await self._supersede(found)

    async def _supersede(self, found: AttemptAt) -> None:
        """Let an attempt go that cannot be taken back; it is watched on, and money that comes is credited."""
        merchant = found.merchant_id
        locks = (row_lock("attempt", merchant, found.attempt_id), row_lock("payment", merchant, found.payment_id))

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            attempt = view.one("attempt", merchant, found.attempt_id)
            payment = view.one("payment", merchant, found.payment_id)
            assert attempt is not None
            assert payment is not None
            if attempt["status"] in IN_FLIGHT:
                status = AttemptStatus.SUPERSEDED.value
                changes.update("attempt", (merchant, found.attempt_id), status=status, updated_us=view.now_us)
                story = Story(payment, changes, view.now_us)
                story.tell(Fact.SUPERSEDED, attempt_id=found.attempt_id)
                story.write()
            return {}

        await self.calls.writer.submit(Unit(merchant, found.mode, None, locks, decide))

    async def _state(self, merchant_id: str, payment_id: str, attempt_id: str) -> Mapping[str, Any]:
        payments, attempts = table_of(Payment), table_of(Attempt)
        payment = await self.reads.one(
            select(payments).where(payments.c.merchant_id == merchant_id, payments.c.id == payment_id)
        )
        attempt = await self.reads.one(
            select(attempts).where(attempts.c.merchant_id == merchant_id, attempts.c.id == attempt_id)
        )
        assert payment is not None
        assert attempt is not None
        session = await self._session(merchant_id, payment["mode"], payment["session_id"])
        action = orjson.loads(attempt["next_action"]) if attempt["next_action"] else {"type": "none"}
        answer: dict[str, Any] = {
            "payment": payment_id,
            "attempt": attempt_id,
            "status": payment["status"],
            "next_action": action if attempt["status"] in IN_FLIGHT else {"type": "none"},
        }
        if attempt["decline"]:
            answer["decline"] = orjson.loads(attempt["decline"])
        if session["suggested_offer"]:
            answer["suggested_offer"] = session["suggested_offer"]
        return answer
