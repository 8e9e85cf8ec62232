"""The buyer chose an offer: close what is open elsewhere, store the attempt, call the rail, say what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import orjson
from sqlalchemy import select

from adapters.base import ChargesSaved, ScansChain
from adapters.operations import CapturesLater
from orchestrator.compliance.screening import ScreeningPolicy
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, CheckoutSession, Payment, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, NotFound
from orchestrator.payments.attempt import IN_FLIGHT
from orchestrator.payments.begin import Beginning, ChainAddressing, find_offer, is_chain
from orchestrator.payments.closing import Closed, Closing
from orchestrator.payments.finder import AttemptAt
from orchestrator.payments.mandates import StandingCharge
from orchestrator.payments.offers import Offer
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.wire_json import order_from_json

CLOSE_ROUNDS_MAX = 3
FIRST_CHECK_US = 45_000_000
"""Later than the longest call to a rail: until then the caller itself stores the outcome."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Turns an offer into an attempt."""

    calls: RailCalls
    closing: Closing
    reads: Reads
    screening: ScreeningPolicy
    public_url: str
    sellers: Sellers
    captured_later: frozenset[tuple[str, str]] = frozenset()
    """Rail accounts where money is only reserved first, for methods that can."""

    async def select(
        self, merchant_id: str, mode: str, session_id: str, offer_id: str, *, standing: StandingCharge | None = None
    ) -> Mapping[str, Any]:
        """Start (or find again) the attempt of an offer; return payment, status, next action and what came of it.

        ``standing``: no buyer is there, his saved method is charged.

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
            save_method=standing is None and bool(session["save_method"]) and self._can_save(offer),
            standing=standing,
            capture_later=standing is None and self._only_reserves(offer),
            seller=await self.sellers.of(merchant_id),
        )
        for _ in range(CLOSE_ROUNDS_MAX):
            answer = (await self.calls.writer.submit(beginning.unit())).answer
            if "close" in answer:
                for attempt in answer["close"]:
                    _go_on(await self.closing.close(attempt))
                continue
            attempt = answer.get("attempt")
            if attempt is not None:
                await self.calls.send(AttemptAt.of_row(attempt), order_from_json(attempt["order_json"]))
            return await self._state(merchant_id, beginning.payment_id, (attempt or answer["existing"])["id"])
        raise Conflict("payment_in_progress", "another payment of this session is being started: ask again")

    def _can_save(self, offer: Offer) -> bool:
        adapter = self.calls.rails.get((offer.rail, offer.account))
        return isinstance(adapter, ChargesSaved) and offer.method in adapter.saveable_methods

    def _only_reserves(self, offer: Offer) -> bool:
        adapter = self.calls.rails.get((offer.rail, offer.account))
        wanted = (offer.rail, offer.account) in self.captured_later
        return wanted and isinstance(adapter, CapturesLater) and offer.method in adapter.later_methods

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


def _go_on(closed: Closed) -> None:
    """Let the next attempt start only where the old one can bring no money. Raises Conflict."""
    match closed:
        case Closed.CLOSED:
            return
        case Closed.PAID:
            raise Conflict("payment_made", "the first payment has been made: look at it before paying again")
        case Closed.IN_DOUBT:
            raise Conflict("payment_in_doubt", "the first payment cannot be closed at its rail now: try again soon")
        case _:
            assert_never(closed)
