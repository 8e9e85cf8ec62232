"""Stripe's money after it was taken, in the simulator: the balance, refunds, disputes, later captures.

Magic cards of https://docs.stripe.com/testing: a refund to 4000 0000 0000 7726 is pending first and succeeds later, one to
4000 0000 0000 5126 succeeds first and fails later, 4000 0000 0000 0259 is disputed at once, 4000 0000 0000 1976 is asked
about. Evidence ``winning_evidence`` and ``losing_evidence`` in ``uncategorized_text`` decide a dispute. "Later" is the
next time that a refund is looked at, or ``POST /_bank/refunds`` (simulator.py).
"""

from __future__ import annotations

from typing import Final

from adapters.stripe.simulator_objects import new_dispute
from adapters.stripe.simulator_state import State
from adapters.stripe.simulator_wire import Object, Params, Refused, bad_param, integer, missing, new_id

DISPUTED: Final = {"0259": ("fraudulent", "needs_response"), "1976": ("fraudulent", "warning_needs_response")}
LATER: Final = {"7726": ("pending", "succeeded"), "5126": ("succeeded", "failed")}
"""A refund's first and last status, by the card's last four digits."""
VERDICTS: Final = {"winning_evidence": "won", "losing_evidence": "lost"}
DISPUTE_FEE: Final = 1500


def after_payment(state: State, charge: Object) -> None:
    """Book a charge that succeeded, and dispute it where its card says so."""
    state.book("charge", charge["amount"], charge, fee=charge["amount"] * 29 // 1000 + 30)
    if charge_card(state, charge) in DISPUTED:
        open_dispute(state, charge, *DISPUTED[charge_card(state, charge)])


def charge_card(state: State, charge: Object) -> str:
    method = state.used.get(charge["payment_method"], {})
    return str(method.get("card", {}).get("last4", ""))


# --- refunds ------------------------------------------------------------------------------------------------------


def create_refund(state: State, params: Params) -> Object:
    intent = state.intents.get(str(params.get("payment_intent", "")))
    if intent is None:
        raise missing("payment_intent", str(params.get("payment_intent", "")), "payment_intent")
    charge = state.charges.get(intent["latest_charge"] or "")
    if charge is None or charge["status"] != "succeeded" or not charge["captured"]:
        raise Refused(400, f"{intent['id']} has no successful charge to refund.", code="charge_not_refundable")
    if charge["disputed"]:
        raise Refused(400, f"Charge {charge['id']} has been charged back.", code="charge_disputed")
    left = charge["amount_captured"] - charge["amount_refunded"]
    amount = integer(params, "amount") if "amount" in params else left
    if left == 0:
        raise Refused(400, f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not 0 < amount <= left:
        raise bad_param("amount", f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})")
    status, _ = LATER.get(charge_card(state, charge), ("succeeded", ""))
    refund: Object = {
        "id": new_id("re_"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": state.now(),
        "currency": charge["currency"],
        "metadata": params.get("metadata", {}),
        "payment_intent": intent["id"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": status,
        "transfer_reversal": None,
    }
    charge["amount_refunded"] += amount
    charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    state.refunds[refund["id"]] = refund
    refund["balance_transaction"] = state.book("refund", -amount, refund)["id"]
    state.emit("refund.created", refund)
    return refund


def find_refund(state: State, refund_id: str) -> Object:
    """Look at one; what happens to it later happens now."""
    refund = state.refunds.get(refund_id)
    if refund is None:
        raise missing("refund", refund_id)
    settle_refund(state, refund)
    return refund


def settle_refund(state: State, refund: Object) -> None:
    charge = state.charges[refund["charge"]]
    first, end = LATER.get(charge_card(state, charge), ("", ""))
    if not first or refund["status"] != first:
        return
    refund["status"] = end
    if end == "failed":
        refund["failure_reason"] = "expired_or_canceled_card"
        charge["amount_refunded"] -= refund["amount"]
        charge["refunded"] = False
        refund["failure_balance_transaction"] = state.book("refund_failure", refund["amount"], refund)["id"]
        state.emit("refund.failed", refund)
    else:
        state.emit("refund.updated", refund)


# --- disputes -----------------------------------------------------------------------------------------------------


def open_dispute(state: State, charge: Object, reason: str, status: str) -> Object:
    dispute = new_dispute(charge, reason, status, state.now())
    state.disputes[dispute["id"]] = dispute
    state.emit("charge.dispute.created", dispute)
    if not status.startswith("warning_"):
        charge["disputed"] = True
        line = state.book("adjustment", -charge["amount"], dispute, fee=DISPUTE_FEE, category="dispute")
        dispute["balance_transactions"] = [line]
        state.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def find_dispute(state: State, dispute_id: str) -> Object:
    dispute = state.disputes.get(dispute_id)
    if dispute is None:
        raise missing("dispute", dispute_id)
    return dispute


def answer_dispute(state: State, dispute_id: str, params: Params) -> Object:
    dispute = _open(state, dispute_id)
    evidence = params.get("evidence", {})
    dispute["evidence"].update(evidence)
    dispute["evidence_details"].update(has_evidence=True, submission_count=1)
    if params.get("submit", "true") == "true":
        inquiry = dispute["status"].startswith("warning_")
        dispute["status"] = "warning_under_review" if inquiry else "under_review"
        state.emit("charge.dispute.updated", dispute)
        verdict = VERDICTS.get(str(evidence.get("uncategorized_text", "")))
        if verdict is not None:
            _end(state, dispute, "warning_closed" if inquiry else verdict)
    return dispute


def accept_dispute(state: State, dispute_id: str) -> Object:
    dispute = _open(state, dispute_id)
    _end(state, dispute, "lost")
    return dispute


def _open(state: State, dispute_id: str) -> Object:
    dispute = find_dispute(state, dispute_id)
    if not dispute["status"].endswith("needs_response"):
        raise Refused(400, f"This dispute is already {dispute['status']}.", code="charge_disputed")
    return dispute


def _end(state: State, dispute: Object, status: str) -> None:
    dispute["status"] = status
    state.emit("charge.dispute.closed", dispute)
    if status == "won":
        line = state.book("adjustment", dispute["amount"], dispute, category="dispute_reversal")
        dispute["balance_transactions"] = [*dispute["balance_transactions"], line]
        state.charges[dispute["charge"]]["disputed"] = False
        state.emit("charge.dispute.funds_reinstated", dispute)


# --- later captures -----------------------------------------------------------------------------------------------


def capture(state: State, intent_id: str, params: Params) -> Object:
    intent = state.intents.get(intent_id)
    if intent is None:
        raise missing("payment_intent", intent_id, "intent")
    if intent["status"] != "requires_capture":
        text = f"This PaymentIntent could not be captured because it has a status of {intent['status']}."
        raise Refused(400, text, code="payment_intent_unexpected_state")
    amount = integer(params, "amount_to_capture") if "amount_to_capture" in params else intent["amount"]
    if not 0 < amount <= intent["amount_capturable"]:
        raise bad_param("amount_to_capture", f"Invalid amount {amount}")
    charge = state.charges[intent["latest_charge"]]
    charge.update(captured=True, amount_captured=amount)
    intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
    state.book("charge", amount, charge, fee=amount * 29 // 1000 + 30)
    state.emit("charge.captured", charge)
    state.emit("payment_intent.succeeded", intent)
    return intent
