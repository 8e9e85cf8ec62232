"""The vendors' wire formats over loopback: webhooks that repeat, lie or come too early, answers that are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from adapters.base import Mode, RailEvent, RailEventKind
from orchestrator.clock import from_us
from orchestrator.database import tables
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator.ledger.check import check
from orchestrator.payments.offers import offers_of
from orchestrator.payments.wire_json import event_to_json
from rates.money import Asset, Money
from tests.support.world import MERCHANT, MODE, World, world

PRINCIPAL = 20 * 10**9
CARD = {"card": "4242424242424242"}


async def _rows(here: World, model: Any, **where: Any) -> list[Row]:
    table = table_of(model)
    return await here.services.reads.all(
        select(table).where(*(table.c[name] == value for name, value in where.items()))
    )


async def _sound(here: World) -> None:
    report = await check(here.services.reads)
    assert report.ok, report.findings


async def _until(true: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    for _ in range(int(seconds / 0.05)):
        if await true():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


async def test_one_webhook_a_hundred_times_at_once_credits_once(migrated_database_url: str, tmp_path: Path) -> None:
    async with world(migrated_database_url, tmp_path) as here:
        here.switched_off |= {"inbox", "watch"}
        session = await here.session("DE")
        chosen = await here.select(session)
        await here.pay_at_rail(chosen, CARD)

        async def arrived() -> bool:
            return any(b"checkout.session.completed" in row["body"] for row in await _rows(here, tables.RawWebhook))

        await _until(arrived)
        raw = next(r for r in await _rows(here, tables.RawWebhook) if b"checkout.session.completed" in r["body"])
        headers = {k: v for k, v in orjson.loads(raw["headers"]).items() if k in {"stripe-signature", "content-type"}}

        async def deliver() -> int:
            url = f"{here.public_url}/webhooks/stripe/main"
            async with here.http.post(url, data=raw["body"], headers=headers) as answer:
                return answer.status

        assert set(await asyncio.gather(*(deliver() for _ in range(100)))) == {200}
        here.switched_off.clear()
        payment = await here.until(session, "credited")
        await _until(lambda: _no_webhook_waits(here))
        payment = await here.until(session, "credited")
        assert payment["credited_units"] == PRINCIPAL
        assert len(await _rows(here, tables.Capture)) == 1
        await _sound(here)


async def _no_webhook_waits(here: World) -> bool:
    return not await _rows(here, tables.RawWebhook, state="received")


async def test_a_webhook_that_is_not_signed_is_kept_not_believed_and_makes_us_ask(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with world(migrated_database_url, tmp_path, loops=False) as here:
        session = await here.session("DE")
        chosen = await here.select(session)
        await here.control("stripe", "main", {"hold_webhooks": True})
        await here.pay_at_rail(chosen, CARD)
        body = b'{"id": "evt_lie", "data": {"object": {"client_reference_id": "%s"}}}' % chosen["attempt"].encode()
        url = f"{here.public_url}/webhooks/stripe/main"
        for headers in ({}, {"Stripe-Signature": "t=1,v1=00"}):
            async with here.http.post(url, data=body, headers=headers) as answer:
                assert answer.status == 403
        states = [row["state"] for row in await _rows(here, tables.RawWebhook)]
        assert states == ["rejected", "rejected"]
        assert await here.services.inbox.run_once() == 0
        payment = await here.payment(session)
        assert payment is not None
        assert payment["credited_units"] == 0
        await here.services.watch.run_once()  # the lie made the attempt due: the rail itself is asked
        await here.until(session, "credited", seconds=1)
        await _sound(here)


async def test_a_webhook_of_another_account_or_of_no_rail_is_turned_away(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path, loops=False) as here:
        for path, status in (("stripe/other", 404), ("tron/tron", 404), ("nobody/main", 404), ("adyen/main", 403)):
            async with here.http.post(f"{here.public_url}/webhooks/{path}", data=b"{}") as answer:
                assert answer.status == status, path
        with pytest.raises(NotFound):
            await here.services.inbox.take("stripe", "other", {}, b"{}")
        with pytest.raises(Forbidden):
            await here.services.inbox.take("adyen", "main", {}, b"{}")


@pytest.mark.parametrize(("country", "rail"), [("DE", "stripe"), ("BR", "adyen")])
async def test_an_answer_that_was_lost_ends_in_one_payment_at_the_rail(
    migrated_database_url: str, tmp_path: Path, country: str, rail: str
) -> None:
    async with world(migrated_database_url, tmp_path) as here:
        await here.control(rail, "main", {"drop_answer": 1})
        session = await here.session(country)
        chosen = await here.select(session)
        assert chosen["status"] == "unknown"

        async def found() -> bool:
            attempt = (await _rows(here, tables.Attempt, id=chosen["attempt"]))[0]
            return attempt["rail_reference"] is not None

        await _until(found)
        again = await here.select(session)
        assert again["attempt"] == chosen["attempt"]
        await here.pay_at_rail(again, CARD if rail == "stripe" else {"outcome": "paid"})
        payment = await here.until(session, "credited")
        assert payment["credited_units"] == PRINCIPAL
        assert len(await _rows(here, tables.Attempt)) == len(await _rows(here, tables.Capture)) == 1
        await _sound(here)


async def test_a_declined_card_falls_over_and_its_page_takes_no_second_charge(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with world(migrated_database_url, tmp_path) as here:
        session = await here.session("DE")
        first = await here.select(session)
        await here.pay_at_rail(first, {"card": "4000000000009995"})

        async def told() -> bool:
            return (await _rows(here, tables.CheckoutSession, id=session["id"]))[0]["suggested_offer"] is not None

        await _until(told)
        suggested = (await _rows(here, tables.CheckoutSession, id=session["id"]))[0]["suggested_offer"]
        assert suggested == offers_of(session)[1].id
        second = await here.select(session, 1)
        late = await here.pay_at_rail(first, CARD)  # the old page, still open in a tab
        assert "expired" in str(late).lower() or "error" in str(late).lower(), late
        await here.pay_at_rail(second)
        payment = await here.until(session, "credited")
        await asyncio.sleep(0.5)
        assert payment["credited_units"] == PRINCIPAL
        assert len(await _rows(here, tables.Capture)) + len(await _rows(here, tables.Deposit)) == 1
        await _sound(here)


@pytest.mark.parametrize("wrong", [-7, 1000])
async def test_a_wrong_amount_at_the_rail_is_held_for_a_person(sqlite_url: str, tmp_path: Path, wrong: int) -> None:
    async with world(sqlite_url, tmp_path) as here:
        await here.control("adyen", "main", {"wrong_amount": wrong})
        session = await here.session("BR")
        await here.pay_at_rail(await here.select(session))
        payment = await here.until(session, "review")
        assert payment["credited_units"] == 0
        assert [row["reason"] for row in await _rows(here, tables.Review)] == ["amount_mismatch"]
        assert sum(row["balance"] for row in await _rows(here, tables.Account, code="suspense")) < 0
        await _sound(here)


async def test_webhooks_that_repeat_and_overtake_each_other_credit_once(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with world(migrated_database_url, tmp_path) as here:
        for rail in ("stripe", "adyen"):
            await here.control(rail, "main", {"duplicate_webhooks": 3, "reorder_webhooks": True})
        sessions = [
            await here.session(country, reference=f"c{n}") for n, country in enumerate(("DE", "BR", "NL", "PH"))
        ]
        for session, how in zip(sessions, (CARD, None, None, None), strict=True):
            await here.pay_at_rail(await here.select(session), how)
        for session in sessions:
            payment = await here.until(session, "credited")
            assert payment["credited_units"] == PRINCIPAL
        await _until(lambda: _no_webhook_waits(here))
        assert len(await _rows(here, tables.Capture)) == 4
        await _sound(here)


async def test_a_rail_that_is_down_is_named_and_the_next_offer_works(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path) as here:
        await here.control("stripe", "main", {"rate_limited": 50})  # a clear "not taken", however often it is asked
        session = await here.session("DE")
        chosen = await here.select(session)
        assert chosen["status"] == "failed"
        assert chosen["suggested_offer"] == offers_of(session)[1].id
        second = await here.select(session, 1)
        await here.pay_at_rail(second)
        await here.until(session, "credited")
        await _sound(here)


async def test_a_session_that_is_expired_is_closed_at_the_rail(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path) as here:
        session = await here.session("DE")
        chosen = await here.select(session)
        await here.services.checkout.expire(MERCHANT, MODE, session["id"])
        await here.services.expiry.closing.close_expired(MERCHANT, chosen["payment"])
        late = await here.pay_at_rail(chosen, CARD)
        assert "expired" in str(late).lower() or "error" in str(late).lower(), late
        with pytest.raises(Conflict, match="session_expired"):
            await here.select(session, 1)
        assert len(await _rows(here, tables.Capture)) == 0


async def test_too_few_rate_sources_make_no_offer_and_say_so(sqlite_url: str, tmp_path: Path) -> None:
    few = {"rates": {"minimum_sources": {"default": 9}}}
    async with world(sqlite_url, tmp_path, overrides=few, loops=False) as here:
        with pytest.raises(Invalid, match="no_offer: no payment method serves BR"):
            await here.session("BR", methods=frozenset({"pix"}))
        assert await _rows(here, tables.CheckoutSession) == []
        session = await here.session("BR")  # what needs no rate is still offered: a card in dollars
        assert [(offer.method, offer.price.total.asset.code) for offer in offers_of(session)] == [("card", "USD")]


async def test_what_may_not_be_sold_is_refused_before_anything_is_stored(sqlite_url: str, tmp_path: Path) -> None:
    blocked = {"compliance": {"blocked_customers": ["banned"]}}
    async with world(sqlite_url, tmp_path, overrides=blocked, loops=False) as here:
        with pytest.raises(Forbidden, match="country_blocked"):
            await here.session("KP")
        with pytest.raises(Forbidden, match="customer_blocked"):
            await here.session("DE", reference="banned")
        for amount in ("0", "-5", "0.99", "10000.01", "1000000"):
            with pytest.raises(Invalid, match="amount_out_of_range"):
                await here.session("DE", amount)
        for seconds in (0, -1, 299, 86_401):
            with pytest.raises(Invalid, match="expires_in_out_of_range"):
                await here.session("DE", expires_in_s=seconds)
        for model in (tables.CheckoutSession, tables.Customer, tables.Wallet, tables.Quote):
            assert await _rows(here, model) == []


async def test_one_item_that_is_not_ours_does_not_hold_up_the_others(sqlite_url: str, tmp_path: Path) -> None:
    """Adyen sends several items in one message: the stranger's is kept for a person, ours is credited."""
    async with world(sqlite_url, tmp_path, loops=False) as here:
        session = await here.session("BR")
        chosen = await here.select(session)
        attempt = (await _rows(here, tables.Attempt, id=chosen["attempt"]))[0]
        ours = RailEvent(
            "adyen", "main", Mode.TEST, "PSP1:AUTHORISATION:true", RailEventKind.CAPTURED, attempt["id"], "PSP1",
            from_us(attempt["created_us"]), "PSP1", Money(attempt["units"], Asset.parse(attempt["asset"])),
        )  # fmt: skip
        stranger = replace(ours, attempt_id="att_00000000000000000000000000000000", event_id="X", money_id="PSP2")
        events = [event_to_json(stranger), event_to_json(ours)]
        await here.services.inbox._store("adyen", "main", {}, b"{}", "received", "", events)
        await here.services.inbox.run_once()
        await here.until(session, "credited", seconds=1)
        assert {row["state"] for row in await _rows(here, tables.RawWebhook)} == {"unplaced"}
        await _sound(here)
