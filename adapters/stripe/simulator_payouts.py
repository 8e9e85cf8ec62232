"""Stripe's payouts in the simulator: what the balance holds goes to the bank, and may come back.

``POST /_bank/payouts`` with ``{"currency": "eur"}`` pays out everything that is held in it; ``"automatic": false`` is one that
somebody made by hand, of which Stripe does not know what it is made of; ``"ready": false`` leaves it to be reconciled until
the next call. ``{"fail": "po_..."}`` is the bank sending one back. Sources: https://docs.stripe.com/payouts/reconciliation,
https://docs.stripe.com/api/payouts/object, https://docs.stripe.com/payouts#payout-failures
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from adapters.stripe.simulator_state import State
from adapters.stripe.simulator_wire import Object, Params, Refused, missing, new_id

TYPES = frozenset({"payout", "payout_failure"})


def payouts(state: State) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return what the bank's side does with payouts."""

    async def act(request: web.Request) -> web.Response:
        asked = await request.json()
        for payout in state.payouts.values():
            if payout["reconciliation_status"] == "in_progress":
                payout["reconciliation_status"] = "completed"
        if "fail" in asked:
            return web.json_response(_send_back(state, find_payout(state, asked["fail"])))
        return web.json_response(_pay_out(state, asked))

    return act


def find_payout(state: State, payout_id: str) -> Object:
    payout = state.payouts.get(payout_id)
    if payout is None:
        raise missing("payout", payout_id, "payout")
    return payout


def lines_of(state: State, lines: list[Object], params: Params) -> list[Object]:
    """Return the lines that ``payout`` asks for. Of one that was made by hand nobody can say."""
    asked = params.get("payout")
    if asked is None:
        return lines
    payout = find_payout(state, str(asked))
    if not payout["automatic"]:
        text = "Balance transaction history can only be filtered on automatic transfers, not manual."
        raise Refused(400, text, param="payout")
    return [line for line in lines if state.paid_out.get(line["id"]) == payout["id"]]


def _pay_out(state: State, asked: dict[str, Any]) -> Object:
    held = [
        line
        for line in state.balance.values()
        if line["currency"] == asked["currency"] and line["id"] not in state.paid_out and line["type"] != "payout"
    ]
    automatic, ready = asked.get("automatic", True), asked.get("ready", True)
    status = ("completed" if ready else "in_progress") if automatic else "not_applicable"
    payout = _new_payout(sum(line["net"] for line in held), asked["currency"], status, state.now())
    state.payouts[payout["id"]] = payout
    line = state.book("payout", -payout["amount"], payout)
    payout["balance_transaction"] = line["id"]
    state.paid_out |= {one["id"]: payout["id"] for one in [*held, line]}
    return payout


def _send_back(state: State, payout: Object) -> Object:
    line = state.book("payout_failure", payout["amount"], payout)
    payout.update(status="failed", failure_code="account_closed", failure_balance_transaction=line["id"])
    payout["failure_message"] = "The bank account has been closed."
    return payout


def _new_payout(amount: int, currency: str, reconciliation_status: str, now: int) -> Object:
    return {
        "id": new_id("po_"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": now + 24 * 3600,
        "automatic": reconciliation_status != "not_applicable",
        "balance_transaction": None,
        "created": now,
        "currency": currency,
        "description": "STRIPE PAYOUT",
        "destination": new_id("ba_"),
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": reconciliation_status,
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "paid",
        "trace_id": None,
        "type": "bank_account",
    }
