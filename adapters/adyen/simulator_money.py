"""Adyen's money after it was taken, in the simulator: refunds, captures, disputes and the settlement detail report.

A report's batch is closed when the next one is asked for (Adyen closes one a day). The switch ``refund_fails`` makes the
REFUND webhook say so; a buyer who posts ``{"outcome": "chargeback"}`` on a paid page opens a dispute, and one who posts
``second_chargeback`` after its defence wins it. ``unannounced_chargeback`` tells it as DISPUTE_OPENED_WITH_CHARGEBACK beside
CHARGEBACK, ``opening_chargeback`` as that alone (the document does not say which); ``capture_failed`` as CAPTURE_FAILED. An accepted dispute's defence period ends at once.
Sources: https://docs.adyen.com/online-payments/refund, https://docs.adyen.com/risk-management/disputes-api,
https://docs.adyen.com/reporting/settlement-reconciliation/transaction-level/settlement-details-report,
https://docs.adyen.com/api-explorer/Webhooks/1/post/DISPUTE_DEFENSE_PERIOD_ENDED, .../SECOND_CHARGEBACK,
.../DISPUTE_OPENED_WITH_CHARGEBACK, .../CAPTURE_FAILED
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from adapters.adyen.simulator_state import Bank, Payment, new_reference

COLUMNS: Final = [
    "Company Account",
    "Merchant Account",
    "Psp Reference",
    "Merchant Reference",
    "Payment Method",
    "Creation Date",
    "TimeZone",
    "Type",
    "Modification Reference",
    "Gross Currency",
    "Gross Debit (GC)",
    "Gross Credit (GC)",
    "Exchange Rate",
    "Net Currency",
    "Net Debit (NC)",
    "Net Credit (NC)",
    "Commission (NC)",
    "Markup (NC)",
    "Scheme Fees (NC)",
    "Interchange (NC)",
    "Payment Method Variant",
    "Modification Merchant Reference",
    "Batch Number",
]
DECIMALS: Final = {"JPY": 0, "KRW": 0, "VND": 0, "XOF": 0, "XAF": 0, "IDR": 0, "BHD": 3, "KWD": 3}
COMMISSION_UNITS: Final = 12
"""0.12 of each payment, in the currency of the payment."""


class NotPossible(Exception):
    """Adyen refuses the modification: HTTP 422."""


@dataclass(slots=True)
class Books:
    """Payments, what was done with them, and the lines that wait for the next batch."""

    bank: Bank
    merchant_account: str
    disputes: dict[str, Payment] = field(default_factory=dict)
    decided: set[str] = field(default_factory=set)
    supplied: set[str] = field(default_factory=set)
    reversed: dict[str, Payment] = field(default_factory=dict)
    """Disputes that were defended: the bank may come a second time."""
    waiting: list[dict[str, str]] = field(default_factory=list)
    batches: list[str] = field(default_factory=list)

    def refund(self, psp: str, body: Mapping[str, Any], *, fails: str) -> dict[str, Any]:
        payment, value = self._taken(psp, body)
        if payment.disputed or payment.refunded + value > payment.captured:
            raise NotPossible("Insufficient balance on payment")
        refund = new_reference()
        if not fails:
            payment.refunded += value
            self._line(payment, "Refunded", -value, refund)
        self.bank.tell_of(payment, "REFUND", refund, str(body.get("reference", "")), value, reason=fails)
        return self._received(psp, refund, body)

    def capture(self, psp: str, body: Mapping[str, Any]) -> dict[str, Any]:
        payment = self._payment(psp)
        value = body["amount"]["value"]
        if payment.captured or not 0 < value <= payment.value or payment.cancelled:
            raise NotPossible("The payment cannot be captured")
        payment.captured = value
        reference = payment.capture_reference = new_reference()
        self.bank.tell_of(payment, "CAPTURE", reference, str(body.get("reference", "")), value)
        self.settle(payment)
        return self._received(psp, reference, body)

    def cancel(self, psp: str, body: Mapping[str, Any]) -> dict[str, Any]:
        payment = self._payment(psp)
        if payment.captured:
            raise NotPossible("The payment was captured")
        payment.cancelled = True
        return self._received(psp, new_reference(), body)

    def settle(self, payment: Payment) -> None:
        self._line(payment, "Settled", payment.captured, "", fee=COMMISSION_UNITS)

    def charge_back(self, psp: str, codes: tuple[str, ...] = ("NOTIFICATION_OF_CHARGEBACK", "CHARGEBACK")) -> str:
        """Open a dispute: told first, then the money is taken; ``codes``: the words for that."""
        payment = self._payment(psp)
        if not payment.captured or payment.disputed:
            raise NotPossible("only a captured payment is charged back, once")
        payment.disputed = True
        dispute = new_reference()
        self.disputes[dispute] = payment
        for code in codes:
            self.bank.tell_of(payment, code, dispute, payment.reference, payment.captured, told="Fraudulent", good=True)
        self._line(payment, "Chargeback", -payment.captured, dispute)
        return dispute

    def fail_capture(self, psp: str) -> str:
        """The scheme rejects a capture that was called successful: the money never comes."""
        payment = self._payment(psp)
        if not payment.captured or payment.disputed:
            raise NotPossible("only a capture that stands can fail")
        value, payment.captured = payment.captured, 0
        gone = [one for one in self.waiting if (one["Psp Reference"], one["Type"]) == (psp, "Settled")]
        for line in gone:
            self.waiting.remove(line)
        reference = payment.capture_reference or new_reference()
        self.bank.tell_of(
            payment, "CAPTURE_FAILED", reference, payment.reference, value, told="Capture Failed", good=True
        )
        return reference

    def charge_back_again(self, payment_psp: str) -> str:
        """Take the money of a dispute that was defended a second time, and finally."""
        dispute = next((psp for psp, payment in self.reversed.items() if payment.psp_reference == payment_psp), None)
        if dispute is None:
            raise NotPossible("only a chargeback that was reversed comes a second time")
        payment = self.reversed.pop(dispute)
        self._tell_of_dispute(payment, "SECOND_CHARGEBACK", dispute)
        self._line(payment, "SecondChargeback", -payment.captured, dispute)
        return dispute

    def _tell_of_dispute(self, payment: Payment, code: str, dispute: str) -> None:
        self.bank.tell_of(payment, code, dispute, payment.reference, payment.captured, good=True)

    def dispute(self, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one call of the disputes API; a defended dispute is won at once."""
        psp = str(body.get("disputePspReference", ""))
        payment = self.disputes.get(psp)
        if payment is None or body.get("merchantAccountCode") != self.merchant_account:
            return _result("There is no such dispute")
        if call == "retrieveApplicableDefenseReasons":
            kinds = [
                {
                    "defenseDocumentTypeCode": "DefenseMaterial",
                    "requirementLevel": "Required",
                    "available": psp in self.supplied,
                }
            ]
            reason = {"defenseReasonCode": "SupplyDefenseMaterial", "satisfied": psp in self.supplied}
            return {**_result(), "defenseReasons": [{**reason, "defenseDocumentTypes": kinds}]}
        if psp in self.decided:
            return _result("The dispute is closed")
        match call:
            case "supplyDefenseDocument":
                self.supplied.add(psp)
            case "acceptDispute":
                self.decided.add(psp)
                self._tell_of_dispute(payment, "DISPUTE_DEFENSE_PERIOD_ENDED", psp)
            case "defendDispute" if psp in self.supplied:
                self.decided.add(psp)
                for code in ("INFORMATION_SUPPLIED", "CHARGEBACK_REVERSED"):
                    self._tell_of_dispute(payment, code, psp)
                self._line(payment, "ChargebackReversed", payment.captured, psp)
                self.reversed[psp] = payment
            case _:
                return _result("The defense documents are missing")
        return _result()

    def batch(self, number: int) -> str | None:
        """Return one batch's file; the next one is closed with what waits, if anything does."""
        if number == len(self.batches) + 1 and self.waiting:
            file = io.StringIO()
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**line, "Batch Number": str(number)} for line in self.waiting)
            self.waiting.clear()
            self.batches.append(file.getvalue())
        return self.batches[number - 1] if 1 <= number <= len(self.batches) else None

    def _payment(self, psp: str) -> Payment:
        payment = self.bank.payments.get(psp)
        if payment is None:
            raise NotPossible("Original pspReference required for this operation")
        return payment

    def _taken(self, psp: str, body: Mapping[str, Any]) -> tuple[Payment, int]:
        payment, value = self._payment(psp), body["amount"]["value"]
        if not payment.captured or value <= 0 or body["amount"]["currency"] != payment.currency:
            raise NotPossible("The payment cannot be refunded")
        return payment, value

    def _received(self, psp: str, reference: str, body: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: body[name] for name in ("amount", "merchantRefundReason", "reference") if name in body}
        of = {"merchantAccount": self.merchant_account, "paymentPspReference": psp, "pspReference": reference}
        return {**kept, **of, "status": "received"}

    def _line(self, payment: Payment, kind: str, value: int, modification: str, fee: int = 0) -> None:
        money = [_shown(abs(value) - (fee if value > 0 else 0), payment.currency), ""]
        debit, credit = (money[1], money[0]) if value > 0 else (money[0], money[1])
        gross = _shown(abs(value), payment.currency)
        self.waiting.append(
            {
                "Company Account": "Crossrail",
                "Merchant Account": self.merchant_account,
                "Psp Reference": payment.psp_reference,
                "Merchant Reference": payment.reference,
                "Payment Method": payment.method,
                "Creation Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
                "TimeZone": "UTC",
                "Type": kind,
                "Modification Reference": modification,
                "Gross Currency": payment.currency,
                "Gross Debit (GC)": "" if value > 0 else gross,
                "Gross Credit (GC)": gross if value > 0 else "",
                "Exchange Rate": "1",
                "Net Currency": payment.currency,
                "Net Debit (NC)": debit,
                "Net Credit (NC)": credit,
                "Commission (NC)": _shown(fee, payment.currency) if fee else "",
            }
        )


def _result(error: str = "") -> dict[str, Any]:
    return {"disputeServiceResult": {"success": False, "errorMessage": error} if error else {"success": True}}


def _shown(units: int, currency: str) -> str:
    decimals = DECIMALS.get(currency, 2)
    digits = str(units).rjust(decimals + 1, "0")
    return digits if decimals == 0 else f"{digits[:-decimals]}.{digits[-decimals:]}"
