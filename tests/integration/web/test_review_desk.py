"""Reviews on the dashboard: an operator decides with a reason, a viewer looks, a form carries its token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from orchestrator.database.tables import Review, table_of
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.payments.crediting import ask_a_person
from tests.integration.web.test_dashboard import csrf_of, page, post, sign_in
from tests.support.world import MERCHANT, MODE, World

REVIEWS = "/dashboard/reviews"


async def opened(here: World) -> str:
    """An item about an attempt; return its id."""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        ask_a_person(view, changes, MERCHANT, MODE, reason="captured_nothing", subject="att_1", payment_id=None,
                     evidence={})  # fmt: skip
        return {}

    await here.services.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
    return str((await row(here))["id"])


async def row(here: World) -> dict[str, Any]:
    found = await here.services.reads.one(select(table_of(Review)))
    assert found is not None
    return found


async def test_an_operator_accepts_an_item_with_a_reason(here: World) -> None:
    review = await opened(here)
    await sign_in(here)
    _, text, _ = await page(here, REVIEWS)
    assert 'value="accept"' in text
    assert 'value="credit"' not in text
    csrf = csrf_of(text)
    status, text, _ = await post(here, f"{REVIEWS}/{review}", csrf=csrf, action="accept", note=" ")
    assert (status, "Say why" in text) == (422, True)
    status, text, _ = await post(here, f"{REVIEWS}/{review}", csrf=csrf, action="credit", note="a guess")
    assert (status, "can be resolved by" in text) == (422, True)
    status, text, _ = await post(here, f"{REVIEWS}/{review}", csrf=csrf, action="steal", note="a guess")
    assert (status, "no such action" in text) == (422, True)
    status, _, _ = await post(here, f"{REVIEWS}/{review}", csrf=csrf, action="accept", note="the rail's test <b>")
    assert status == 303
    decided = await row(here)
    assert (decided["status"], decided["action"], decided["resolved_by"]) == ("resolved", "accept", "operator:ops")
    _, text, _ = await page(here, REVIEWS + "?status=resolved")
    assert "the rail&#39;s test &lt;b&gt;" in text
    assert "operator:ops" in text


async def test_a_form_without_its_token_decides_nothing(here: World) -> None:
    review = await opened(here)
    await sign_in(here)
    for csrf in ("", "wrong"):
        status, _, _ = await post(here, f"{REVIEWS}/{review}", csrf=csrf, action="accept", note="why not")
        assert status == 403
    assert (await row(here))["status"] == "open"
