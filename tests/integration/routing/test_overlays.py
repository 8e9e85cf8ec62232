"""A merchant's rules refine the platform's, within its limits, and the decision says what they did."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from sqlalchemy import select

from orchestrator.database.tables import Decision, table_of
from orchestrator.errors import Invalid
from orchestrator.payments.offers import offers_of
from tests.integration.routing.conftest import Ops
from tests.support.world import MERCHANT


async def write(ops: Ops, *rules: dict[str, Any]) -> None:
    desk = ops.services.routing
    assert desk.overlays is not None
    await desk.overlays.write(MERCHANT, "test", {"rules": list(rules)}, desk.ruleset, desk.catalogue, "shop")


async def offered(ops: Ops, country: str = "BR") -> list[str]:
    return [offer.method for offer in offers_of(await ops.here.session(country))]


async def test_a_merchant_drops_and_orders_and_takes_it_back(ops: Ops) -> None:
    assert await offered(ops) == ["pix", "card", "usdt_tron"]
    await write(ops, {"id": "mine", "when": {"country": "BR"}, "drop": ["card"], "order": ["usdt"]})
    assert await offered(ops) == ["usdt_tron", "pix"]
    assert (await offered(ops, "DE"))[:2] == ["card", "usdt_tron"]
    decisions = table_of(Decision)
    rows = await ops.services.reads.all(select(decisions).where(decisions.c.merchant_id == MERCHANT))
    stored = [orjson.loads(row["body"]).get("overlay") for row in sorted(rows, key=lambda row: str(row["id"]))]
    assert stored[0] is None
    assert stored[1]["rule"] == "mine"
    assert (stored[1]["dropped"], stored[1]["reordered"]) == (["card"], True)
    assert stored[2] is None  # Germany: none of the merchant's rules matches
    await write(ops)
    assert await offered(ops) == ["pix", "card", "usdt_tron"]


async def test_a_merchant_cannot_leave_its_buyers_without_an_offer(ops: Ops) -> None:
    await write(ops, {"id": "none", "drop": ["card", "pix", "usdt"]})
    assert await offered(ops) == ["pix", "card", "usdt_tron"]


async def test_another_process_learns_of_it(ops: Ops) -> None:
    await write(ops, {"id": "mine", "order": ["card"]})
    book = ops.services.routing.overlays
    assert book is not None
    book.overlays.clear()
    book._newest.clear()
    await ops.round()
    assert await offered(ops) == ["card", "pix", "usdt_tron"]


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({"id": "more", "add": ["gcash"]}, "overlay_not_allowed"),
        ({"id": "what", "drop": ["barter"]}, "method_unknown"),
        ({"id": "nothing"}, "overlay_invalid"),
        ({"id": "where", "when": {"region": "gulf"}, "drop": ["card"]}, "region_unknown"),
        ({"id": "who", "when": {"merchant": "mer_2"}, "drop": ["card"]}, "overlay_invalid"),
        ({"id": "price", "spread_bps": 1}, "overlay_invalid"),
    ],
)
async def test_what_the_platform_does_not_allow_is_refused(ops: Ops, rule: dict[str, Any], code: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await write(ops, rule)
    assert refusal.value.code == code
    assert await offered(ops) == ["pix", "card", "usdt_tron"]


async def test_with_leave_of_the_platform_a_method_is_added_where_it_can_be_had(ops: Ops) -> None:
    ops.edit("  regions:\n", "  overlays: {may: [add], methods: [usdt_bsc]}\n  regions:\n")
    await ops.round()
    await write(ops, {"id": "more", "add": ["usdt_bsc"]})
    assert await offered(ops) == ["pix", "card", "usdt_tron", "usdt_bsc"]
    with pytest.raises(Invalid, match="not among the methods"):
        await write(ops, {"id": "more", "add": ["usdt_ethereum"]})
