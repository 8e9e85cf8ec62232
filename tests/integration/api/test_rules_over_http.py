"""Rules over HTTP, as `crossrail rules` uses it: applied, on trial, called back, rolled back; merchants' own rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.routing.versions import By
from tests.integration.api.shop import Shop, open_shop
from tests.integration.routing.test_rules_in_force import without_pix
from tests.support.world import CONFIG, FAST

ADMIN = FAST["admin"]["token"]
RULES = "/v1/routing/rules"
MIA = {"author": "mia", "message": "no Pix today"}
Check = Callable[[str, str, Any], None]


@pytest.fixture
async def shop(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(migrated_database_url, tmp_path) as open_one:
        yield open_one


async def checker(shop: Shop) -> Check:
    """Return what holds an answer against the OpenAPI document."""
    document = await shop.get("/openapi.json", key="")

    def check(path: str, method: str, body: Any) -> None:
        content = document["paths"][path][method]["responses"]["200"]["content"]["application/json"]
        Draft202012Validator({**content["schema"], "components": document["components"]}).validate(body)

    return check


def draft(**more: Any) -> dict[str, Any]:
    return {"text": without_pix(CONFIG.read_text("utf-8")), "file": "draft.yaml", **MIA, **more}


async def first_offer(shop: Shop) -> str:
    return str((await shop.session("BR"))["offers"][0]["method"])


async def test_a_draft_is_applied_shown_with_its_difference_and_rolled_back(shop: Shop) -> None:
    check = await checker(shop)
    before = await shop.get(RULES, key=ADMIN)
    check(RULES, "get", before)
    assert (before["trial"], before["last_trial"]) == (None, None)
    applied = await shop.post(RULES, draft(), key=ADMIN)
    check(RULES, "post", applied)
    assert applied["ruleset_hash"] != before["ruleset_hash"]
    assert await first_offer(shop) == "card"

    version = await shop.get(f"/v1/routing/versions/{applied['ruleset_hash'][:12]}", key=ADMIN)
    check("/v1/routing/versions/{id}", "get", version)
    assert (version["author"], version["parent"]) == ("mia", before["ruleset_hash"])
    assert version["moved"] == {"added": [], "removed": [], "changed": ["brazil-pix"]}
    assert "-  - method: pix" in version["difference"]

    back = await shop.post(f"{RULES}/rollback", {"author": "bob"}, key=ADMIN)
    check(f"{RULES}/rollback", "post", back)
    assert back["ruleset_hash"] == before["ruleset_hash"]
    assert await first_offer(shop) == "pix"
    changes = await shop.get("/v1/routing/changes?limit=2", key=ADMIN)
    check("/v1/routing/changes", "get", changes)
    assert [(one["kind"], one["author"]) for one in changes["data"]] == [("rollback", "bob"), ("apply", "mia")]
    older = await shop.get(f"/v1/routing/changes?after={changes['next_cursor']}", key=ADMIN)
    assert [one["kind"] for one in older["data"]] == ["file"]


async def test_a_canary_is_told_while_it_runs_and_after_it_was_called_back(shop: Shop) -> None:
    check = await checker(shop)
    begun = await shop.post(RULES, draft(canary=20, guards={"sample_min": 7}), key=ADMIN)
    check(RULES, "post", begun)
    trial = begun["trial"]
    assert (trial["kind"], trial["percent"], trial["status"], trial["guards"]["sample_min"]) == (
        "canary",
        20,
        "running",
        7,
    )
    status, code, _ = await shop.refused("POST", RULES, draft(shadow=True), key=ADMIN)
    assert (status, code) == (409, "trial_running")

    versions = shop.world.services.rules.versions
    assert await versions.end_trial(trial["number"], "rolled_back", By("guard", "settle rate 0 %"), {})
    after = await shop.get(RULES, key=ADMIN)
    check(RULES, "get", after)
    assert after["trial"] is None
    assert (after["last_trial"]["status"], after["last_trial"]["reason"]) == ("rolled_back", "settle rate 0 %")
    listed = await shop.get("/v1/routing/trials", key=ADMIN)
    check("/v1/routing/trials", "get", listed)
    events = await shop.get("/v1/events?merchant=platform&mode=live", key=ADMIN)
    (told,) = [one["data"]["object"] for one in events["data"] if one["type"] == "routing.canary_ended"]
    assert (told["trial"], told["status"], told["reason"]) == (trial["number"], "rolled_back", "settle rate 0 %")

    for path in ("/v1/routing/trial/promote", "/v1/routing/trial/stop"):
        status, code, _ = await shop.refused("POST", path, MIA, key=ADMIN)
        assert (status, code) == (409, "no_trial_runs")
    await shop.post(RULES, draft(shadow=True), key=ADMIN)
    promoted = await shop.post("/v1/routing/trial/promote", MIA, key=ADMIN)
    check("/v1/routing/trial/promote", "post", promoted)
    assert promoted["ruleset_hash"] == begun["trial"]["ruleset_hash"]


async def test_a_draft_with_errors_is_refused_with_each_at_its_place(shop: Shop) -> None:
    text = (
        CONFIG.read_text("utf-8")
        .replace("country: VN}", "country: VN, region: latam}")
        .replace("country: NL}", "country: NO}")
    )
    reply = await shop.call("POST", RULES, draft(text=text), key=ADMIN)
    assert (reply.status, reply.json["code"]) == (422, "ruleset_invalid")
    problems = reply.json["problems"]
    assert len(problems) > 2
    assert all(one["line"] > 1 and one["excerpt"] and one["file"] == "draft.yaml" for one in problems)
    price = draft(canary=5)
    price["text"] = price["text"].replace('"USD-*", spread_bps: 100', '"USD-*", spread_bps: 90')
    status, code, _ = await shop.refused("POST", RULES, price, key=ADMIN)
    assert (status, code) == (409, "canary_changes_prices")
    status, code, pointers = await shop.refused("POST", RULES, draft(canary=5, shadow=True), key=ADMIN)
    assert (status, code, pointers) == (422, "canary_or_shadow", ["/shadow"])


async def test_rules_are_the_platforms_and_no_merchants(shop: Shop) -> None:
    for method, path, body in (
        ("GET", RULES, None),
        ("POST", RULES, draft()),
        ("POST", f"{RULES}/rollback", MIA),
        ("POST", "/v1/routing/trial/promote", MIA),
        ("POST", "/v1/routing/trial/stop", MIA),
        ("GET", "/v1/routing/trials", None),
        ("GET", "/v1/routing/changes", None),
        ("GET", "/v1/routing/versions/0123456789ab", None),
    ):
        status, code, _ = await shop.refused(method, path, body)
        assert (status, code) == (403, "scope_missing"), path


async def test_announced_work_is_shown_with_the_rails_and_keeps_them_from_being_offered(shop: Shop) -> None:
    check = await checker(shop)
    assert (await _pix(shop))["maintenance"] is None
    now = shop.world.services.clock.now()
    starts, ends = ((now + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:00:00Z") for hours in (-1, 2))
    window = f"{{rail: adyen, method: pix, starts: '{starts}', ends: '{ends}', reason: announced}}"
    text = CONFIG.read_text("utf-8").replace("  regions:\n", f"  maintenance: [{window}]\n  regions:\n", 1)
    await shop.post(RULES, draft(text=text), key=ADMIN)
    pix = await _pix(shop)
    assert pix["maintenance"] == {"ends": ends.replace("Z", ".000Z"), "reason": "announced"}
    assert pix["health"] == "healthy"
    check("/v1/rails", "get", await shop.get("/v1/rails"))
    assert await first_offer(shop) == "card"


async def _pix(shop: Shop) -> Any:
    rails = (await shop.get("/v1/rails"))["data"]
    return next(method for rail in rails for method in rail["methods"] if method["method"] == "pix")


async def test_a_merchants_own_rules_are_its_own(shop: Shop) -> None:
    check = await checker(shop)
    path = "/v1/routing/overlay"
    assert (await shop.get(path))["number"] == 0
    mine = {"rules": [{"id": "tokens-first", "when": {"country": "BR"}, "order": ["usdt"]}], "author": "shop"}
    written = await shop.post(path, mine)
    check(path, "post", written)
    assert await first_offer(shop) == "usdt_tron"
    session = await shop.session("BR")
    told = await shop.get(f"/v1/routing/decisions/{session['decision']}")
    check("/v1/routing/decisions/{id}", "get", told)
    assert (told["overlay"]["rule"], told["overlay"]["reordered"]) == ("tokens-first", True)
    assert (await shop.get(path, key=shop.other_key))["number"] == 0
    assert (await shop.get(path, key=shop.live_key))["number"] == 0
    check(path, "get", await shop.get(path))
    status, code, _ = await shop.refused("POST", path, {"rules": [{"id": "more", "add": ["gcash"]}], "author": "shop"})
    assert (status, code) == (422, "overlay_not_allowed")
