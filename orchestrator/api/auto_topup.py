"""A wallet's auto top-up and the payment methods that its customer saved."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, MoneyBody, Shown
from orchestrator.payments.auto_topup import Wanted, auto_topup_object
from orchestrator.payments.mandates import mandate_object
from orchestrator.payments.wallets import find_wallet
from orchestrator.services import Services
from rates.money import WALLET_USD

_EXAMPLE: dict[str, Any] = {
    "enabled": True,
    "below": {"amount": "5.00", "currency": "USD"},
    "amount": {"amount": "25.00", "currency": "USD"},
    "daily_max": {"amount": "100.00", "currency": "USD"},
}


class SetAutoTopup(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    enabled: bool
    below: MoneyBody = Field(description="Charge when what the wallet can spend falls below this.")
    amount: MoneyBody = Field(description="What shall reach the wallet each time; fees come on top.")
    daily_max: MoneyBody = Field(description="At most so much in one UTC day.")
    mandate: str | None = Field(
        default=None, pattern=r"^man_[0-9a-f]{32}$", description="Default: the method that was saved last."
    )


class AutoTopupShown(Shown):
    wallet: str
    enabled: bool
    below: dict[str, str]
    amount: dict[str, str]
    daily_max: dict[str, str]
    charged_today: dict[str, str] = Field(description="In this UTC day, a charge in flight included.")
    mandate: str | None
    state: str = Field(
        description="off | idle | charging | waits_for_buyer (the bank wants to see the customer: "
        "`auto_topup.action_required` told the link)"
    )
    checkout_session: str | None = Field(description="Of the charge in flight.")
    declines: int = Field(description="In a row. After five, or one that is final, it is switched off.")
    next_try_at: str | None = Field(description="Not before; null: as soon as it is needed.")


class MandateShown(Shown):
    id: str
    wallet: str
    rail: str
    method: str
    label: str = Field(description='For people, such as "Visa 4242".')
    status: str = Field(description="active | revoked")
    created_at: str


async def set_auto_topup(context: Context[Services], body: SetAutoTopup) -> Answer:
    services = context.services
    wanted = Wanted(
        enabled=body.enabled,
        below=body.below.money(WALLET_USD, pointer="/below"),
        amount=body.amount.money(WALLET_USD, pointer="/amount"),
        daily_max=body.daily_max.money(WALLET_USD, pointer="/daily_max"),
        mandate_id=body.mandate,
    )
    row = await services.auto_topups.put(context.merchant_id, context.mode, context.path["id"], wanted)
    return Answer(auto_topup_object(row, services.clock.now_us()))


async def get_auto_topup(context: Context[Services]) -> Answer:
    services = context.services
    row = await services.auto_topups.get(context.merchant_id, context.mode, context.path["id"])
    return Answer(auto_topup_object(row, services.clock.now_us()))


async def list_mandates(context: Context[Services]) -> Answer:
    services = context.services
    wallet = await find_wallet(services.reads, context.merchant_id, context.mode, context.path["id"])
    rows = await services.mandates.of_wallet(context.merchant_id, wallet["id"])
    return Answer({"data": [mandate_object(row) for row in rows], "next_cursor": None})


async def revoke_mandate(context: Context[Services]) -> Answer:
    path = context.path
    row = await context.services.mandates.revoke(context.merchant_id, context.mode, path["id"], path["mandate"])
    return Answer(mandate_object(row))


ENDPOINTS = (
    Endpoint("PUT", "/v1/wallets/{id}/auto_topup", set_auto_topup, summary="Set a wallet's auto top-up", tag="Wallets",
             body=SetAutoTopup, answer=AutoTopupShown, refusals=(409,)),
    Endpoint("GET", "/v1/wallets/{id}/auto_topup", get_auto_topup, summary="Look at a wallet's auto top-up",
             tag="Wallets", answer=AutoTopupShown),
    Endpoint("GET", "/v1/wallets/{id}/mandates", list_mandates, tag="Wallets", answer=Listed[MandateShown],
             summary="List the payment methods that a customer saved, newest first"),
    Endpoint("DELETE", "/v1/wallets/{id}/mandates/{mandate}", revoke_mandate, tag="Wallets", answer=MandateShown,
             summary="Never charge a saved method again; an auto top-up that rests on it is switched off"),
)  # fmt: skip
