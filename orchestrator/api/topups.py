"""Top-ups that agents pay for themselves, by x402 (protocol v2)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import orjson
from pydantic import ConfigDict, Field

from orchestrator.api.endpoint import Answer, Auth, Context, Endpoint
from orchestrator.api.fields import Body, MoneyBody, Shown
from orchestrator.database.unit import Row
from orchestrator.errors import Invalid, NotFound
from orchestrator.payments.topup_watch import attempt_object, topup_object
from orchestrator.payments.topups import Answered
from orchestrator.services import Services
from rates.money import WALLET_USD

HEADER_CHARS_MAX: Final = 8 * 1024
REQUIRED: Final = "PAYMENT-REQUIRED"
SIGNATURE: Final = "PAYMENT-SIGNATURE"
RESPONSE: Final = "PAYMENT-RESPONSE"
SHOWN_TO_BROWSERS: Final = {"Access-Control-Expose-Headers": f"{REQUIRED}, {RESPONSE}"}


class AskForTopup(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"wallet": "wal_0199f3a0", "amount": {"amount": "5.00", "currency": "USD"}}]}
    )

    wallet: str = Field(max_length=80)
    amount: MoneyBody


class TopupShown(Shown):
    id: str
    wallet: str
    status: str = Field(description="open, processing, settled (on the chain) or credited (by the scanner)")
    amount: dict[str, str]
    credited: dict[str, str]
    url: str = Field(description="Where an agent pays: POST, answered with 402.")
    offers: list[dict[str, Any]] = Field(description="Payment requirements (x402).")
    attempts: list[dict[str, Any]]
    deposits: list[dict[str, Any]]
    expires_at: str
    created_at: str


def url_of(context: Context[Services], topup_id: str) -> str:
    return f"{context.services.settings.service.public_url}/v1/topups/{topup_id}/x402"


async def create_topup(context: Context[Services], body: AskForTopup) -> Answer:
    amount = body.amount.money(WALLET_USD)
    limits = context.services.settings.compliance
    if not limits.session_min_usd <= amount <= limits.session_max_usd:
        raise Invalid("amount_out_of_range", f"from {limits.session_min_usd} to {limits.session_max_usd}",
                      pointer="/amount/amount")  # fmt: skip
    topup = await context.services.topups.create(
        context.resource_id, context.merchant_id, context.mode, body.wallet, amount
    )
    return Answer(await _object(context, topup))


async def get_topup(context: Context[Services]) -> Answer:
    topup = await context.services.topups.find(context.path["id"])
    if (topup["merchant_id"], topup["mode"]) != (context.merchant_id, context.mode):
        raise NotFound("topup_not_found", f"there is no top-up {topup['id']}")
    return Answer(await _object(context, topup))


async def pay_topup(context: Context[Services]) -> Answer:
    answered = await context.services.topups.pay(context.path["id"], _message(context))
    attempt = answered.attempt
    headers = dict(SHOWN_TO_BROWSERS)
    if attempt is not None:
        headers[RESPONSE] = _encoded(_settle_response(answered, attempt))
    match answered.state:
        case "required":
            required = {
                "x402Version": 2, "accepts": [dict(offer.shown) for offer in answered.offers],
                "resource": {"url": url_of(context, answered.topup["id"]), "description": "Top-up of a prepaid wallet",
                             "mimeType": "application/json"},
                **({"error": answered.error} if answered.error else {}),
            }  # fmt: skip
            return Answer(required, 402, {**headers, REQUIRED: _encoded(required)})
        case "processing":
            shown = None if attempt is None else attempt_object(attempt)
            return Answer({"topup": answered.topup["id"], "status": "processing", "attempt": shown}, 202, headers)
        case _:
            return Answer(await _object(context, answered.topup), 200, headers)


def _message(context: Context[Services]) -> dict[str, Any] | None:
    """Return what the agent shows, decoded; None: nothing. Raises Invalid."""
    header = context.request.headers.get(SIGNATURE)
    if header is None:
        return None
    try:
        if len(header) > HEADER_CHARS_MAX:
            raise ValueError  # noqa: TRY301  # the same refusal as below
        message = orjson.loads(base64.b64decode(header, validate=True))
    except (ValueError, binascii.Error):
        raise MalformedPayment("payment_not_understood", f"{SIGNATURE} is base64 of a JSON object") from None
    if not isinstance(message, dict):
        raise MalformedPayment("payment_not_understood", f"{SIGNATURE} is base64 of a JSON object")
    return message


class MalformedPayment(Invalid):
    status = 400
    title = "The payment cannot be read"


def _settle_response(answered: Answered, attempt: Row) -> dict[str, Any]:
    success = answered.state == "settled"
    reason = answered.error or ("settlement_pending" if answered.state == "processing" else "")
    return {
        "success": success, "transaction": attempt["tx_hash"] or "", "network": attempt["network"].partition(":")[2],
        "payer": "0x" + bytes(attempt["payer"]).hex(), **({} if success else {"errorReason": reason or "failed"}),
    }  # fmt: skip


def _encoded(body: dict[str, Any]) -> str:
    return base64.b64encode(orjson.dumps(body)).decode()


async def _object(context: Context[Services], topup: Row) -> dict[str, Any]:
    services = context.services
    return await topup_object(
        services.reads, topup, await services.topups.attempts(topup), url_of(context, topup["id"])
    )


ENDPOINTS = (
    Endpoint("POST", "/v1/topups", create_topup, summary="Ask an agent to top up a wallet", tag="Top-ups",
             body=AskForTopup, answer=TopupShown, status=201, creates="top", refusals=(404,)),
    Endpoint("GET", "/v1/topups/{id}", get_topup, summary="Look at a top-up", tag="Top-ups", answer=TopupShown),
    Endpoint("POST", "/v1/topups/{id}/x402", pay_topup, summary="Pay a top-up by x402", tag="Top-ups",
             auth=Auth.PUBLIC, raw=True, accepts="*/*", answer=TopupShown, refusals=(400, 402, 409, 429),
             description="Without PAYMENT-SIGNATURE: 402 with PAYMENT-REQUIRED. With it: 200 once it is on the chain, "
             "202 while nobody knows; ask again with the same signature, never sign another one meanwhile."),
)  # fmt: skip
