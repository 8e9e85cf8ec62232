"""Refunds and answers to disputes by an operator's form: once, by whom, and not by a viewer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestrator.access import Access
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.web.app import setup
from tests.integration.reversals.scene import USD, Paid, Scene
from tests.integration.web.test_dashboard import csrf_of, page, post, sign_in
from tests.support.world import MERCHANT, MODE, world

DESK = "/dashboard/money-back"


@pytest.fixture
async def scene(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with world(sqlite_url, tmp_path, setups=[setup]) as here:

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert("merchant", id=MERCHANT, name="Acme", created_us=0)
            return {}

        await here.services.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
        yield Scene(here)


async def form_of(scene: Scene, paid: Paid) -> dict[str, str]:
    """The hidden fields of the payment's refund form."""
    _, text, _ = await page(scene.here, f"/dashboard/payments/{MERCHANT}/{paid.id}")
    refund = text.partition('name="refund" value="')[2].partition('"')[0]
    return {"csrf": csrf_of(text), "refund": refund, "mode": "test", "destination": "source", "reason": "he asked"}


async def test_a_refund_form_that_is_sent_twice_is_one_refund(scene: Scene) -> None:
    paid = await scene.paid("DE", "20.00")
    await sign_in(scene.here)
    form, path = await form_of(scene, paid), f"/dashboard/payments/{MERCHANT}/{paid.id}/refund"
    for _ in range(2):
        assert (await post(scene.here, path, **form, amount="5.00"))[0] == 303
    (refund,) = await scene.rows(tables.Refund)
    assert (refund["id"], refund["units"], refund["requested_by"]) == (form["refund"], 5 * USD, "operator:ops")
    for changed in (
        {"amount": "6.00"},
        {"amount": "5.00", "reason": "another"},
        {"amount": "5.00", "destination": "wallet"},
    ):
        status, text, _ = await post(scene.here, path, **{**form, **changed})
        assert (status, "otherwise than this form says" in text) == (409, True)
    assert len(await scene.rows(tables.Refund)) == 1
    await scene.until_refund(refund, "succeeded")
    assert refund["id"] in (await page(scene.here, DESK))[1]
    await scene.assert_sound()


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"amount": "20.01"}, 409, "Nothing was done"),
        ({"amount": "five"}, 422, "such as 5.00"),
        ({"amount": "0"}, 422, "above 0"),
        ({"reason": " "}, 422, "Say why"),
        ({"refund": "ref_mine"}, 422, "Load the payment"),
        ({"destination": "me"}, 422, "It goes to its source"),
        ({"csrf": "0" * 64}, 403, ""),
    ],
)
async def test_what_a_refund_form_cannot_mean_moves_nothing(
    scene: Scene, changed: dict[str, str], status: int, said: str
) -> None:
    paid = await scene.paid("DE", "20.00")
    await sign_in(scene.here)
    form = {"amount": "5.00", **await form_of(scene, paid), **changed}
    found, text, _ = await post(scene.here, f"/dashboard/payments/{MERCHANT}/{paid.id}/refund", **form)
    assert (found, said in text) == (status, True), text
    assert await scene.rows(tables.Refund) == []


async def test_a_dispute_is_answered_with_our_records_once(scene: Scene) -> None:
    paid = await scene.paid("DE", "20.00")
    dispute = await scene.dispute(paid)
    await sign_in(scene.here)
    csrf, path = csrf_of((await page(scene.here, DESK))[1]), f"/dashboard/disputes/{dispute['id']}"
    assert (await post(scene.here, f"{path}/answer", csrf=csrf, summary=""))[0] == 422
    assert (await post(scene.here, f"{path}/answer", csrf=csrf, summary="He used the credit."))[0] == 303
    answered = await scene.until_dispute(dispute, lambda row: row["state"] == "under_review")
    assert (answered["answered"], "He used the credit." in answered["evidence"]) == ("submitted", True)
    assert "Accept the loss" not in (await page(scene.here, DESK))[1]
    assert (await post(scene.here, f"{path}/accept", csrf=csrf))[0] == 409
    await scene.assert_sound()


async def test_a_dispute_is_accepted(scene: Scene) -> None:
    dispute = await scene.dispute(await scene.paid("DE", "20.00"))
    await sign_in(scene.here)
    csrf = csrf_of((await page(scene.here, DESK))[1])
    assert (await post(scene.here, f"/dashboard/disputes/{dispute['id']}/accept", csrf=csrf))[0] == 303
    lost = await scene.until_dispute(dispute, lambda row: row["state"] == "lost")
    assert lost["answered"] == "accepted"
    assert (await post(scene.here, "/dashboard/disputes/dis_none/accept", csrf=csrf))[0] == 404


async def test_a_viewer_looks_and_moves_nothing(scene: Scene) -> None:
    paid = await scene.paid("DE", "20.00")
    dispute = await scene.dispute(await scene.paid("DE", "10.00"))
    access = Access(scene.services.writer, scene.services.reads)
    await access.create_operator("maria", "correct horse battery", "viewer")
    await sign_in(scene.here, "maria", "correct horse battery")
    _, text, _ = await page(scene.here, f"/dashboard/payments/{MERCHANT}/{paid.id}")
    assert 'id="refund"' not in text
    form = {"csrf": csrf_of(text), "refund": "ref_" + "0" * 32, "mode": "test", "reason": "x", "destination": "source"}
    assert (await post(scene.here, f"/dashboard/payments/{MERCHANT}/{paid.id}/refund", **form))[0] == 403
    assert (await post(scene.here, f"/dashboard/disputes/{dispute['id']}/accept", csrf=form["csrf"]))[0] == 403
    assert await scene.rows(tables.Refund) == []
