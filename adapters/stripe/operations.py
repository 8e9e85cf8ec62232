"""Stripe's refunds, disputes, later captures and balance transactions: the calls. What they say is in wire_operations.py.

Sources: https://docs.stripe.com/api/refunds/create, https://docs.stripe.com/api/disputes,
https://docs.stripe.com/payments/place-a-hold-on-a-payment-method, https://docs.stripe.com/api/balance_transactions/list,
https://docs.stripe.com/api/payouts/object
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import stripe

from adapters.base import RailAccount, RailError, RailEvent, RailMisconfigured, RailUnavailable
from adapters.operations import (
    AccountCheck,
    CaptureOrder,
    DisputeEvent,
    Evidence,
    LineKind,
    RefundEvent,
    RefundOrder,
    RefundRefused,
    RefundState,
    SettlementLine,
    SettlementPage,
)
from adapters.stripe.errors import in_port_words, unreadable
from adapters.stripe.saved import PAGE_SIZE, PAGES_MAX
from adapters.stripe.wire import ATTEMPT_KEY, Intent, Reader
from adapters.stripe.wire_amounts import to_wire
from adapters.stripe.wire_operations import (
    REFUND_KEY,
    BalanceTransaction,
    Dispute,
    Refund,
    dispute_events,
    refund_event,
    settlement_line,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stripe.params import DisputeModifyParamsEvidence

EVIDENCE_CHARS_MAX: Final = 20_000
"""Of each text. Source: https://docs.stripe.com/api/disputes/update (150,000 characters in all)."""


class StripeOperations:
    """What one account does with money that it has."""

    def __init__(
        self, client: stripe.StripeClient, account: RailAccount, hidden: tuple[str, ...], now: Callable[[], datetime]
    ) -> None:
        self.account: Final = account
        self._now = now
        """When something was asked, where Stripe's answer names no time."""
        self._stripe = client
        self._hidden = hidden
        self._read = Reader(account)

    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        """Create a refund under our id. What Stripe refuses with 400 was not done."""
        ours = {REFUND_KEY: order.refund_id, ATTEMPT_KEY: order.attempt_id}
        with _refusable(), in_port_words(f"stripe refund {order.refund_id}", self._hidden, reading=False):
            made = await self._stripe.v1.refunds.create_async(
                {
                    "payment_intent": order.money_id,
                    "amount": to_wire(order.amount),
                    "reason": "requested_by_customer",
                    "metadata": ours,
                },
                {"idempotency_key": order.refund_id},
            )
        return self._refund(made)

    async def fetch_refund(self, order: RefundOrder) -> RefundEvent | None:
        """Read one refund; without its id, the refunds of the payment (at most a page) are looked through."""
        doing = f"stripe read refund {order.refund_id}"
        if order.rail_reference is not None:
            with in_port_words(doing, self._hidden, reading=True):
                return self._refund(await self._stripe.v1.refunds.retrieve_async(order.rail_reference))
        with in_port_words(doing, self._hidden, reading=True):
            page = await self._stripe.v1.refunds.list_async({"payment_intent": order.money_id, "limit": PAGE_SIZE})
        return next((event for event in map(self._refund, page.data) if event.refund_id == order.refund_id), None)

    async def list_disputes(self, since: datetime) -> Sequence[DisputeEvent]:
        """List by creation, newest first, at most PAGES_MAX pages: more than that raises, it is not cut off silently."""
        asked_at = self._now()
        disputes: list[DisputeEvent] = []
        after: str | None = None
        for _ in range(PAGES_MAX):
            with in_port_words("stripe list disputes", self._hidden, reading=True):
                page = await self._stripe.v1.disputes.list_async(
                    {"created": {"gte": int(since.timestamp())}, "limit": PAGE_SIZE}
                    | ({"starting_after": after} if after else {})  # type: ignore[arg-type]  # a union of TypedDicts is a plain dict
                )
            try:
                for one in page.data:
                    disputes += dispute_events(Dispute.model_validate(one.to_dict()), self.account, asked_at)
            except ValueError as error:
                raise unreadable(error) from None
            if not page.has_more or not page.data:
                return disputes
            after = page.data[-1].id
        raise RailMisconfigured(f"more than {PAGES_MAX * PAGE_SIZE} disputes since {since}: ask for a shorter time")

    async def submit_evidence(self, dispute_id: str, evidence: Evidence) -> None:
        """Hand in the texts at once; files are uploaded in Stripe's dashboard."""
        texts: DisputeModifyParamsEvidence = {
            "uncategorized_text": evidence.summary[:EVIDENCE_CHARS_MAX],
            "product_description": evidence.product[:EVIDENCE_CHARS_MAX],
            "customer_email_address": evidence.customer_email,
            "customer_purchase_ip": evidence.customer_ip,
            "access_activity_log": evidence.usage_log[:EVIDENCE_CHARS_MAX],
        }
        said: DisputeModifyParamsEvidence = {name: text for name, text in texts.items() if text}  # type: ignore[assignment]  # the same keys
        with in_port_words(f"stripe answer {dispute_id}", self._hidden, reading=False):
            await self._stripe.v1.disputes.update_async(
                dispute_id, {"evidence": said, "submit": True}, {"idempotency_key": f"{dispute_id}:evidence"}
            )

    async def accept_dispute(self, dispute_id: str) -> None:
        with in_port_words(f"stripe accept {dispute_id}", self._hidden, reading=False):
            await self._stripe.v1.disputes.close_async(dispute_id, None, {"idempotency_key": f"{dispute_id}:close"})

    async def capture_payment(self, order: CaptureOrder) -> Sequence[RailEvent]:
        with in_port_words(f"stripe capture {order.attempt_id}", self._hidden, reading=False):
            taken = await self._stripe.v1.payment_intents.capture_async(
                order.authorisation_id,
                {"amount_to_capture": to_wire(order.amount), "expand": ["latest_charge"]},
                {"idempotency_key": f"{order.attempt_id}:capture"},
            )
        try:
            return self._read.intent(Intent.model_validate(taken.to_dict()), at=None)
        except ValueError as error:
            raise unreadable(error) from None

    async def release_payment(self, order: CaptureOrder) -> None:
        with in_port_words(f"stripe release {order.attempt_id}", self._hidden, reading=False):
            await self._stripe.v1.payment_intents.cancel_async(
                order.authorisation_id, None, {"idempotency_key": f"{order.attempt_id}:release"}
            )

    async def settlement_page(self, cursor: str) -> SettlementPage:
        """Read the balance transactions after one (its id is the cursor), oldest first; "" = all there are.

        Stripe lists newest first and pages both ways: ``ending_before`` gives the page right after a line.
        """
        if not cursor:
            return await self._all_lines()
        lines, more = await self._lines({"ending_before": cursor})
        return SettlementPage(tuple(reversed(lines)), lines[0].line_id if lines else cursor, more)

    async def _all_lines(self) -> SettlementPage:
        lines: list[SettlementLine] = []
        for _ in range(PAGES_MAX):
            page, more = await self._lines({"starting_after": lines[-1].line_id} if lines else {})
            lines += page
            if not more or not page:
                return SettlementPage(tuple(reversed(lines)), lines[0].line_id if lines else "", more=False)
        raise RailMisconfigured(f"more than {PAGES_MAX * PAGE_SIZE} balance transactions: start from the id of one")

    async def _lines(self, place: Mapping[str, str]) -> tuple[list[SettlementLine], bool]:
        wanted = {"limit": PAGE_SIZE, "expand": ["data.source"], **place}
        with in_port_words("stripe list balance transactions", self._hidden, reading=True):
            page = await self._stripe.v1.balance_transactions.list_async(wanted)  # type: ignore[arg-type]  # built by steps
        try:
            lines = [settlement_line(BalanceTransaction.model_validate(one.to_dict())) for one in page.data]
        except ValueError as error:
            raise unreadable(error) from None
        return lines, page.has_more

    async def payout_lines(self, reference: str) -> frozenset[str] | None:
        """List what an automatic payout is made of; of a manual one Stripe cannot say.

        Source: https://docs.stripe.com/payouts/reconciliation.
        """
        doing = f"stripe read payout {reference}"
        with in_port_words(doing, self._hidden, reading=True):
            payout = await self._stripe.v1.payouts.retrieve_async(reference)
        if payout.reconciliation_status == "in_progress":
            raise RailUnavailable(f"{reference}: Stripe is still at it (reconciliation_status in_progress)")
        if not payout.automatic or payout.reconciliation_status != "completed":
            return None
        found: list[SettlementLine] = []
        for _ in range(PAGES_MAX):
            page, more = await self._lines(
                {"payout": reference, **({"starting_after": found[-1].line_id} if found else {})}
            )
            found += page
            if not more or not page:
                own = {LineKind.PAYOUT}  # its own line is in the list; one above zero is an earlier one that came back
                return frozenset(one.line_id for one in found if one.kind not in own or one.gross.units > 0)
        raise RailMisconfigured(f"more than {PAGES_MAX * PAGE_SIZE} lines in {reference}: a person must reconcile it")

    async def check_account(self) -> AccountCheck:
        """Ask for the balance. Source: https://docs.stripe.com/api/balance/balance_retrieve."""
        with in_port_words("stripe look at the balance", self._hidden, reading=True):
            balance = await self._stripe.v1.balance.retrieve_async()
        answer = balance.last_response
        dated = None if answer is None else {k.lower(): v for k, v in (answer.headers or {}).items()}.get("date")
        ahead = None
        if dated is not None:
            ahead = (self._now() - parsedate_to_datetime(str(dated))).total_seconds()
        return AccountCheck(f"balance readable, livemode {str(balance.livemode).lower()}", ahead)

    def _refund(self, found: stripe.Refund) -> RefundEvent:
        try:
            event = refund_event(Refund.model_validate(found.to_dict()), self.account)
        except ValueError as error:
            raise unreadable(error) from None
        if event.state is RefundState.FAILED:  # that is final: every other word of it is older, whenever it comes
            return replace(event, occurred_at=self._now())
        return event


@contextmanager
def _refusable() -> Iterator[None]:
    """Say apart what Stripe refuses about the refund itself (too much, disputed, too late) from a wrong key."""
    try:
        yield
    except RailMisconfigured as error:
        if ": Stripe answered 400: " not in str(error):
            raise
        raise RefundRefused("refused", str(error)) from None
    except RailError:
        raise
