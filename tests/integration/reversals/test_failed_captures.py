"""Adyen called a capture successful, and the scheme rejected it: what was credited is taken back, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.reconciliation.reports import account_report
from tests.integration.reversals.scene import USD, Scene, reversing


async def _rejected(scene: Scene) -> Row:
    """Pay with Pix, use 5.00, then have the scheme reject it; return the payment."""
    session = await scene.here.session("BR", "20.00", reference="the buyer")
    chosen = await scene.here.select(session)
    await scene.here.pay_at_rail(chosen)
    payment = await scene.until_payment(session["id"], {"credited"})
    await scene.spend(payment["wallet_id"], "5.00")
    await scene.here.post(chosen["next_action"]["url"], {"outcome": "capture_failed"})
    return await scene.until_payment(session["id"], {"clawed_back"})


@pytest.mark.parametrize("twice", [False, True])
async def test_what_was_credited_for_a_capture_that_failed_is_taken_back_once_and_a_person_is_asked(
    migrated_database_url: str, tmp_path: Path, twice: bool
) -> None:
    async with reversing(migrated_database_url, tmp_path) as scene:
        if twice:
            await scene.here.control("adyen", "main", {"duplicate_webhooks": 1})
        payment = await _rejected(scene)
        (capture,) = await scene.rows(tables.Capture)
        (row,) = await scene.rows(tables.Dispute)
        assert (row["state"], row["withdrawals"], row["withdrawn_units"]) == ("lost", 1, capture["units"])
        assert row["reason"] == "capture failed: Capture Failed"
        assert await scene.balance("wallet:paid", payment["wallet_id"]) == 0
        assert await scene.balance("wallet:debt", payment["wallet_id"]) >= 5 * USD
        assert await scene.balance("clearing", "adyen/main", capture["asset"]) == 0
        open_reviews = [review["reason"] for review in await scene.rows(tables.Review) if review["status"] == "open"]
        assert open_reviews == ["dispute_opened"]
        async with scene.services.reads.snapshot() as view:
            report = await account_report(view, "adyen", "main", "test", capture["captured_us"] + 1)
        assert report.ok, "the money is missed neither here nor there"
        await scene.assert_sound()
