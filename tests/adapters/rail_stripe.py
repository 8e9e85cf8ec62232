"""Stripe for the contract suite."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from adapters.base import PaymentStarted, Redirect, Severity
from rates.money import Money, display_asset
from tests.adapters.contract import RailSetup, RailUnderTest

API_KEY: Final = "sk_test_contract_suite_key_1"
SECRETS: Final = ("whsec_contract_suite_new_1", "whsec_contract_suite_old_1")
OPTIONS: Final[dict[str, Any]] = {"api_key": API_KEY, "webhook_secrets": list(SECRETS)}

PAYS: Final = "4242 4242 4242 4242"
DECLINES: Final = {Severity.SOFT: "4000 0000 0000 9995", Severity.HARD: "4100 0000 0000 0019"}


async def use_page(rail: RailUnderTest, started: PaymentStarted, fields: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(started.action, Redirect)
    async with rail.http.post(started.action.url, json=fields, headers={"Accept": "application/json"}) as answer:
        shown: dict[str, Any] = await answer.json()
        return shown


async def pay(rail: RailUnderTest, started: PaymentStarted) -> None:
    await use_page(rail, started, {"card": PAYS})


async def decline(rail: RailUnderTest, started: PaymentStarted, severity: Severity) -> None:
    shown = await use_page(rail, started, {"card": DECLINES[severity]})
    assert shown["status"] == "declined"


async def dispute(rail: RailUnderTest, started: PaymentStarted) -> None:
    await use_page(rail, started, {"card": "4000 0000 0000 0259"})


async def pay_out(rail: RailUnderTest, currency: str, **more: Any) -> dict[str, Any]:
    """Let Stripe pay out what is held in a currency, or ``fail`` a payout; return it."""
    async with rail.http.post(f"{rail.base}/_bank/payouts", json={"currency": currency, **more}) as answer:
        payout: dict[str, Any] = await answer.json()
        return payout


RAIL: Final = RailSetup(
    rail="stripe",
    options=OPTIONS,
    wrong_key={**OPTIONS, "api_key": "sk_test_contract_suite_key_wrong"},
    other_secret={**OPTIONS, "webhook_secrets": ["whsec_contract_suite_other"]},
    empty_secrets=[{**OPTIONS, "webhook_secrets": secrets} for secrets in ([], [""], [" "], [SECRETS[0], ""])],
    secrets=(API_KEY, *SECRETS, "sk_test_contract_suite_key_wrong"),
    method="card",
    amount=Money(2312, display_asset("EUR")),
    country="DE",
    pay=pay,
    decline=decline,
    dispute=dispute,
    saves_methods=True,
    pay_out=partial(pay_out, currency="eur"),
)
