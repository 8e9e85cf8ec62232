"""Sessions that cannot be: refused, with a pointer to the field and what to send instead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from orchestrator.database.tables import CheckoutSession, table_of
from tests.integration.api.shop import SESSIONS, Shop, amount_of, open_shop, part, session_with


@pytest.fixture
async def small_shop(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    """On SQLite only: for what is refused before a database is asked."""
    async with open_shop(sqlite_url, tmp_path) as open_one:
        yield open_one


REFUSED_SESSIONS: tuple[tuple[dict[str, Any], str], ...] = (
    (amount_of("0"), "/amount/amount"),
    (amount_of("0.00"), "/amount/amount"),
    (amount_of("-5.00"), "/amount/amount"),
    (amount_of("NaN"), "/amount/amount"),
    (amount_of("Infinity"), "/amount/amount"),
    (amount_of("1e5"), "/amount/amount"),
    (amount_of("1_000"), "/amount/amount"),
    (amount_of("20,00"), "/amount/amount"),
    (amount_of(" 20"), "/amount/amount"),
    (amount_of("٢٠"), "/amount/amount"),
    (amount_of(""), "/amount/amount"),
    (amount_of(20), "/amount/amount"),
    (amount_of(20.5), "/amount/amount"),
    (amount_of(None), "/amount/amount"),
    (amount_of("20.0000000001"), "/amount/amount"),
    (amount_of("0.99"), "/amount/amount"),
    (amount_of("10000.01"), "/amount/amount"),
    (amount_of("9223372036.854775808"), "/amount/amount"),
    (amount_of("9999999999999999999"), "/amount/amount"),
    (amount_of("20.00", "EUR"), "/amount/currency"),
    (amount_of("20.00", "XXX"), "/amount/currency"),
    (amount_of("20.00", "usd"), "/amount/currency"),
    (session_with(customer={"reference": "a", "country": "XX"}), "/customer/country"),
    (session_with(customer={"reference": "a", "country": "ZZ"}), "/customer/country"),
    (session_with(customer={"reference": "a", "country": "br"}), "/customer/country"),
    (session_with(customer={"reference": "a", "country": "BRA"}), "/customer/country"),
    (session_with(customer={"reference": "", "country": "BR"}), "/customer/reference"),
    (session_with(customer={"reference": "a\nb", "country": "BR"}), "/customer/reference"),
    (session_with(customer={"reference": "a" * 201, "country": "BR"}), "/customer/reference"),
    (session_with(customer={"country": "BR"}), "/customer/reference"),
    (session_with(customer=None), ""),
    (session_with(wallet="wal_" + "0" * 32), ""),
    (session_with(methods=[]), "/methods"),
    (session_with(methods=["card", "cheque"]), "/methods/1"),
    (session_with(locale="english please"), "/locale"),
    (session_with(success_url="javascript:alert(1)"), "/success_url"),
    (session_with(success_url="//shop.example"), "/success_url"),
    (session_with(cancel_url="ftp://shop.example"), "/cancel_url"),
    (session_with(cancel_url="https:///path"), "/cancel_url"),
    (session_with(metadata={"order": 7}), "/metadata/order"),
    (session_with(metadata={"order": "x" * 501}), "/metadata/order"),
    (session_with(expires_in=0), "/expires_in"),
    (session_with(expires_in=1), "/expires_in"),
    (session_with(expires_in=10**9), "/expires_in"),
    (session_with(amout="20.00"), "/amout"),
)


async def test_a_session_that_cannot_be_is_refused_and_pointed_at(small_shop: Shop) -> None:
    for body, pointer in REFUSED_SESSIONS:
        status, _, pointers = await small_shop.refused("POST", SESSIONS, body)
        assert status == 422, body
        assert pointer in pointers, (body, pointers)
    assert await small_shop.world.services.reads.all(select(table_of(CheckoutSession))) == []


async def test_a_number_for_an_amount_is_told_what_to_send(small_shop: Shop) -> None:
    reply = await small_shop.call("POST", SESSIONS, amount_of(20))
    (error,) = reply.json["errors"]
    assert error["code"] == "amount_is_not_text"
    assert '"20.00"' in error["message"]


async def test_a_blocked_country_is_forbidden(small_shop: Shop) -> None:
    body = session_with(customer={"reference": "a", "country": "KP"})
    assert (await small_shop.refused("POST", SESSIONS, body))[:2] == (403, "country_blocked")


async def test_a_country_written_otherwise_gets_a_hint(small_shop: Shop) -> None:
    reply = await small_shop.call("POST", SESSIONS, session_with(customer={"reference": "a", "country": "UK"}))
    assert "'GB'" in reply.json["detail"]


async def test_the_smallest_and_the_largest_amount_are_taken_exactly(small_shop: Shop) -> None:
    for amount, shown in (("1", "1.00"), ("10000", "10000.00"), ("20.123456789", "20.123456789"), ("0020.50", "20.50")):
        session = await small_shop.post(
            SESSIONS, session_with(customer={"reference": amount, "country": "VN"}) | part(amount)
        )
        assert session["amount"] == {"amount": shown, "currency": "USD"}
