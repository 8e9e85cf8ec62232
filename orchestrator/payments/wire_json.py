"""What adapters exchange, as stored JSON: orders, next actions, events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

import orjson

from adapters.base import (
    Decline,
    DepositAddress,
    Mode,
    NextAction,
    NoAction,
    PaymentOrder,
    RailEvent,
    RailEventKind,
    Redirect,
    Severity,
)
from adapters.operations import DisputeEvent, DisputeState, Funds, RefundEvent, RefundState
from rates.money import Asset, Money


def order_to_json(order: PaymentOrder) -> str:
    seldom: dict[str, Any] = {}
    """What most orders do not say: left out, so that a row stays small."""
    if order.saved is not None:
        seldom["saved"] = dict(order.saved)
    for name in ("save_method", "capture_later", "step_up", "statement_suffix", "merchant_category"):
        if said := getattr(order, name):
            seldom[name] = said
    return orjson.dumps(
        {
            **seldom,
            "attempt_id": order.attempt_id,
            "method": order.method,
            "units": order.amount.units,
            "asset": str(order.amount.asset),
            "country": order.country,
            "description": order.description,
            "return_url": order.return_url,
            "expires_at": order.expires_at.isoformat(),
            "locale": order.locale,
            "customer_reference": order.customer_reference,
            "email": order.email,
            "deposit_address": order.deposit_address,
        }
    ).decode()


def order_from_json(text: str) -> PaymentOrder:
    data = orjson.loads(text)
    amount = Money(data.pop("units"), Asset.parse(data.pop("asset")))
    expires_at = datetime.fromisoformat(data.pop("expires_at"))
    return PaymentOrder(amount=amount, expires_at=expires_at, **data)


def steps_up(order_json: str) -> bool:
    """Say whether a stored order asked for the bank to see the buyer."""
    return bool(orjson.loads(order_json).get("step_up"))


def charges_saved(order_json: str) -> bool:
    """Say whether a stored order charges a saved method, so that there is no page."""
    return orjson.loads(order_json).get("saved") is not None


def action_to_json(action: NextAction) -> dict[str, Any]:
    """Return a next action in the API's form."""
    match action:
        case Redirect(url, expires_at):
            shown: dict[str, Any] = {"type": "redirect", "url": url}
            return shown if expires_at is None else {**shown, "expires_at": expires_at.isoformat()}
        case DepositAddress():
            return {
                "type": "deposit_address",
                "address": action.address,
                "network": action.network,
                "chain": action.chain,
                "token": action.token,
                "token_contract": action.token_contract,
                "amount": {"amount": action.amount.decimal(), "currency": action.amount.asset.code},
                "qr": action.qr_text,
                "wallet_uri": action.wallet_uri,
            }
        case NoAction():
            return {"type": "none"}
        case _:
            assert_never(action)


def event_to_json(event: RailEvent) -> dict[str, Any]:
    return {
        "rail": event.rail,
        "account": event.account,
        "mode": event.mode.value,
        "event_id": event.event_id,
        "kind": event.kind.value,
        "attempt_id": event.attempt_id,
        "rail_reference": event.rail_reference,
        "occurred_at": event.occurred_at.isoformat(),
        "money_id": event.money_id,
        "amount": None if event.amount is None else [event.amount.units, str(event.amount.asset)],
        "decline": None if event.decline is None else _decline_to_json(event.decline),
        "still_open": event.still_open,
        "detail": dict(event.detail),
    }


def _decline_to_json(decline: Decline) -> list[Any]:
    return [
        decline.severity.value,
        decline.code,
        decline.message,
        decline.listed,
        decline.authenticate,
        decline.step_up,
    ]


def reversal_to_json(event: RefundEvent | DisputeEvent) -> dict[str, Any]:
    """Return what a rail said of a refund or a dispute; ``about`` tells the two, and both from payments, apart."""
    common = {
        "rail": event.rail, "account": event.account, "mode": event.mode.value, "event_id": event.event_id,
        "money_id": event.money_id, "amount": _amount(event.amount), "occurred_at": event.occurred_at.isoformat(),
        "state": event.state.value, "reason": event.reason,
    }  # fmt: skip
    if isinstance(event, RefundEvent):
        return {"about": "refund", **common, "refund_id": event.refund_id, "rail_reference": event.rail_reference}
    answer_by = None if event.answer_by is None else event.answer_by.isoformat()
    return {
        "about": "dispute", **common, "dispute_id": event.dispute_id, "inquiry": event.inquiry,
        "funds": event.funds.value, "attempt_id": event.attempt_id, "answer_by": answer_by,
    }  # fmt: skip


def reversal_from_json(data: Mapping[str, Any]) -> RefundEvent | DisputeEvent:
    amount = None if data["amount"] is None else Money(data["amount"][0], Asset.parse(data["amount"][1]))
    occurred_at = datetime.fromisoformat(data["occurred_at"])
    if data["about"] == "refund":
        return RefundEvent(
            rail=data["rail"], account=data["account"], mode=Mode(data["mode"]), event_id=data["event_id"],
            state=RefundState(data["state"]), refund_id=data["refund_id"], rail_reference=data["rail_reference"],
            money_id=data["money_id"], amount=amount, occurred_at=occurred_at, reason=data["reason"],
        )  # fmt: skip
    assert amount is not None, "a dispute says how much"
    return DisputeEvent(
        rail=data["rail"], account=data["account"], mode=Mode(data["mode"]), event_id=data["event_id"],
        dispute_id=data["dispute_id"], state=DisputeState(data["state"]), inquiry=data["inquiry"],
        funds=Funds(data["funds"]), money_id=data["money_id"], attempt_id=data["attempt_id"], amount=amount,
        reason=data["reason"], occurred_at=occurred_at,
        answer_by=None if data["answer_by"] is None else datetime.fromisoformat(data["answer_by"]),
    )  # fmt: skip


def _amount(money: Money | None) -> list[Any] | None:
    return None if money is None else [money.units, str(money.asset)]


def event_from_json(data: Mapping[str, Any]) -> RailEvent:
    amount, decline = data["amount"], data["decline"]
    return RailEvent(
        rail=data["rail"],
        account=data["account"],
        mode=Mode(data["mode"]),
        event_id=data["event_id"],
        kind=RailEventKind(data["kind"]),
        attempt_id=data["attempt_id"],
        rail_reference=data["rail_reference"],
        occurred_at=datetime.fromisoformat(data["occurred_at"]),
        money_id=data["money_id"],
        amount=None if amount is None else Money(amount[0], Asset.parse(amount[1])),
        decline=None if decline is None else Decline(Severity(decline[0]), *decline[1:]),
        still_open=data["still_open"],
        detail=data["detail"],
    )
