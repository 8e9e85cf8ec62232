"""Rail accounts that are for some countries or some merchants only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator import bootstrap
from orchestrator.clock import SystemClock
from orchestrator.config_source import ConfigInvalid, check
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.eligibility import Reason
from orchestrator.routing.explain import explain
from orchestrator.settings import Settings, load
from tests.support.world import over
from tests.unit.routing.builders import facts, route, rules
from tests.unit.test_settings import CONFIG


async def _catalogue(serves: dict[str, dict[str, Any]]) -> Catalogue:
    """The sandbox with Stripe accounts beside ``main``, in this order before it."""
    _, document = load(CONFIG, {})
    main = document.at(("rails", "stripe", "accounts", "main"))
    card = {"options": {**main["options"], "methods": ["card"]}, "fees": {"card": main["fees"]["card"]}}
    accounts = {name: {**main, **card, "serves": limits} for name, limits in serves.items()}
    data = over(document.data, {"rails": {"stripe": {"accounts": {**accounts, "main": main}}}})
    data["rails"]["stripe"]["accounts"] = {**accounts, "main": main}
    object.__setattr__(document, "data", data)
    settings = check(Settings, document)
    async with aiohttp.ClientSession() as http:
        made = bootstrap.load_rails(settings, document, http, "http://127.0.0.1:9")
    return made.catalogue


CARDS = "routing: {defaults: {offers: [card]}}"


def _account(catalogue: Catalogue, country: str, merchant: str = "mer_other") -> str:
    return route(facts(country, merchant=merchant), rules(CARDS, catalogue), catalogue).offers[0].account


async def test_an_account_is_offered_in_its_countries_and_regions_only() -> None:
    catalogue = await _catalogue({"south": {"regions": ["latam"], "countries": ["PT"]}})
    assert [_account(catalogue, country) for country in ("BR", "MX", "PT", "DE")] == ["south", "south", "south", "main"]


async def test_an_account_is_offered_to_its_merchants_only_and_the_explanation_says_so() -> None:
    catalogue = await _catalogue({"acme": {"merchants": ["mer_acme"]}})
    assert _account(catalogue, "DE", "mer_acme") == "acme"
    assert _account(catalogue, "DE") == "main"
    assert _account(catalogue, "DE", "mer_acme") == "acme", "what was worked out for another does not stay"
    assert _account(catalogue.portable(), "DE", "mer_acme") == "acme"
    ruleset = rules(CARDS, catalogue)
    decided = route(facts("DE", merchant="mer_other"), ruleset, catalogue)
    told = [one for one in explain(decided.to_json(), ruleset)["options"] if one["account"] == "acme"]
    assert [one["text"] for one in told] == ["its account is for other merchants"]
    assert Reason.MERCHANT_NOT_SERVED in {Reason(code) for code, _ in decided.option_outcomes}


@pytest.mark.parametrize(
    ("limits", "complaint"),
    [
        ({"regions": ["atlantis"]}, r"serves.regions: there is no region atlantis .*latam"),
        ({"countries": ["UK"]}, r"serves.countries: UK is no country .*GB"),
        ({"countries": []}, r"serves.countries"),
        ({"merchants": []}, r"serves.merchants"),
    ],
)
async def test_limits_that_mean_nothing_are_refused(limits: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigInvalid, match=complaint):
        await _catalogue({"south": limits})


def _written(folder: Path, before: str, after: str) -> Path:
    text = CONFIG.read_text("utf-8")
    assert before in text
    file = folder / "config.yaml"
    file.write_text(text.replace(before, after, 1), "utf-8")
    return file


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("    accounts:\n      tron:\n        mode: test\n", "    accounts:\n      tron:\n        mode: test\n        serves: {countries: [VN]}\n",
         "a chain is for everybody"),
        ("  adyen:\n    accounts:\n      main:\n", "  adyen:\n    accounts:\n      main:\n        serves: {countries: [US]}\n",
         "pix is sold in none of the countries"),
    ],
)  # fmt: skip
async def test_limits_that_the_rail_cannot_keep_are_refused(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    settings, document = load(_written(tmp_path, before, after), {})
    async with aiohttp.ClientSession() as http:
        with pytest.raises(ConfigInvalid, match=complaint):
            bootstrap.load(settings, document, http, SystemClock(), "http://127.0.0.1:9")
