"""Adyen for the contract suite."""

from __future__ import annotations

from typing import Any, Final

from adapters.base import PaymentStarted, Redirect, Severity
from rates.money import Money, display_asset
from tests.adapters.contract import RailSetup, RailUnderTest

API_KEY: Final = "AQE_contract_suite_key_1"
KEYS: Final = ("A1" * 32, "B2" * 32)
OPTIONS: Final[dict[str, Any]] = {"api_key": API_KEY, "merchant_account": "CrossrailBR", "hmac_keys": list(KEYS)}

REFUSALS: Final = {Severity.SOFT: "12", Severity.HARD: "20"}


async def use_page(rail: RailUnderTest, started: PaymentStarted, fields: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(started.action, Redirect)
    async with rail.http.post(started.action.url, json=fields, headers={"Accept": "application/json"}) as answer:
        shown: dict[str, Any] = await answer.json()
        return shown


async def pay(rail: RailUnderTest, started: PaymentStarted) -> None:
    await use_page(rail, started, {"outcome": "paid"})


async def decline(rail: RailUnderTest, started: PaymentStarted, severity: Severity) -> None:
    shown = await use_page(rail, started, {"outcome": "refused", "reason": REFUSALS[severity]})
    assert shown["status"] == "declined"


async def dispute(rail: RailUnderTest, started: PaymentStarted) -> None:
    await pay(rail, started)
    await use_page(rail, started, {"outcome": "chargeback"})


RAIL: Final = RailSetup(
    rail="adyen",
    options=OPTIONS,
    wrong_key={**OPTIONS, "api_key": "AQE_contract_suite_key_wrong"},
    other_secret={**OPTIONS, "hmac_keys": ["C3" * 32]},
    empty_secrets=[{**OPTIONS, "hmac_keys": keys} for keys in ([], [""], [" "], [KEYS[0], ""])],
    secrets=(API_KEY, *KEYS, "AQE_contract_suite_key_wrong"),
    method="pix",
    amount=Money(11245, display_asset("BRL")),
    country="BR",
    pay=pay,
    decline=decline,
    dispute=dispute,
    captures_by_poll=False,  # a payment link's status carries no pspReference
    finds_by_attempt_id=False,  # the Checkout API has no search; the same key gives the same link
)
