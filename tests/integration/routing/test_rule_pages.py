"""The dashboard tells what is in force, what is wrong with the file, who changed what, and why a session got its offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from orchestrator.routing.control import Watched
from orchestrator.routing.reading import Source
from orchestrator.routing.versions import By
from orchestrator.web.app import setup
from orchestrator.workers import rules as worker
from tests.integration.routing.conftest import Ops
from tests.integration.routing.test_rules_in_force import without_pix
from tests.support.world import CONFIG, MERCHANT, world

SECRET = {"name": "ops", "password": "a passphrase of tests"}


@pytest.fixture
async def desk(sqlite_url: str, tmp_path: Path) -> AsyncIterator[tuple[Ops, aiohttp.ClientSession]]:
    async with world(sqlite_url, tmp_path, setups=[setup], loops=False) as here:
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG.read_text("utf-8"), "utf-8")
        here.services.rules.watched = Watched(file, {})
        await here.services.rules.run_once()
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(total=20)) as browser:
            form = await (await browser.get(f"{here.public_url}/dashboard/login")).text()
            token = form.partition('name="csrf" value="')[2].partition('"')[0]
            answer = await browser.post(f"{here.public_url}/dashboard/login", data={**SECRET, "csrf": token})
            assert answer.status == 200, await answer.text()
            yield Ops(here, file), browser


async def page(ops: Ops, browser: aiohttp.ClientSession, path: str, status: int = 200) -> str:
    async with browser.get(ops.here.public_url + path) as answer:
        text = await answer.text()
        assert answer.status == status, text[:500]
        return text


async def test_an_invalid_file_is_shown_with_its_place(desk: tuple[Ops, aiohttp.ClientSession]) -> None:
    ops, browser = desk
    assert "file-invalid" not in await page(ops, browser, "/dashboard/rules")
    ops.edit("country: NL", "country: Netherlands")
    await ops.round()
    text = await page(ops, browser, "/dashboard/rules")
    assert 'id="file-invalid"' in text
    assert "did you mean &#39;NL&#39;?" in text


async def test_the_rates_page_shows_which_currencies_are_marked(desk: tuple[Ops, aiohttp.ClientSession]) -> None:
    ops, browser = desk
    text = await page(ops, browser, "/dashboard/rates")
    assert 'id="marked"' in text
    assert "dual rate, quoted by hmrc only: official and market rate have differed for years" in text


async def test_a_version_shows_who_changed_what(desk: tuple[Ops, aiohttp.ClientSession]) -> None:
    ops, browser = desk
    draft, _ = await ops.services.rules.apply(Source("d.yaml", without_pix(ops.text()), {}), By("mia", "no Pix today"))
    text = await page(ops, browser, "/dashboard/rules")
    assert "no Pix today" in text
    text = await page(ops, browser, f"/dashboard/rules/{draft.hash}")
    assert "mia" in text
    assert "<dt>changed</dt><dd>brazil-pix</dd>" in text
    assert "-  - method: pix" in text
    await page(ops, browser, "/dashboard/rules/0123456789abcdef", 404)


async def test_a_shadow_is_shown_with_what_it_counted(desk: tuple[Ops, aiohttp.ClientSession]) -> None:
    ops, browser = desk
    await ops.services.rules.apply(Source("d.yaml", without_pix(ops.text()), {}), By("mia", "looking"), trial="shadow")
    await ops.here.session("BR")
    await worker.shadow(ops.services)
    text = await page(ops, browser, "/dashboard/rules")
    assert 'id="trial"' in text
    assert "1 decisions compared: 0 the same, 1 another first offer" in text


async def test_a_canary_that_was_called_back_is_shown_with_its_reason(
    desk: tuple[Ops, aiohttp.ClientSession],
) -> None:
    ops, browser = desk
    control = ops.services.rules
    draft, number = await control.apply(
        Source("d.yaml", without_pix(ops.text()), {}), By("mia", "cards"), trial="canary", percent=30
    )
    assert number is not None
    assert 'id="trial"' in await page(ops, browser, "/dashboard/rules")
    reason = "error rate 50.0% against 0.0%"
    assert await control.versions.end_trial(number, "rolled_back", By("guard", reason), {})
    await ops.round()
    text = await page(ops, browser, "/dashboard/rules")
    assert 'id="trial"' not in text
    assert "rolled back" in text
    assert text.count(reason) == 2, "once in the history, once among the trials"
    assert draft.hash[:12] in text


async def test_a_merchants_rule_and_a_choice_of_rail_are_told_with_the_decision(
    desk: tuple[Ops, aiohttp.ClientSession],
) -> None:
    ops, browser = desk
    ops.edit(
        "  pricing:\n", "  rail_choice:\n    - {id: one-tron, when: {method: usdt_tron}, rail: tron}\n  pricing:\n"
    )
    await ops.round()
    overlays = ops.services.routing.overlays
    assert overlays is not None
    mine = {"rules": [{"id": "mine", "when": {"country": "BR"}, "drop": ["card"], "order": ["usdt"]}]}
    await overlays.write(MERCHANT, "test", mine, ops.services.routing.ruleset, ops.services.routing.catalogue, "shop")
    session = await ops.here.session("BR")
    text = await page(ops, browser, f"/dashboard/decisions/{MERCHANT}/{session['decision_id']}")
    assert "dropped card; put in another order" in text
    assert "<td>usdt_tron</td><td>one-tron</td>" in text


async def test_a_stored_decision_is_explained_in_the_words_of_its_own_rules(
    desk: tuple[Ops, aiohttp.ClientSession],
) -> None:
    ops, browser = desk
    session = await ops.here.session("BR")
    await ops.services.rules.apply(Source("d.yaml", without_pix(ops.text()), {}), By("mia", "no Pix"))
    listed = await page(ops, browser, "/dashboard/decisions")
    assert session["decision_id"] in listed
    text = await page(ops, browser, f"/dashboard/decisions/{MERCHANT}/{session['decision_id']}")
    assert "wants country is NL; country is BR" in text
    assert "can serve, charging BRL" in text
    await page(ops, browser, f"/dashboard/decisions/{MERCHANT}/dec_none", 404)
