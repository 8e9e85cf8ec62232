"""A bank that is a rail: pages that buyers pay, refunds, disputes, a report, and webhooks that it hands to the driver.

It is the truth of the simulation: what it took, gave back and lost is compared with the books. It knows nothing of ours but
the port. Every call may fail in each of the ways that the port names, before or after it did what it was asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson

from adapters.base import (
    CancelOutcome,
    Capability,
    Decline,
    Flow,
    Mode,
    OutcomeUnknown,
    PaymentDeclined,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailEventKind,
    RailUnavailable,
    Redirect,
    Severity,
    WebhookRejected,
)
from adapters.operations import (
    DisputeEvent,
    DisputeState,
    Evidence,
    Funds,
    LineKind,
    RefundEvent,
    RefundOrder,
    RefundRefused,
    RefundState,
    SettlementLine,
    SettlementPage,
)
from orchestrator.clock import Clock
from orchestrator.payments.wire_json import event_from_json, event_to_json, reversal_from_json, reversal_to_json
from rates.money import Asset, Money
from tests.simulation.bank_state import Disputed, GivingBack, Page, Payout, Taken
from tests.simulation.faults import Faults

SECRET = "signed by the bank"
SOFT = Decline(Severity.SOFT, "insufficient_funds", "Not enough money.")
HARD = Decline(Severity.HARD, "stolen_card", "Refused.")
EVIDENCE_DAYS = 7
K = RailEventKind


@dataclass
class Bank:
    """``asked_before``: called before a payment is created, with the attempt; for the rule of one attempt in flight."""

    account: RailAccount
    clock: Clock
    faults: Faults
    asked_before: Callable[[str], Awaitable[None]]
    method: str = "card"
    resend_window_seconds: int = 86_400
    pages: dict[str, Page] = field(default_factory=dict)
    taken: dict[str, Taken] = field(default_factory=dict)
    refunds: dict[str, GivingBack] = field(default_factory=dict)
    disputes: dict[str, Disputed] = field(default_factory=dict)
    lines: list[SettlementLine] = field(default_factory=list)
    outgoing: list[bytes] = field(default_factory=list)
    """Webhooks that were not delivered yet."""
    payouts: list[Payout] = field(default_factory=list)
    numbers: int = 0

    @property
    def name(self) -> str:
        return self.account.rail

    @property
    def capabilities(self) -> Sequence[Capability]:
        return (Capability(self.method, Flow.REDIRECT, None, ("*",), 5),)

    def supports_currency(self, currency: str) -> bool:
        return bool(currency)

    def balance(self) -> dict[str, int]:
        """What the bank holds for us by asset: the sum of its report."""
        held: dict[str, int] = defaultdict(int)
        for line in self.lines:
            held[str(line.net.asset)] += line.net.units
        return {asset: units for asset, units in held.items() if units}

    # --- payments -----------------------------------------------------------------------------------------------------

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        known = self.pages.get(order.attempt_id)
        assert known is None or (known.order.amount, known.order.method) == (order.amount, order.method), (
            "same key, other body"
        )
        if known is None:
            await self.asked_before(order.attempt_id)
        how = self.faults.of(
            "create", order.attempt_id, down=0.06, lost=0.06, void=0.03, soft=0.08, hard=0.03, fast=0.1
        )
        if how == "down":
            raise RailUnavailable("the bank is down")
        if how == "void":
            raise OutcomeUnknown("the request was lost")
        page = self.pages.setdefault(order.attempt_id, Page(order))
        if known is None and how in {"soft", "hard"}:
            page.status, page.told = "declined", True
            raise PaymentDeclined(SOFT if how == "soft" else HARD, self._reference(order.attempt_id))
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")
        if how == "fast" and page.status == "open":
            self.pay(order.attempt_id)
        page.told = True
        return PaymentStarted(
            self._reference(order.attempt_id), Redirect(f"https://{self.name}.example/{order.attempt_id}")
        )

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        how = self.faults.of("fetch", reference.attempt_id, down=0.1, lost=0.05, empty=0.1)
        if how == "down":
            raise RailUnavailable("the bank is down")
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")
        page = self.pages.get(reference.attempt_id)
        if page is None or (how == "empty" and reference.rail_reference is None):
            return ()
        page.told = True
        return [self._event(page, K.ACTION_REQUIRED)] if page.status == "open" and not page.said else tuple(page.said)

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        how = self.faults.of("cancel", reference.attempt_id, down=0.1, lost=0.1)
        if how == "down":
            raise RailUnavailable("the bank is down")
        page = self.pages[reference.attempt_id]
        if page.status == "paid":
            return CancelOutcome.TOO_LATE
        if page.status == "open":
            page.status = "canceled"
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")
        return CancelOutcome.CANCELED

    def pay(self, attempt_id: str, amount: Money | None = None) -> None:
        """A buyer pays a page; ``amount``: not what was asked for."""
        page = self.pages[attempt_id]
        page.status = "paid"
        money = Taken(self._new("money"), attempt_id, amount or page.order.amount)
        self.taken[money.money_id] = money
        self._line(LineKind.PAYMENT, money.amount, money_id=money.money_id, attempt_id=attempt_id)
        self._say(page, K.CAPTURED, money_id=money.money_id, amount=money.amount)

    def decline(self, attempt_id: str, *, hard: bool, still_open: bool) -> None:
        page = self.pages[attempt_id]
        page.status = "open" if still_open else "declined"
        self._say(page, K.DECLINED, decline=HARD if hard else SOFT, still_open=still_open)

    def expire(self, attempt_id: str) -> None:
        page = self.pages[attempt_id]
        page.status = "expired"
        self._say(page, K.EXPIRED)

    def _say(self, page: Page, kind: RailEventKind, **more: Any) -> None:
        event = self._event(page, kind, **more)
        page.said.append(event)
        self._post(payment=event_to_json(event), attempt=page.order.attempt_id)

    def _event(self, page: Page, kind: RailEventKind, **more: Any) -> RailEvent:
        number = "" if kind is K.ACTION_REQUIRED else f":{len(page.said)}"
        return RailEvent(
            rail=self.name, account=self.account.account, mode=Mode.TEST,
            event_id=f"{page.order.attempt_id}:{kind.value}{number}", kind=kind, attempt_id=page.order.attempt_id,
            rail_reference=self._reference(page.order.attempt_id), occurred_at=self.clock.now(), **more,
        )  # fmt: skip

    # --- refunds ------------------------------------------------------------------------------------------------------

    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        how = self.faults.of("refund", order.refund_id, down=0.1, lost=0.1, void=0.05, refused=0.05)
        if how == "down":
            raise RailUnavailable("the bank is down")
        if how == "void":
            raise OutcomeUnknown("the request was lost")
        known = self.refunds.get(order.refund_id)
        if known is None:
            money = self.taken[order.money_id]
            if how == "refused" or money.left < order.amount.units:
                raise RefundRefused("not_possible", "nothing is left of it" if how != "refused" else "not now")
            known = self.refunds[order.refund_id] = GivingBack(order, self._new("refund"), RefundState.PENDING)
            money.refunded += order.amount.units
            self._say_refund(known, RefundState.PENDING)
        assert known.order.amount == order.amount, "same key, other body"
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")
        return known.said[-1]

    async def fetch_refund(self, order: RefundOrder) -> RefundEvent | None:
        how = self.faults.of("fetch refund", order.refund_id, down=0.1, lost=0.05, empty=0.1)
        if how == "down":
            raise RailUnavailable("the bank is down")
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")
        known = self.refunds.get(order.refund_id)
        return None if known is None or (how == "empty" and order.rail_reference is None) else known.said[-1]

    def move_refund(self, refund_id: str, *, fails: bool) -> None:
        """Let a refund that is under way end, or one that was through come back."""
        refund = self.refunds[refund_id]
        amount, money = refund.order.amount, self.taken[refund.order.money_id]
        through = refund.state is RefundState.SUCCEEDED
        if not fails:
            self._line(LineKind.REFUND, -amount, money_id=money.money_id, reference=refund.reference)
        elif through:
            self._line(LineKind.REFUND_FAILED, amount, money_id=money.money_id, reference=refund.reference)
        if fails:
            money.refunded -= amount.units
        self._say_refund(refund, RefundState.FAILED if fails else RefundState.SUCCEEDED)

    def _say_refund(self, refund: GivingBack, state: RefundState) -> None:
        refund.state = state
        event = RefundEvent(
            rail=self.name, account=self.account.account, mode=Mode.TEST,
            event_id=f"{refund.reference}:{state.value}", state=state, refund_id=refund.order.refund_id,
            rail_reference=refund.reference, money_id=refund.order.money_id, amount=refund.order.amount,
            occurred_at=self.clock.now(), reason="account closed" if state is RefundState.FAILED else "",
        )  # fmt: skip
        refund.said.append(event)
        self._post(reversal=reversal_to_json(event))

    # --- disputes -----------------------------------------------------------------------------------------------------

    def open_dispute(self, money_id: str) -> None:
        """A buyer's bank takes back what was not refunded yet."""
        money = self.taken[money_id]
        dispute = Disputed(self._new("dispute"), money_id, Money(money.left, money.amount.asset))
        self.disputes[dispute.id] = dispute
        money.dispute, money.withdrawn = dispute.id, dispute.amount.units
        self._say_dispute(dispute, Funds.UNCHANGED)
        self._line(LineKind.DISPUTE, -dispute.amount, money_id=money_id, reference=dispute.id)
        self._say_dispute(dispute, Funds.WITHDRAWN)

    def decide_dispute(self, dispute_id: str, *, won: bool) -> None:
        dispute = self.disputes[dispute_id]
        dispute.state = DisputeState.WON if won else DisputeState.LOST
        self._say_dispute(dispute, Funds.UNCHANGED)
        if won:
            self.taken[dispute.money_id].withdrawn = 0
            self._line(LineKind.DISPUTE_REVERSED, dispute.amount, money_id=dispute.money_id, reference=dispute.id)
            self._say_dispute(dispute, Funds.RETURNED)

    def _say_dispute(self, dispute: Disputed, funds: Funds) -> None:
        event = DisputeEvent(
            rail=self.name, account=self.account.account, mode=Mode.TEST,
            event_id=f"{dispute.id}:{dispute.state.value}:{funds.value}", dispute_id=dispute.id, state=dispute.state,
            inquiry=False, funds=funds, money_id=dispute.money_id, attempt_id=None, amount=dispute.amount,
            reason="fraudulent", answer_by=self.clock.now() + timedelta(days=EVIDENCE_DAYS),
            occurred_at=self.clock.now(),
        )  # fmt: skip
        dispute.said.append(event)
        self._post(reversal=reversal_to_json(event))

    async def submit_evidence(self, dispute_id: str, evidence: Evidence) -> None:
        assert evidence.summary
        await self._answer(dispute_id, "submitted")

    async def accept_dispute(self, dispute_id: str) -> None:
        await self._answer(dispute_id, "accepted")

    async def _answer(self, dispute_id: str, answer: str) -> None:
        how = self.faults.of("answer", dispute_id, down=0.1, lost=0.1)
        if how == "down":
            raise RailUnavailable("the bank is down")
        self.disputes[dispute_id].answered = answer
        if how == "lost":
            raise OutcomeUnknown("the answer was lost")

    async def list_disputes(self, since: datetime) -> Sequence[DisputeEvent]:
        if self.faults.of("list", self.name, down=0.1):
            raise RailUnavailable("the bank is down")
        said = [event for dispute in self.disputes.values() for event in dispute.said if event.occurred_at >= since]
        return said[::-1]

    # --- report -------------------------------------------------------------------------------------------------------

    def pay_out(self) -> None:
        """Pay everything that is held into our bank account."""
        for asset, units in self.balance().items():
            if units > 0:
                inside = {id_ for payout in self.payouts for id_ in (*payout.lines, payout.line_id)}
                held = [one for one in self.lines if str(one.net.asset) == asset and one.line_id not in inside]
                reference, amount = self._new("payout"), Money(units, Asset.parse(asset))
                line = self._line(LineKind.PAYOUT, -amount, reference=reference)
                self.payouts.append(Payout(reference, line, amount, frozenset(one.line_id for one in held)))

    def send_back(self) -> None:
        """Take back the last payout: our bank account did not take it."""
        last = self.payouts[-1]
        if not last.returned:
            last.returned = True
            self._line(LineKind.PAYOUT, last.amount, reference=last.reference)

    async def settlement_page(self, cursor: str) -> SettlementPage:
        if self.faults.of("report", self.name, down=0.1):
            raise RailUnavailable("the bank is down")
        first = int(cursor or 0)
        last = min(first + 7, len(self.lines))
        return SettlementPage(tuple(self.lines[first:last]), str(last), more=last < len(self.lines))

    def _line(self, kind: LineKind, gross: Money, **more: Any) -> str:
        fields = {"money_id": None, "attempt_id": None, "reference": None, **more}
        self.lines.append(
            SettlementLine(
                line_id=self._new("line"),
                kind=kind,
                word=kind.value,
                gross=gross,
                fee=Money(0, gross.asset),
                net=gross,
                occurred_at=self.clock.now(),
                **fields,
            )
        )
        return self.lines[-1].line_id

    # --- webhooks -----------------------------------------------------------------------------------------------------

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[RailEvent]:
        said = self._verified(headers, body)
        return [] if "payment" not in said else [event_from_json(said["payment"])]

    def parse_reversals(self, headers: Mapping[str, str], body: bytes) -> Sequence[RefundEvent | DisputeEvent]:
        said = self._verified(headers, body)
        return [] if "reversal" not in said else [reversal_from_json(said["reversal"])]

    def webhook_answer(self) -> tuple[int, str, str]:
        return 200, "text/plain", "ok"

    def was_taken(self, body: bytes) -> None:
        """A webhook was answered with 200."""
        attempt = orjson.loads(body).get("attempt")
        if attempt is not None:
            self.pages[attempt].told = True

    @staticmethod
    def _verified(headers: Mapping[str, str], body: bytes) -> Any:
        if headers.get("signature") != SECRET:
            raise WebhookRejected("not signed by the bank")
        return orjson.loads(body)

    def _post(self, **said: Any) -> None:
        self.outgoing.append(orjson.dumps({"number": self._new("webhook"), **said}))

    # --- names --------------------------------------------------------------------------------------------------------

    def _reference(self, attempt_id: str) -> str:
        return f"{self.name}-{attempt_id}"

    def _new(self, what: str) -> str:
        self.numbers += 1
        return f"{self.name}-{what}-{self.numbers}"


class NamingBank(Bank):
    """A bank that says what its payouts are made of."""

    async def payout_lines(self, reference: str) -> frozenset[str] | None:
        if self.faults.of("payout", self.name, down=0.2):
            raise RailUnavailable("the bank is down")
        return next(one.lines for one in self.payouts if one.reference == reference)
