"""The rails' own reports against the books: what fits, what waits, and every way in which they can differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from adapters.operations import Evidence, LineKind, SettlementLine
from orchestrator.database import tables
from orchestrator.reconciliation.desk import Reconciliation
from orchestrator.reconciliation.reports import AccountReport, account_report
from orchestrator.reconciliation.rows import row_of
from orchestrator.routing.exposure import unrealised
from rates.money import Asset, Money
from tests.integration.reversals.scene import USD, Scene, reversing
from tests.support.world import MERCHANT

EUR = Asset("EUR", 2)


async def reconciled(scene: Scene, rail: str = "stripe") -> AccountReport:
    return await scene.services.reconciliation.run(rail, "main")


def line_of(scene_money: str, units: int, **more: object) -> SettlementLine:
    line = SettlementLine(
        line_id="txn_made_up", kind=LineKind.PAYMENT, word="charge", money_id=scene_money, attempt_id=None,
        reference=None, gross=Money(units, EUR), fee=Money(0, EUR), net=Money(units, EUR), occurred_at=datetime.now(UTC),
    )  # fmt: skip
    return replace(line, **more)  # type: ignore[arg-type]  # a test names the fields


async def report_after(scene: Scene, lines: Sequence[SettlementLine]) -> AccountReport:
    desk: Reconciliation = scene.services.reconciliation
    for line in lines:
        await desk._take(row_of(line, "stripe", "main", "test"))
    return await desk.report("stripe", "main")


async def test_payments_refunds_and_disputes_of_both_rails_fit_their_reports_and_fees_are_booked(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        card, pix = await scene.paid("DE", "20.00"), await scene.paid("BR", "30.00")
        lost = await scene.paid("DE", "40.00")
        await scene.until_refund(await scene.refund(card, "5.00"), "succeeded")
        await scene.until_refund(await scene.refund(pix, "10.00"), "succeeded")
        dispute = await scene.dispute(lost)
        await scene.services.disputes.accept(dispute)
        await scene.until_dispute(dispute, lambda row: row["clawed_units"] > 0)
        for rail, currency in (("stripe", "EUR/2"), ("adyen", "BRL/2")):
            report = await reconciled(scene, rail)
            assert report.ok, report.to_json()
            assert report.waiting == 0
            (standing,) = (one for one in report.standings if one.asset == currency)
            assert standing.books == standing.rail != 0
            again = await reconciled(scene, rail)
            assert replace(again, read_at_us=report.read_at_us) == report
        assert await scene.balance("fees:rail_cost", "", "EUR/2") > 0
        assert await scene.balance("dispute:fees", "", "EUR/2") == 1500
        await scene.assert_sound()


async def test_what_the_report_does_not_have_yet_explains_the_difference(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        await scene.paid("DE", "20.00")
        await reconciled(scene)
        second = await scene.paid("DE", "30.00")
        report = await scene.services.reconciliation.report("stripe", "main")
        (standing,) = report.standings
        assert standing.not_reported == second.capture["units"]
        assert report.ok


async def test_a_line_that_came_before_its_payment_waits_and_fits_later(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off |= {"inbox", "watch"}
        session = await scene.here.session("DE", "20.00", reference="slow")
        chosen = await scene.here.select(session)
        await scene.here.pay_at_rail(chosen, {"card": "4242424242424242"})
        report = await reconciled(scene)
        assert (report.lines, report.waiting, report.breaks) == (1, 1, [])
        assert report.ok  # a difference of time is none of money
        scene.here.switched_off.clear()
        await scene.here.until(session, "credited")
        report = await reconciled(scene)
        assert (report.matched, report.waiting) == (1, 0)
        assert report.ok


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gross": Money(1, EUR), "net": Money(1, EUR)}, "amount"),
        ({"gross": Money(100, Asset("GBP", 2)), "fee": Money(0, Asset("GBP", 2)), "net": Money(100, Asset("GBP", 2))}, "currency"),
        ({}, "duplicate"),
        ({"kind": LineKind.OTHER, "word": "mystery"}, "unknown_word"),
    ],
    ids=["amount", "currency", "duplicate", "unknown word"],
)  # fmt: skip
async def test_every_way_to_differ_is_found_and_named(
    sqlite_url: str, tmp_path: Path, change: dict[str, object], named: str
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        await reconciled(scene)
        report = await report_after(scene, [line_of(paid.money_id, paid.capture["units"], **change)])
        assert [one["type"] for one in report.breaks] == [named]
        assert not report.ok
        (review,) = await scene.rows(tables.Review, reason="reconciliation_break")
        assert review["merchant_id"] in {MERCHANT, "platform"}
        again = await reconciled(scene)
        assert [one["type"] for one in again.breaks] == [named]
        assert len(await scene.rows(tables.Review, reason="reconciliation_break")) == 1
        await scene.assert_sound()


async def test_money_that_the_rail_never_reports_is_missing_there(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        async with scene.services.reads.snapshot() as view:
            report = await account_report(view, "stripe", "main", "test", paid.capture["captured_us"] + 1)
        assert [(one["type"], one["object"]) for one in report.breaks] == [("missing_there", paid.capture["id"])]


async def pay_out(scene: Scene, **more: object) -> dict[str, Any]:
    url = f"{scene.here.sandbox_url}/stripe/main/_bank/payouts"
    made: dict[str, Any] = await scene.here.post(url, {"currency": "eur", **more})
    return made


USD2 = Asset("USD", 2)


async def settled_in_dollars(scene: Scene, rate: str = "1.0812") -> None:
    await scene.here.post(
        f"{scene.here.sandbox_url}/stripe/main/_bank/settles", {"from": "eur", "to": "usd", "rate": rate}
    )


async def test_what_the_rail_converts_inside_its_balance_is_booked_with_both_legs(
    migrated_database_url: str, tmp_path: Path
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        await settled_in_dollars(scene)
        card, lost, won = [await scene.paid("DE", amount) for amount in ("20.00", "40.00", "30.00")]
        await scene.until_refund(await scene.refund(card, "5.00"), "succeeded")
        report = await reconciled(scene)
        assert report.ok, report.to_json()
        dispute = await scene.dispute(lost)
        await scene.services.disputes.accept(dispute)
        await scene.until_dispute(dispute, lambda row: row["clawed_units"] > 0)
        again = await scene.dispute(won)
        await scene.services.disputes.submit(again, Evidence("winning_evidence"))
        await scene.until_dispute(again, lambda row: row["state"] == "won" and not row["withdrawn_units"])
        report = await reconciled(scene)
        assert report.ok, report.to_json()
        standings = {one.asset: one for one in report.standings}
        assert standings["USD/2"].books == standings["USD/2"].rail > 0
        assert (standings["EUR/2"].books, standings["EUR/2"].rail) == (0, 0), "all of it was converted"
        assert await scene.balance("fx:position", "", "EUR/2") == 0
        dollars = await scene.balance("fx:position", "", "USD/2") * 10**7
        assert dollars + await scene.balance("fx:position", "") == 0, (
            "what was more or less than we counted is in fx:pnl"
        )
        assert await scene.balance("fx:pnl", "") != 0
        entries = [row["kind"] for row in await scene.rows(tables.JournalEntry)]
        assert entries.count("rail_conversion") == 7  # three payments, a refund, two withdrawals, a return
        assert replace(await reconciled(scene), read_at_us=report.read_at_us) == report, "told again, booked once"
        await scene.assert_sound()


async def test_a_settlement_in_a_third_currency_stays_in_the_position_and_its_difference_is_told(
    migrated_database_url: str, tmp_path: Path
) -> None:
    """Decision 18: what pounds are worth in dollars is known when somebody sells them; until then nothing is income."""
    async with reversing(migrated_database_url, tmp_path) as scene:
        await scene.here.post(
            f"{scene.here.sandbox_url}/stripe/main/_bank/settles", {"from": "eur", "to": "gbp", "rate": "0.8431"}
        )
        await scene.paid("DE", "40.00")
        services = scene.services
        counted = await scene.balance("fx:position", "")
        report = await reconciled(scene)
        assert report.ok, report.to_json()
        pounds = -await scene.balance("fx:position", "", "GBP/2")
        assert pounds > 0
        assert await scene.balance("fx:position", "", "EUR/2") == 0
        assert await scene.balance("fx:position", "") == counted, "the dollars that it was counted as stand"
        assert await scene.balance("fx:pnl", "") == 0
        paid = await pay_out(scene, currency="gbp")
        assert (await reconciled(scene)).ok
        assert await scene.balance("bank", "", "GBP/2") == paid["amount"] > 0
        assert await scene.balance("clearing", "stripe/main", "GBP/2") == 0
        assert -await scene.balance("fx:position", "", "GBP/2") == pounds, "it is held still, at the bank"
        now = services.clock.now()
        (found,) = await unrealised(services.reads, services.pricer.market, now)
        rate = services.pricer.market.mid("USD", "GBP", now).rate
        assert found.counted.units == counted
        assert found.worth is not None
        assert found.worth.units == int(Fraction(pounds, 100) / rate * USD)
        assert -2 < float(found.to_json()["unrealised_usd"]) < 2
        await scene.assert_sound()


async def test_a_gain_and_a_loss_of_the_conversion_are_booked_to_the_nano_dollar(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        counted = -await scene.balance("fx:position", "", "EUR/2"), await scene.balance("fx:position", "")
        line = line_of(paid.money_id, 2500, original=Money(paid.capture["units"], EUR), gross=Money(2500, USD2),
                       fee=Money(40, USD2), net=Money(2460, USD2),
                       exchange_rate=f"{2500 / paid.capture['units']:.6f}")  # fmt: skip
        report = await report_after(scene, [line])
        assert report.ok, report.to_json()
        assert counted[0] == paid.capture["units"]
        assert await scene.balance("fx:pnl", "") == -(25 * 10**9 - counted[1])
        assert await scene.balance("clearing", "stripe/main", "USD/2") == 2460
        assert await scene.balance("fees:rail_cost", "", "USD/2") == 40
        await scene.assert_sound()


@pytest.mark.parametrize(
    ("more", "broken"),
    [
        ({}, "currency"),
        ({"exchange_rate": ""}, "currency"),
        ({"exchange_rate": "2.5"}, "currency"),
        ({"original": Money(999, Asset("GBP", 2))}, "currency"),
        ({"original": Money(1, EUR), "exchange_rate": "2500"}, "amount"),
        ({"original": Money(-1, EUR)}, "currency"),
    ],
)
async def test_a_conversion_that_the_rail_does_not_explain_stays_a_break_with_its_evidence(
    sqlite_url: str, tmp_path: Path, more: Mapping[str, object], broken: str
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        whole = {"original": Money(paid.capture["units"], EUR), "exchange_rate": "1.25"} if more else {}
        dollars = Money(2500, USD2)
        fields = {"gross": dollars, "fee": Money(0, USD2), "net": dollars, **whole, **more}
        report = await report_after(scene, [line_of(paid.money_id, 0, **fields)])
        assert [one["type"] for one in report.breaks] == [broken]
        assert all(one.unexplained == 0 for one in report.standings)
        (review,) = await scene.rows(tables.Review, reason="reconciliation_break")
        assert ("exchange_rate" in review["evidence"]) == bool(more)
        assert await scene.balance("fx:pnl", "") == 0


async def test_a_chain_is_reconciled_where_it_is_named_and_a_simulated_one_only_there(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        session = await scene.here.session("VN", "20.00", reference="by chain")
        await scene.here.pay_at_rail(await scene.here.select(session))
        await scene.until_payment(session["id"], {"credited"})
        desk = scene.services.chain_desk
        assert desk.accounts() == [], "a simulated chain forgets when it is started again"
        assert desk.accounts("stripe") == []
        (place,) = desk.accounts("tron")
        report = await desk.run(*place)
        assert report.ok, report.to_json()
        (standing,) = [one for one in report.standings if one.rail]
        assert (standing.books, report.lines, report.matched) == (standing.rail, 1, 1)
