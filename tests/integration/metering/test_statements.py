"""Statements add up or are not shown; months close; a past period is priced again."""

from __future__ import annotations

import csv
import io

import pytest

from orchestrator.clock import DAY_US, from_us, to_us
from orchestrator.ledger.span import Span, StatementDoesNotAddUp
from orchestrator.metering.statement import Line, Statement
from orchestrator.metering.usage_input import period_of
from tests.integration.metering.desk import CENT, Desk

HOUR_US = 3_600_000_000


def day_text(day: int) -> str:
    return from_us(day * DAY_US).date().isoformat()


async def test_a_statement_opens_with_what_the_day_before_closed(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.use([desk.event(wallet, input=1000), desk.event(wallet, "odd", request=2)])
    today = desk.services.clock.now_us() // DAY_US
    desk.services.clock.ahead_us += DAY_US
    await desk.use([desk.event(wallet, input=3000), {**desk.event(wallet), "at": "2026-01-05T00:00:00Z"}])
    await desk.price()
    path = f"/v1/wallets/{wallet}/statement"
    first = (await desk.call("GET", f"{path}?from={day_text(today)}&to={day_text(today + 1)}")).json
    second = (await desk.call("GET", f"{path}?from={day_text(today + 1)}&to={day_text(today + 2)}")).json
    assert (first["opening"], first["closing"]) == ("0.00", "0.97985")
    assert [(line["kind"], line["amount"]) for line in first["lines"]] == [
        ("topup", "1.00"), ("usage", "-0.00015"), ("usage", "-0.02"),
    ]  # fmt: skip
    assert first["lines"][1]["tokens"] == {"input": 1000}
    assert (second["opening"], second["closing"]) == (first["closing"], "0.9794")
    assert [line["events"] for line in second["lines"]] == [1], "nothing was in force in January: rejected"
    before = (await desk.call("GET", f"{path}?from=2026-01-01&to=2026-01-02")).json
    assert (before["opening"], before["lines"], before["closing"]) == ("0.00", [], "0.00")


async def test_a_statement_comes_as_csv_and_as_a_page_to_print(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.price({"<b>=1+1": {"input": "0.001"}})
    await desk.use([desk.event(wallet, "<b>=1+1", input=7)])
    path = f"/v1/wallets/{wallet}/statement"
    reply = await desk.call("GET", path, Accept="text/csv")
    assert reply.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.raw.decode())))
    assert [row["kind"] for row in rows] == ["opening", "topup", "usage", "closing"]
    assert rows[-1]["balance"] == rows[-2]["balance"] == "0.993"
    page = (await desk.call("GET", f"{path}?format=html")).raw.decode()
    assert "<b>" not in page
    assert "&lt;b&gt;=1+1" in page
    assert "0.993" in page


async def test_a_statement_is_refused_for_what_it_cannot_be(desk: Desk) -> None:
    wallet = await desk.wallet()
    path = f"/v1/wallets/{wallet}/statement"
    for query in ("from=2026-02-01&to=2026-02-01", "period=2026-13", "period=2026-01&from=2026-01-01", "from=soon"):
        assert (await desk.call("GET", f"{path}?{query}")).status == 422
    assert (await desk.call("GET", "/v1/wallets/wal_none/statement")).status == 404


def test_a_statement_that_does_not_add_up_is_not_shown() -> None:
    lines = (Line("topup", 10), Line("usage", -3))
    assert Statement({"id": "wal_1"}, Span(0, 1), 5, lines, 12).check().closing == 12
    with pytest.raises(StatementDoesNotAddUp):
        Statement({"id": "wal_1"}, Span(0, 1), 5, lines, 11).check()


async def test_a_month_is_closed_once_and_only_when_it_is_over(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.use([desk.event(wallet, input=1000)])
    clock = desk.services.clock
    month = period_of(clock.now_us())
    early = await desk.call("POST", f"/v1/periods/{month}/close")
    assert (early.status, early.json["code"]) == (409, "period_is_not_over")
    used_at = from_us(clock.now_us()).isoformat()
    clock.ahead_us += 31 * DAY_US
    closed = await desk.call("POST", f"/v1/periods/{month}/close")
    assert closed.status == 200, closed.raw
    assert closed.json["usage"] == {month: {"events": 1, "amount": "0.00015"}}
    late = await desk.use([{**desk.event(wallet, input=1000), "at": used_at}])
    assert late["results"][0]["period"] == month, "it says so"
    again = await desk.call("POST", f"/v1/periods/{month}/close")
    assert again.json == closed.json
    shown = (await desk.call("GET", f"/v1/wallets/{wallet}/statement?period={month}")).json
    assert shown["closing"] == "0.99985", "the late one is in the next month"
    clock.ahead_us -= 31 * DAY_US
    refused = await desk.call("POST", "/v1/usage", {"events": [desk.event(wallet)]})
    assert (refused.status, refused.json["code"]) == (429, "period_is_closed"), "a clock that went back"
    await desk.assert_sound()


async def test_a_rerating_reports_then_posts_once(desk: Desk) -> None:
    rich, poor, lucky = await desk.wallet(cents=100), await desk.wallet(cents=1), await desk.wallet(cents=100)
    start_us = desk.services.clock.now_us()
    await desk.use([desk.event(rich, input=1000), desk.event(rich, "odd", input=1), desk.event(poor, input=66_000)])
    await desk.use([desk.event(lucky, "odd", request=3), {"id": "a", "wallet": lucky, "amount": "0.01"}])
    dearer = {"gpt": {"input": "0.0000002"}, "odd": {"input": "0.0000000000333", "request": "0.001"}}
    version = await desk.price(dearer, markup_bps=1)
    span = {"from": from_us(start_us).isoformat(), "to": from_us(desk.services.clock.now_us() + 1).isoformat()}
    made = await desk.call("POST", "/v1/reratings", {**span, "version": version.id})
    assert made.status == 201, made.raw
    report = made.json
    lines = {(line["wallet"], line["model"]): line for line in report["lines"]}
    assert lines[rich, "gpt"]["difference"] == "0.00005002"
    assert lines[lucky, "odd"]["difference"] == "-0.0269997"
    charged = await desk.charged(rich)
    assert await desk.charged(rich) == charged, "a report moves nothing"
    posted = await desk.call("POST", f"/v1/reratings/{report['id']}/post", {})
    assert posted.status == 200, posted.raw
    again = await desk.call("POST", f"/v1/reratings/{report['id']}/post", {})
    assert again.json == posted.json
    assert posted.json["posted"][lucky] == "-0.0269997"
    accounts = {(row["code"], row["subject"]): row["balance"] for row in await desk.rows("account")}
    assert accounts["wallet:promo", lucky] == -26_999_700
    assert accounts["wallet:debt", poor] == 66_000 * 200 * 10_001 // 10_000 - CENT
    exact = {(row["wallet"], row["model"]): row["after"] for row in report["lines"]}
    assert exact[poor, "gpt"] == "0.01320132"
    other = await desk.call("POST", "/v1/reratings", {**span, "version": version.id})
    refused = await desk.call("POST", f"/v1/reratings/{other.json['id']}/post", {})
    assert (refused.status, refused.json["code"]) == (409, "period_was_rerated")
    for wallet in (rich, poor, lucky):
        assert (await desk.call("GET", f"/v1/wallets/{wallet}/statement")).status == 200
    await desk.assert_sound()


async def test_the_rounding_holds_through_a_rerating(desk: Desk) -> None:
    wallet = await desk.wallet(cents=100)
    await desk.use([desk.event(wallet, "odd", input=7) for _ in range(9)])
    version = await desk.price({"odd": {"input": "0.0000000000111"}})
    body = {"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z", "version": version.id}
    report = (await desk.call("POST", "/v1/reratings", body)).json
    posted = (await desk.call("POST", f"/v1/reratings/{report['id']}/post", {})).json["posted"]
    exact = 63 * 11_100_000 * 10_000
    charged = await desk.charged(wallet) + round(1_000_000_000 * float(posted[wallet]))
    assert charged == exact // 10**13
    assert (await desk.one_wallet(wallet))["rating_remainder"] == exact % 10**13
    await desk.assert_sound()


def test_days_are_counted_from_1970() -> None:
    assert to_us(from_us(5 * DAY_US + HOUR_US)) // DAY_US == 5
