"""The dashboard over HTTP: never open, and what it shows."""

from __future__ import annotations

import re

import aiohttp
import pytest

from orchestrator.access import Access
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.payments.crediting import ask_a_person
from orchestrator.web.app import routes
from orchestrator.web.door import Assets
from orchestrator.web.sign_in import TRIES_MAX, Tries
from tests.support.world import MERCHANT, MODE, World

NAME, PASSWORD = "ops", "a passphrase of tests"


async def page(here: World, path: str) -> tuple[int, str, aiohttp.ClientResponse]:
    async with here.http.get(here.public_url + path, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer


def csrf_of(text: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', text)
    assert found is not None
    return found[1]


async def post(here: World, path: str, **form: str) -> tuple[int, str, aiohttp.ClientResponse]:
    async with here.http.post(here.public_url + path, data=form, allow_redirects=False) as answer:
        return answer.status, await answer.text(), answer


async def sign_in(
    here: World, name: str = NAME, password: str = PASSWORD, **more: str
) -> tuple[int, str, aiohttp.ClientResponse]:
    _, text, _ = await page(here, "/dashboard/login")
    return await post(here, "/dashboard/login", name=name, password=password, csrf=csrf_of(text), **more)


def paths(here: World) -> list[tuple[str, str]]:
    """Return every route of the dashboard but the door itself: the first word where a part is one of several, else any."""
    return [
        (route.method, re.sub(r"{\w+(?::(\w+)[^}]*)?}", lambda found: found[1] or "some_1", route.path))
        for route in routes(here.services, Assets())
        if route.path.startswith("/dashboard") and not route.path.endswith("/login")
    ]


async def test_no_page_of_the_dashboard_opens_without_signing_in(here: World) -> None:
    assert len(paths(here)) > 15, "the routes are not found any more"
    for method, path in paths(here):
        async with here.http.request(method, here.public_url + path, allow_redirects=False) as answer:
            assert answer.status == 303, path
            assert answer.headers["Location"].startswith("/dashboard/login?next=")


async def test_a_forged_or_foreign_cookie_opens_nothing(here: World) -> None:
    for value in ("", "x.y.z", "eyJuYW1lIjoib3BzIn0.aGVsbG8.c2lnbmF0dXJl"):
        cookies = {"Cookie": f"crossrail_operator={value}"}
        async with here.http.get(f"{here.public_url}/dashboard", headers=cookies, allow_redirects=False) as answer:
            assert answer.status == 303


@pytest.mark.parametrize(("name", "password"), [(NAME, "wrong"), ("nobody", PASSWORD), ("", ""), (NAME, "x" * 5000)])
async def test_a_wrong_name_or_password_is_refused_in_the_same_words(here: World, name: str, password: str) -> None:
    status, text, answer = await sign_in(here, name, password)
    assert status == 401
    assert "Name or password is wrong." in text
    assert "crossrail_operator" not in answer.cookies


async def test_the_session_cookie_is_strict_and_hidden_from_scripts(here: World) -> None:
    status, _, answer = await sign_in(here)
    assert (status, answer.headers["Location"]) == (303, "/dashboard")
    cookie = answer.cookies["crossrail_operator"]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["max-age"]) == ("Strict", "/dashboard", "28800")
    status, _, shown = await page(here, "/dashboard")
    assert status == 200
    assert "form-action 'self'" in shown.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in shown.headers["Content-Security-Policy"]


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example", "/pay/x", "/dashboardx"])
async def test_signing_in_leads_to_the_dashboard_only(here: World, wanted: str) -> None:
    _, _, answer = await sign_in(here, next=wanted)
    assert answer.headers["Location"] == "/dashboard"


async def test_a_sign_in_form_from_elsewhere_is_refused(here: World) -> None:
    status, _, answer = await post(here, "/dashboard/login", name=NAME, password=PASSWORD, csrf="forged")
    assert status == 403
    assert "crossrail_operator" not in answer.cookies


async def test_the_sixth_try_within_a_minute_waits_even_with_the_right_password(here: World) -> None:
    for _ in range(TRIES_MAX):
        assert (await sign_in(here, password="wrong"))[0] == 401
    assert (await sign_in(here))[0] == 429
    assert (await sign_in(here, name="somebody else"))[0] == 401, "names are counted apart"


def test_tries_are_allowed_again_after_a_minute() -> None:
    now_s = 0.0
    tries = Tries(lambda: now_s)
    assert [tries.allow("ops", "a") for _ in range(TRIES_MAX + 1)] == [True] * TRIES_MAX + [False]
    assert tries.allow("ops", "b"), "another address"
    now_s = 60.0
    assert tries.allow("ops", "a")


async def test_signing_out_needs_the_forms_token_and_then_ends_the_session(here: World) -> None:
    _, _, entered = await sign_in(here)
    kept = entered.cookies["crossrail_operator"].value
    assert (await post(here, "/dashboard/logout"))[0] == 403
    assert (await post(here, "/dashboard/logout", csrf="0" * 64))[0] == 403
    _, text, _ = await page(here, "/dashboard")
    assert (await post(here, "/dashboard/logout", csrf=csrf_of(text)))[0] == 303
    stolen = {"Cookie": f"crossrail_operator={kept}"}
    async with here.http.get(f"{here.public_url}/dashboard", headers=stolen, allow_redirects=False) as answer:
        assert answer.status == 303, "a copied cookie is of no use after signing out"


async def test_an_operator_who_is_stored_signs_in_too(here: World) -> None:
    access = Access(here.services.writer, here.services.reads)
    await access.create_operator("maria", "correct horse battery", "viewer")
    assert (await sign_in(here, "maria", "correct horse battery"))[0] == 303
    _, text, _ = await page(here, "/dashboard")
    assert "maria (viewer)" in text


async def test_a_payment_is_shown_with_its_facts_its_entry_and_why_it_went_there(here: World) -> None:
    session = await here.session("VN")
    action = (await here.select(session))["next_action"]
    await here.control("tron", "tron", {"automine": False})
    await here.pay_on_chain(action["chain"], action["address"], action["amount"]["amount"])
    await here.control("tron", "tron", {"mine": 6})
    await here.work_once()
    payment = await here.until(session, "credited")
    await sign_in(here)
    _, text, _ = await page(here, f"/dashboard/payments/{MERCHANT}/{payment['id']}")
    assert re.findall(r'data-fact="(\w+)"', text) == [
        "sent", "action_required", "pending", "captured", "settled", "credited",
    ]  # fmt: skip
    for shown in ("wallet:paid", "fx:position", "20.7414 USDT", "vietnam-usdt", "dep_"):
        assert shown in text
    _, text, _ = await page(here, "/dashboard")
    assert 'id="credited-today">$20.00<' in text
    _, text, _ = await page(here, "/dashboard/payments?status=credited")
    assert payment["id"] in text
    _, text, _ = await page(here, "/dashboard/payments?status=failed")
    assert payment["id"] not in text


async def test_lists_go_on_where_the_page_before_ended(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.web.records.PAGE", 2)
    for _ in range(5):
        await here.select(await here.session("VN"))
    await sign_in(here)
    seen: list[str] = []
    path = "/dashboard/payments?status=&merchant=mer_1"
    for _ in range(3):
        _, text, _ = await page(here, path)
        seen += re.findall(r'class="id" href="/dashboard/payments/mer_1/(pay_\w+)"', text)
        following = re.search(r'href="(\?[^"]*after=[^"]+)"', text)
        path = "/dashboard/payments" + following[1].replace("&amp;", "&") if following else ""
    assert path == "", "the last page has no next one"
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)


async def test_what_needs_a_person_is_listed_and_what_it_says_cannot_become_a_script(here: World) -> None:
    def decide(view: View, changes: Changes) -> dict[str, str]:
        evidence: dict[str, object] = {"note": "<script>alert(1)</script>"}
        ask_a_person(
            view,
            changes,
            MERCHANT,
            MODE,
            reason="amount_mismatch",
            subject="cap_1",
            payment_id="pay_1",
            evidence=evidence,
        )
        return {}

    await here.services.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
    await sign_in(here)
    _, text, _ = await page(here, "/dashboard/reviews")
    assert "amount mismatch" in text
    assert "&lt;script&gt;" in text
    assert "<script>" not in text
    _, text, _ = await page(here, "/dashboard/reviews?status=resolved")
    assert "amount mismatch" not in text


async def test_the_rules_in_force_are_shown_without_any_secret(here: World) -> None:
    await sign_in(here)
    ruleset = here.services.routing.ruleset
    _, text, _ = await page(here, "/dashboard/rules")
    assert ruleset.hash in text
    assert all(rule.id in text for rule in ruleset.rules)
    assert "spread_bps: 250" in text
    settings = here.services.settings
    secrets = [
        value
        for rail in settings.rails.values()
        for account in rail.accounts.values()
        for option in account.options.values()
        for value in (option if isinstance(option, list) else [option])
        if isinstance(value, str) and len(value) > 30
    ]
    assert len(secrets) >= 4
    for path in ("/dashboard", "/dashboard/rules", "/dashboard/rails"):
        _, text, _ = await page(here, path)
        assert not [secret for secret in [*secrets, PASSWORD, here.services.secrets.admin_token] if secret in text]


async def test_rails_and_chains_are_shown_with_their_health(here: World) -> None:
    await sign_in(here)
    _, text, _ = await page(here, "/dashboard/rails")
    for shown in ("stripe/main", "adyen/main", "usdt_ethereum", "test:eip155:56", "healthy"):
        assert shown in text


async def test_a_payment_that_is_not_there_is_not_found(here: World) -> None:
    await sign_in(here)
    status, text, _ = await page(here, "/dashboard/payments/mer_1/pay_nothing")
    assert status == 404
    assert "There is no payment pay_nothing" in text
