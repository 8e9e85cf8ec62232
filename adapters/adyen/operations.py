"""Adyen's refunds, disputes, later captures and settlement reports: the calls. What they say is in wire_operations.py.

Sources: https://docs.adyen.com/api-explorer/Checkout/latest/post/payments/(paymentPspReference)/refunds, .../captures,
.../cancels, https://docs.adyen.com/risk-management/disputes-api, https://docs.adyen.com/reporting/automatically-get-reports
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from Adyen.services.checkout.modifications_api import ModificationsApi
from Adyen.services.checkout.payments_api import PaymentsApi
from Adyen.services.disputes.disputes_api import DisputesApi

from adapters.adyen import wire, wire_amounts
from adapters.adyen.client import AsyncAdyenClient, Refused
from adapters.adyen.wire_operations import UnreadableReport, settlement_lines
from adapters.base import OutcomeUnknown, RailAccount, RailEvent, RailMisconfigured
from adapters.operations import (
    AccountCheck,
    CaptureOrder,
    Evidence,
    RefundEvent,
    RefundOrder,
    RefundRefused,
    RefundState,
    SettlementPage,
)

PSP_REFERENCE: Final = re.compile(r"[A-Z0-9]{16}")
"""Stands in URLs."""
RESEND_MARGIN_S: Final = 3600
EVIDENCE_TYPES: Final = frozenset({"application/pdf", "image/jpeg", "image/tiff"})
EVIDENCE_BYTES_MAX: Final = 2_000_000
"""Of a PDF; images 10 MB. Source: https://docs.adyen.com/risk-management/disputes-api#defend-dispute"""


class AdyenOperations:
    """What one merchant account does with money that it has."""

    def __init__(self, client: AsyncAdyenClient, account: RailAccount, merchant_account: str) -> None:
        self._account = account
        self._merchant_account = merchant_account
        self._client = client
        self._modifications = ModificationsApi(client=client)
        self._disputes = DisputesApi(client=client)

    async def refund_payment(self, order: RefundOrder) -> RefundEvent:
        """Ask for a refund: Adyen only says "received"; a REFUND webhook says what came of it."""
        body = {
            "merchantAccount": self._merchant_account,
            "amount": wire_amounts.to_wire(order.amount),
            "reference": order.refund_id,
            "merchantRefundReason": "CUSTOMER REQUEST",
        }
        try:
            answer: wire.Answer = await self._modifications.refund_captured_payment(
                body, _psp(order.money_id), idempotency_key=order.refund_id
            )
        except Refused as error:
            raise RefundRefused("refused", str(error)) from None
        if answer.message.get("status") != "received" or answer.message.get("amount") != body["amount"]:
            raise OutcomeUnknown(f"Adyen answered the refund {order.refund_id} in other words than it was asked")
        return RefundEvent(
            rail=self._account.rail,
            account=self._account.account,
            mode=self._account.mode,
            event_id=f"{order.refund_id}:received",
            state=RefundState.PENDING,
            refund_id=order.refund_id,
            rail_reference=str(answer.message["pspReference"]),
            money_id=order.money_id,
            amount=order.amount,
            occurred_at=answer.answered_at,
        )

    async def fetch_refund(self, order: RefundOrder) -> RefundEvent | None:
        """Adyen has no call that reads a refund: the same order again says that it was received.

        Only while Adyen keeps the key, with an hour to spare: after that the same order would be a second refund, so
        that None says what is known, nothing; the webhook or a person ends it.
        """
        age_s = (datetime.now(UTC) - order.created_at).total_seconds()
        if age_s >= wire.RESEND_WINDOW_SECONDS - RESEND_MARGIN_S:
            return None
        return await self.refund_payment(order)

    async def accept_dispute(self, dispute_id: str) -> None:
        await self._dispute("accept_dispute", dispute_id, {})

    async def submit_evidence(self, dispute_id: str, evidence: Evidence) -> None:
        """Defend with the first reason that Adyen offers; it takes files only, the first of them here."""
        document = next((one for one in evidence.documents if one.content_type in EVIDENCE_TYPES), None)
        if document is None or len(document.content) > EVIDENCE_BYTES_MAX:
            raise RailMisconfigured("evidence: Adyen takes a PDF, JPEG or TIFF of at most 2 MB, and no bare text")
        said = await self._dispute("retrieve_applicable_defense_reasons", dispute_id, {}, reading=True)
        reasons = said.get("defenseReasons") or []
        if not reasons:
            raise RailMisconfigured(f"dispute {dispute_id}: Adyen offers no reason to defend it with")
        reason = reasons[0]
        kinds = reason.get("defenseDocumentTypes") or [{"defenseDocumentTypeCode": "DefenseMaterial"}]
        file = {
            "content": base64.b64encode(document.content).decode(),
            "contentType": document.content_type,
            "defenseDocumentTypeCode": kinds[0]["defenseDocumentTypeCode"],
        }
        await self._dispute("supply_defense_document", dispute_id, {"defenseDocuments": [file]})
        await self._dispute("defend_dispute", dispute_id, {"defenseReasonCode": reason["defenseReasonCode"]})

    async def _dispute(
        self, call: str, dispute_id: str, more: dict[str, Any], *, reading: bool = False
    ) -> dict[str, Any]:
        body = {"disputePspReference": _psp(dispute_id), "merchantAccountCode": self._merchant_account, **more}
        answer: wire.Answer = await getattr(self._disputes, call)(
            body, idempotency_key=None if reading else f"{dispute_id}:{call}", reading=reading
        )
        result = answer.message.get("disputeServiceResult") or {}
        if result.get("success") is not True:
            raise RailMisconfigured(f"dispute {dispute_id}: {str(result.get('errorMessage', 'not done'))[:200]}")
        return dict(answer.message)

    async def capture_payment(self, order: CaptureOrder) -> Sequence[RailEvent]:
        """Ask for the money; the CAPTURE webhook says that it was taken."""
        body = {
            "merchantAccount": self._merchant_account,
            "amount": wire_amounts.to_wire(order.amount),
            "reference": order.attempt_id + wire.LATER,
        }
        await self._modifications.capture_authorised_payment(
            body, _psp(order.authorisation_id), idempotency_key=f"{order.attempt_id}-capture"
        )
        return ()

    async def release_payment(self, order: CaptureOrder) -> None:
        body = {"merchantAccount": self._merchant_account, "reference": order.attempt_id + wire.LATER}
        await self._modifications.cancel_authorised_payment_by_psp_reference(
            body, _psp(order.authorisation_id), idempotency_key=f"{order.attempt_id}-release"
        )

    async def settlement_page(self, cursor: str) -> SettlementPage:
        """Read one batch of the settlement detail report; the cursor is the number of the last one that was read."""
        batch = str(int(cursor or "0") + 1)
        path = f"/reports/download/MerchantAccount/{self._merchant_account}/settlement_detail_report_batch_{batch}.csv"
        text = await self._client.download(path)
        if text is None:
            return SettlementPage((), cursor, more=False)
        try:
            return SettlementPage(tuple(settlement_lines(text, batch)), batch, more=True)
        except UnreadableReport as error:
            raise OutcomeUnknown(str(error)) from None

    async def check_account(self) -> AccountCheck:
        """Ask which methods the account has.

        Source: https://docs.adyen.com/api-explorer/Checkout/latest/post/paymentMethods
        """
        body = {"merchantAccount": self._merchant_account}
        answer: wire.Answer = await PaymentsApi(client=self._client).payment_methods(body, reading=True)
        count = len(answer.message.get("paymentMethods") or [])
        ahead = (datetime.now(UTC) - answer.answered_at).total_seconds()
        return AccountCheck(f"merchant account {self._merchant_account} has {count} methods", ahead)


def _psp(reference: str) -> str:
    if not PSP_REFERENCE.fullmatch(reference):
        raise RailMisconfigured(f"{reference[:40]!r} is no pspReference")
    return reference
