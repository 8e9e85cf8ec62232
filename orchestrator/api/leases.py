"""Spend leases: a gateway takes an amount for some seconds, spends it on its own and settles in one batch."""

from __future__ import annotations

from typing import Final

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, MoneyBody
from orchestrator.api.holds import CapturedShown, CreateHold, HoldShown, terms
from orchestrator.errors import Invalid
from orchestrator.ledger.holds import LEASE
from orchestrator.services import Services
from rates.money import UNITS_MAX, WALLET_USD

LIFE_SECONDS: Final = 60
LIFE_SECONDS_MAX: Final = 24 * 3600
AMOUNTS_MAX: Final = 5000
_USD: Final[JsonDict] = {"amount": "5.00", "currency": "USD"}


class CreateLease(CreateHold):
    model_config = ConfigDict(json_schema_extra={"examples": [{"wallet": "wal_0199", "amount": _USD}]})

    amount: MoneyBody = Field(description="What may be spent without asking, USD, above 0.")
    expires_in: int = Field(default=LIFE_SECONDS, ge=1, le=LIFE_SECONDS_MAX, description="Seconds.")


class SettleLease(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"amount": {"amount": "3.127", "currency": "USD"}}]})

    amount: MoneyBody | None = Field(default=None, description="What was spent in all, USD, from 0.")
    amounts: list[MoneyBody] | None = Field(default=None, max_length=AMOUNTS_MAX, description="Or one for each call.")

    @model_validator(mode="after")
    def _one_of_both(self) -> SettleLease:
        if (self.amount is None) == (self.amounts is None):
            raise ValueError("give amount or amounts")
        return self

    def units(self) -> int:
        """Return the total, USD/9. Raises Invalid."""
        if self.amount is not None:
            return self.amount.money(WALLET_USD).units
        total = sum(
            one.money(WALLET_USD, pointer=f"/amounts/{position}").units
            for position, one in enumerate(self.amounts or ())
        )
        if total > UNITS_MAX:
            raise Invalid("amount_invalid", "the sum does not fit into 64 bits", pointer="/amounts")
        return total


async def create_lease(context: Context[Services], body: CreateLease) -> Answer:
    return Answer(await context.services.holds.make(terms(context, body, LEASE)))


async def get_lease(context: Context[Services]) -> Answer:
    return Answer(await context.services.holds.get(context.merchant_id, context.mode, context.path["id"], LEASE))


async def settle_lease(context: Context[Services], body: SettleLease) -> Answer:
    holds = context.services.holds
    return Answer(await holds.capture(context.merchant_id, context.mode, context.path["id"], LEASE, body.units()))


ENDPOINTS = (
    Endpoint("POST", "/v1/leases", create_lease, summary="Take an amount to spend without asking", tag="Holds",
             body=CreateLease, answer=HoldShown, status=201, creates="lea", refusals=(402, 404, 409)),
    Endpoint("GET", "/v1/leases/{id}", get_lease, summary="Look at a spend lease", tag="Holds", answer=HoldShown),
    Endpoint("POST", "/v1/leases/{id}/settle", settle_lease, summary="Charge what was spent, give back the rest",
             tag="Holds", body=SettleLease, answer=CapturedShown, body_bytes_max=512 * 1024,
             description="Never refused for money, whenever it comes: usage beyond the lease takes other credit, then "
                         "becomes debt. Asked again with the same total it answers the same."),
)  # fmt: skip
