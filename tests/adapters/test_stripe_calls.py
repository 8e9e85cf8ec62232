"""What only Stripe has: finding by lists and search, 3-D Secure, expiry and idempotency, options, the page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from adapters.base import CancelOutcome, Mode, OutcomeUnknown, RailAccount, RailEventKind, RailMisconfigured, Redirect
from adapters.stripe.adapter import StripeAdapter
from adapters.stripe.options import read_options
from adapters.stripe.wire import moment
from tests.adapters.contract import RailUnderTest, started_rail
from tests.adapters.rail_stripe import OPTIONS, PAYS, RAIL, use_page


@pytest.fixture
async def rail() -> AsyncIterator[RailUnderTest]:
    async with started_rail(RAIL) as started:
        yield started


def kinds(events: Any) -> list[RailEventKind]:
    return [event.kind for event in events]


async def test_polling_tells_of_a_decline_in_the_webhooks_words_and_that_the_page_is_open(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await use_page(rail, started, {"card": "4000000000000002"})
    opened, declined = await rail.adapter.fetch_status(rail.reference(order, started))
    assert (opened.kind, opened.rail_reference) == (RailEventKind.ACTION_REQUIRED, started.rail_reference)
    assert declined.still_open
    assert declined.event_id == (await rail.told(RailEventKind.DECLINED))[0].event_id


async def test_two_declines_are_two_events(rail: RailUnderTest) -> None:
    started = await rail.adapter.create_payment(rail.order())
    for card in ("4000000000000002", "4000000000009995"):
        await use_page(rail, started, {"card": card})
    events = await rail.told(RailEventKind.DECLINED, count=2)
    assert {e.decline.code for e in events if e.decline} == {"generic_decline", "insufficient_funds"}
    assert len({e.event_id for e in events}) == 2


async def test_a_3d_secure_step_that_is_refused_declines_and_one_that_is_confirmed_pays(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    for confirmed, after in ((False, "declined"), (True, "succeeded")):
        assert (await use_page(rail, started, {"card": "4000002500003155"}))["status"] == "requires_action"
        waiting = await rail.adapter.fetch_status(rail.reference(order, started))
        assert RailEventKind.CAPTURED not in kinds(waiting)
        assert (await use_page(rail, started, {"authenticate": confirmed}))["status"] == after
    [captured] = await rail.adapter.fetch_status(rail.reference(order, started))
    assert captured.kind is RailEventKind.CAPTURED
    [declined] = await rail.told(RailEventKind.DECLINED)
    assert declined.decline
    assert declined.decline.code == "payment_intent_authentication_failure"


async def test_money_is_found_by_search_where_the_list_no_longer_shows_its_session(rail: RailUnderTest) -> None:
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await use_page(rail, started, {"card": PAYS})
    lost = replace(rail.reference(order, None), created_at=datetime.now(UTC) - timedelta(hours=3))
    [found] = await rail.adapter.fetch_status(lost)
    assert (found.kind, found.attempt_id) == (RailEventKind.CAPTURED, order.attempt_id)
    assert found.event_id == (await rail.told(RailEventKind.CAPTURED))[0].event_id
    await rail.control(search_lag_ms=100_000)
    assert list(await rail.adapter.fetch_status(lost)) == [], "an empty answer proves nothing"


async def test_the_list_is_read_page_by_page(rail: RailUnderTest) -> None:
    wanted = rail.order()
    started = await rail.adapter.create_payment(wanted)
    for _ in range(101):
        await rail.adapter.create_payment(rail.order())
    [found] = await rail.adapter.fetch_status(rail.reference(wanted, None))
    assert found.rail_reference == started.rail_reference
    assert await rail.adapter.cancel_payment(rail.reference(wanted, None)) is CancelOutcome.CANCELED


async def test_what_cannot_be_found_cannot_be_cancelled(rail: RailUnderTest) -> None:
    assert await rail.adapter.cancel_payment(rail.reference(rail.order(), None)) is CancelOutcome.CANNOT


async def test_an_order_sent_again_when_its_end_is_near_finds_the_first_session(rail: RailUnderTest) -> None:
    order = rail.order(expires_at=rail.started_at + timedelta(minutes=40))
    first = await rail.adapter.create_payment(order)
    later = StripeAdapter(rail.adapter.account, rail.http, now=lambda: rail.started_at + timedelta(minutes=20))
    assert (await later.create_payment(order)).rail_reference == first.rail_reference


@pytest.mark.parametrize(("minutes", "lives"), [(5, 36), (60, 60), (3 * 24 * 60, 24 * 60)])
async def test_the_page_lives_as_long_as_stripe_lets_it(rail: RailUnderTest, minutes: int, lives: int) -> None:
    started = await rail.adapter.create_payment(rail.order(expires_at=rail.started_at + timedelta(minutes=minutes)))
    assert isinstance(started.action, Redirect)
    assert started.action.expires_at is not None
    assert abs(started.action.expires_at - rail.started_at - timedelta(minutes=lives)) < timedelta(seconds=5)


async def test_another_order_under_the_same_key_is_never_sent_as_a_new_one(rail: RailUnderTest) -> None:
    order = rail.order()
    await rail.adapter.create_payment(order)
    with pytest.raises(OutcomeUnknown):
        await rail.adapter.create_payment(replace(order, amount=order.amount + order.amount))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"api_key": "sk_live_of_another_mode"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"api_key": None}, "api_key"),
        ({"webhook_secrets": "whsec_not_a_list"}, "webhook_secrets"),
        ({"webhook_secrets": [None]}, "webhook_secrets.0"),
        ({"webhook_secrets": ["whsec_good", "\t"]}, "webhook_secrets.1"),
        ({"currencies": ["EUR", "KWD"]}, "currencies"),
        ({"currency": ["EUR"]}, "currency"),
    ],
)
def test_a_wrong_option_is_named_and_its_value_is_not_shown(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RailMisconfigured, match=field) as caught:
        read_options(RailAccount("stripe", "eu", Mode.TEST, {**OPTIONS, **changes}))
    assert "another_mode" not in str(caught.value)
    assert "not_a_list" not in str(caught.value)


def test_a_live_account_never_talks_to_a_sandbox() -> None:
    live = {**OPTIONS, "api_key": "sk_live_1234567890"}
    assert read_options(RailAccount("stripe", "eu", Mode.LIVE, live)).currencies == ("*",)
    with pytest.raises(RailMisconfigured, match="base_url"):
        read_options(RailAccount("stripe", "eu", Mode.LIVE, live, "http://127.0.0.1:1"))


async def test_a_person_pays_on_the_page_and_comes_back(rail: RailUnderTest) -> None:
    started = await rail.adapter.create_payment(rail.order(return_url="http://127.0.0.1:9/back?s=<1>"))
    assert isinstance(started.action, Redirect)
    async with rail.http.get(started.action.url) as page:
        text = await page.text()
        assert page.status == 200
    assert "SIMULATOR" in text
    assert "23.12 EUR" in text
    assert "s=&lt;1&gt;" in text
    assert "http://127.0.0.1:9" in text
    assert 'src="' not in text, "no asset from anywhere"
    async with rail.http.post(started.action.url, data={"card": "4000000000000002"}) as declined:
        assert "You can try again" in await declined.text()
    async with rail.http.post(started.action.url, data={"card": PAYS}, allow_redirects=False) as paid:
        assert (paid.status, paid.headers["Location"]) == (303, "http://127.0.0.1:9/back?s=%3C1%3E")
    async with rail.http.get(started.action.url) as page:
        assert "This payment is complete." in await page.text()


async def test_a_page_that_does_not_exist_is_not_found(rail: RailUnderTest) -> None:
    for call in (rail.http.get, rail.http.post):
        async with call(f"{rail.base}/c/pay/cs_test_unknown") as answer:
            assert answer.status == 404


async def test_times_are_the_rails_own(rail: RailUnderTest) -> None:
    assert moment(1_700_000_000) == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    order = rail.order()
    started = await rail.adapter.create_payment(order)
    await use_page(rail, started, {"card": PAYS})
    [polled] = await rail.adapter.fetch_status(rail.reference(order, started))
    told = await rail.told(RailEventKind.CAPTURED)
    assert all(abs(event.occurred_at - polled.occurred_at) <= timedelta(seconds=1) for event in told)
