"""Stored webhooks on a payment's page: listed, applied once more by an operator, never believed where nobody signed them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from orchestrator.access import Access
from orchestrator.database import tables
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.payments.stored_webhooks import StoredWebhooks
from orchestrator.web.app import setup
from tests.integration.reversals.scene import CARD, Scene
from tests.integration.web.test_dashboard import csrf_of, page, post, sign_in
from tests.support.world import MERCHANT, MODE, world


@pytest.fixture
async def scene(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with world(migrated_database_url, tmp_path, setups=[setup]) as here:

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.insert("merchant", id=MERCHANT, name="Acme", created_us=0)
            return {}

        await here.services.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
        yield Scene(here)


async def _types(scene: Scene, payment: str) -> set[str]:
    found = await StoredWebhooks(scene.services.inbox).of_payment(MERCHANT, payment)
    return {kind for one in found for kind in one["types"]}


async def _unapplied(scene: Scene, country: str, choice: Mapping[str, Any]) -> tuple[Row, Row, dict[str, Any]]:
    """A payment that was made, whose webhooks are stored and not worked on: payment, webhook of the money, selection."""
    scene.here.switched_off.update({"inbox", "watch"})
    session = await scene.here.session(country, "20.00", reference=f"buyer {country}")
    chosen = dict(await scene.here.select(session))
    await scene.here.pay_at_rail(chosen, choice)
    word = b"payment_intent.succeeded" if country == "DE" else b"AUTHORISATION"

    async def stored() -> Row | None:
        return next((row for row in await scene.rows(tables.RawWebhook) if word in row["body"]), None)

    webhook = await scene.until(stored)
    (payment,) = await scene.rows(tables.Payment, session_id=session["id"])
    return payment, webhook, chosen


def _path(payment: str, webhook: str) -> str:
    return f"/dashboard/payments/{MERCHANT}/{payment}/webhooks/{webhook}/replay"


@pytest.mark.parametrize(("country", "choice"), [("DE", CARD), ("BR", {"outcome": "paid"})])
async def test_an_operator_applies_a_stored_webhook_and_its_credit_comes_once(
    scene: Scene, country: str, choice: Mapping[str, Any]
) -> None:
    payment, webhook, _ = await _unapplied(scene, country, choice)
    await sign_in(scene.here)
    address = f"/dashboard/payments/{MERCHANT}/{payment['id']}"
    _, text, _ = await page(scene.here, address)
    assert webhook["id"] in text
    for _ in range(3):
        status, _, answer = await post(scene.here, _path(payment["id"], webhook["id"]), csrf=csrf_of(text))
        assert (status, answer.headers["Location"]) == (303, f"{address}#webhooks")
    (payment,) = await scene.rows(tables.Payment, id=payment["id"])
    assert (payment["status"], payment["credited_units"]) == ("credited", 20 * 10**9)
    assert len(await scene.rows(tables.Capture, payment_id=payment["id"])) == 1
    facts = await scene.rows(tables.PaymentFact, payment_id=payment["id"], kind="webhook_replayed")
    assert [orjson.loads(fact["body"]) for fact in facts] == [{"webhook": webhook["id"], "by": "operator:ops"}] * 3
    _, text, _ = await page(scene.here, address)
    assert "webhook replayed" in text
    await scene.assert_sound()


async def test_refunds_and_disputes_are_found_too_and_nobody_else_s(scene: Scene) -> None:
    paid, other = await scene.paid("DE", "20.00"), await scene.paid("DE", "10.00")
    await scene.until_refund(await scene.refund(paid, "5.00"), "succeeded")
    await scene.dispute(paid)

    async def all_there() -> Row | None:
        wanted = {"payment_intent.succeeded", "refund.created", "charge.dispute.funds_withdrawn"}
        return {"there": True} if wanted <= await _types(scene, paid.id) else None

    await scene.until(all_there)
    assert "refund.created" not in await _types(scene, other.id)
    mine = {one["id"] for one in await StoredWebhooks(scene.services.inbox).of_payment(MERCHANT, paid.id)}
    await sign_in(scene.here)
    _, text, _ = await page(scene.here, f"/dashboard/payments/{MERCHANT}/{other.id}")
    for webhook in mine:
        assert webhook not in text
        status, said, _ = await post(scene.here, _path(other.id, webhook), csrf=csrf_of(text))
        assert (status, "has no stored webhook" in said) == (404, True)


async def test_one_that_nobody_signed_is_listed_and_not_believed(scene: Scene) -> None:
    payment, _, chosen = await _unapplied(scene, "DE", CARD)
    lie = orjson.dumps({"type": "payment_intent.succeeded", "attempt": chosen["attempt"]})
    async with scene.here.http.post(f"{scene.here.public_url}/webhooks/stripe/main", data=lie) as answer:
        assert answer.status == 403
    (rejected,) = await scene.rows(tables.RawWebhook, state="rejected")
    await sign_in(scene.here)
    _, text, _ = await page(scene.here, f"/dashboard/payments/{MERCHANT}/{payment['id']}")
    assert "Ask the rail" in text
    assert (await post(scene.here, _path(payment["id"], rejected["id"]), csrf=csrf_of(text)))[0] == 303
    (after,) = await scene.rows(tables.RawWebhook, id=rejected["id"])
    assert after["state"] == "rejected"
    (payment,) = await scene.rows(tables.Payment, id=payment["id"])
    assert payment["credited_units"] == 0


async def test_a_viewer_sees_them_and_replays_nothing_nor_does_a_form_without_its_token(scene: Scene) -> None:
    payment, webhook, _ = await _unapplied(scene, "DE", CARD)
    access = Access(scene.services.writer, scene.services.reads)
    await access.create_operator("maria", "correct horse battery", "viewer")
    await sign_in(scene.here, "maria", "correct horse battery")
    _, text, _ = await page(scene.here, f"/dashboard/payments/{MERCHANT}/{payment['id']}")
    assert webhook["id"] in text
    assert "/replay" not in text
    assert "As it came" not in text, "bytes of a rail are for those who may act on them"
    path = _path(payment["id"], webhook["id"])
    assert (await post(scene.here, path, csrf=csrf_of(text)))[0] == 403
    assert (await post(scene.here, path, csrf="0" * 64))[0] == 403
    assert await scene.rows(tables.PaymentFact, payment_id=payment["id"], kind="webhook_replayed") == []
    (payment,) = await scene.rows(tables.Payment, id=payment["id"])
    assert payment["credited_units"] == 0
