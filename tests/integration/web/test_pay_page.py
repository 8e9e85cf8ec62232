"""The payment page over HTTP: who gets in, what leaks out, what it says in each state."""

from __future__ import annotations

import re
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import select

from orchestrator.database.tables import Attempt, Review, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.payments.client_secret import client_secret
from orchestrator.payments.offers import offers_of
from orchestrator.web.app import setup
from orchestrator.web.door import STATIC
from orchestrator.web.panel import web_address
from tests.support.world import MERCHANT, MODE, World, world

PAGE_BYTES_MAX = 100_000


async def get(here: World, url: str, **more: str) -> tuple[aiohttp.ClientResponse, str]:
    """Ask without following, so that a redirect is seen; cookies are kept."""
    async with here.http.get(url, allow_redirects=False, headers=more) as answer:
        return answer, await answer.text()


def secret_of(here: World, session: Row) -> str:
    return client_secret(here.services.secrets.server, session["id"])


def state_url(here: World, session: Row, have: str = "") -> str:
    return f"{here.public_url}/pay/{session['id']}/state?client_secret={secret_of(here, session)}&have={have}"


async def post_choice(here: World, session: Row, **form: str) -> tuple[int, str, str]:
    url = f"{here.public_url}/pay/{session['id']}/select"
    async with here.http.post(url, data=form, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def last_attempt(here: World, session: Row) -> Row:
    table = table_of(Attempt)
    query = select(table).where(table.c.merchant_id == MERCHANT, table.c.session_id == session["id"])
    row = await here.services.reads.one(query.order_by(table.c.id.desc()))
    assert row is not None
    return row


@pytest.mark.parametrize("secret", ["", "cs_1_secret_0", "ÄÖ%00"])
async def test_a_wrong_secret_shows_a_page_that_says_what_to_do(here: World, secret: str) -> None:
    session = await here.session("BR")
    for path in ("", "/state"):
        answer, text = await get(here, f"{here.public_url}/pay/{session['id']}{path}?client_secret={secret}")
        assert answer.status == 404
        assert "R$" not in text
    answer, text = await get(here, f"{here.public_url}/pay/{session['id']}?client_secret={secret}&lang=de")
    assert "noch einmal aus dem Shop" in text


async def test_one_sessions_secret_does_not_open_another(here: World) -> None:
    mine, other = await here.session("BR"), await here.session("BR")
    answer, _ = await get(here, f"{here.public_url}/pay/{other['id']}?client_secret={secret_of(here, mine)}")
    assert answer.status == 404


async def test_the_page_is_light_whole_and_closed_to_frames_and_foreign_scripts(here: World) -> None:
    session = await here.session("VN")
    await here.select(session)
    answer, text = await get(here, here.page_url(session))
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\bstyle=", text), (
        "the policy forbids inline scripts and styles"
    )
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text), "no asset from elsewhere"
    weight = len(text.encode())
    for path in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text):
        asset, body = await get(here, here.public_url + path)
        assert asset.status == 200
        assert "immutable" in asset.headers["Cache-Control"]
        weight += len(body.encode())
    assert weight < PAGE_BYTES_MAX


async def test_only_named_assets_are_served(here: World) -> None:
    for path in ("/assets/x/..%2fpay.py", "/assets/x/nothing.css", "/assets/x/%2e%2e%2fapp.py"):
        answer, _ = await get(here, here.public_url + path)
        assert answer.status == 404
    answer, _ = await get(here, f"{here.public_url}/assets/old/style.css")
    assert answer.headers["Cache-Control"] == "no-store", "an old page gets today's file, and keeps it no longer"


async def test_the_lines_add_up_to_the_price_in_every_offer(here: World) -> None:
    session = await here.session("BR")
    _, text = await get(here, here.page_url(session) + "&lang=en")
    tables = re.findall(r'<table class="lines">(.*?)</table>', text, re.DOTALL)
    assert len(tables) == len(offers_of(session)) == 3
    for table in tables:
        amounts = [re.sub(r"[^\d.]", "", cell) for cell in re.findall(r"<td>(.*?)</td>", table)]
        scale = max(len(amount.partition(".")[2]) for amount in amounts)
        units = [int(a.partition(".")[0] + a.partition(".")[2].ljust(scale, "0")) for a in amounts]
        assert sum(units[:-1]) == units[-1]
        assert all(units), "lines of zero are not shown"


async def test_a_choice_without_the_secret_in_its_form_is_refused_even_with_the_cookie(here: World) -> None:
    session = await here.session("BR")
    await get(here, here.page_url(session))
    status, _, _ = await post_choice(here, session, offer=offers_of(session)[0].id)
    assert status == 404
    assert await here.payment(session) is None


async def test_a_choice_leads_to_the_rail_or_to_the_deposit_panel(here: World) -> None:
    pix, usdt = await here.session("BR"), await here.session("VN")
    secret = secret_of(here, pix)
    status, to, _ = await post_choice(here, pix, offer=offers_of(pix)[0].id, client_secret=secret)
    assert (status, to.startswith(f"{here.sandbox_url}/adyen/")) == (303, True)
    status, to, _ = await post_choice(here, usdt, offer=offers_of(usdt)[0].id, client_secret=secret_of(here, usdt))
    assert (status, to.startswith(f"/pay/{usdt['id']}?")) == (303, True)
    _, text = await get(here, here.public_url + to)
    assert text.count("TRON (TRC20)") >= 2
    assert 'data-copy="20.7414"' in text
    assert "1.00 USDT" in text, "the smallest amount"
    assert "<svg" in text


@pytest.mark.parametrize(("offer", "network"), [(0, "TRON (TRC20)"), (1, "BNB Smart Chain (BEP20)")])
async def test_the_panel_names_its_network_and_helps_who_sent_on_another(here: World, offer: int, network: str) -> None:
    session = await here.session("VN")
    await here.select(session, offer)
    _, text = await get(here, f"{here.page_url(session)}&lang=en")
    assert f"Send only USDT, and only on {network}." in text
    assert "Sent on the wrong network?" in text
    assert "Do not send again. Keep the transaction hash and tell the shop." in text
    assert "this address is ours too, and it can be credited by hand" in text
    _, text = await get(here, f"{here.page_url(session)}&lang=de")
    assert "Nicht noch einmal senden. Transaktions-Hash aufheben" in text


async def test_an_offer_of_another_session_is_a_problem_page_that_leads_back(here: World) -> None:
    session, other = await here.session("BR"), await here.session("DE")
    form = {"offer": offers_of(other)[0].id, "client_secret": secret_of(here, session)}
    status, _, text = await post_choice(here, session, **form)
    assert status == 404
    assert f"/pay/{session['id']}?client_secret=" in text
    assert await here.payment(session) is None


async def test_the_poll_sends_the_panel_only_when_it_changed(here: World) -> None:
    session = await here.session("VN")
    async with here.http.get(state_url(here, session)) as answer:
        first = await answer.json()
    assert first["phase"] == "choose"
    assert "<form" in first["html"]
    async with here.http.get(state_url(here, session, first["revision"])) as answer:
        assert "html" not in await answer.json()
    await here.select(session)
    async with here.http.get(state_url(here, session, first["revision"])) as answer:
        later = await answer.json()
    assert later["phase"] == "deposit"
    assert "html" in later


async def test_confirmations_are_counted_and_then_the_credit_is_shown(here: World) -> None:
    await here.control("tron", "tron", {"automine": False})
    session = await here.session("VN")
    action = (await here.select(session))["next_action"]
    await here.pay_on_chain(action["chain"], action["address"], action["amount"]["amount"])
    told, html = [], ""
    for _ in range(5):
        await here.control("tron", "tron", {"mine": 1})
        await here.work_once()
        async with here.http.get(state_url(here, session) + "&lang=en") as answer:
            state = await answer.json()
        told.append((state["phase"], state["transfers"][0]["confirmations"], state["transfers"][0]["needed"]))
        html = state["html"]
        if state["phase"] == "deposit":
            assert "data-copy" not in html, "what is on its way is not asked for again"
    assert told == [*(("deposit", depth, 5) for depth in range(1, 5)), ("complete", 5, 5)]
    assert "$20.00 credited" in html


async def test_a_part_that_arrived_is_shown_with_what_is_missing(here: World) -> None:
    await here.control("tron", "tron", {"automine": False})
    session = await here.session("VN")
    action = (await here.select(session))["next_action"]
    await here.pay_on_chain(action["chain"], action["address"], "10.0000")
    await here.control("tron", "tron", {"mine": 6})
    await here.work_once()
    _, text = await get(here, here.page_url(session) + "&lang=en")
    assert 'data-phase="partial"' in text
    assert re.search(r'id="received">10.00 USDT<.*id="missing">10.7414 USDT<', text, re.DOTALL)
    assert 'data-copy="10.7414"' in text, "what is copied now is the rest"


async def test_only_the_rest_is_asked_for_while_a_part_is_on_its_way(here: World) -> None:
    await here.control("tron", "tron", {"automine": False})
    session = await here.session("VN")
    action = (await here.select(session))["next_action"]
    await here.pay_on_chain(action["chain"], action["address"], "10.00")
    await here.control("tron", "tron", {"mine": 1})
    await here.work_once()
    _, text = await get(here, here.page_url(session) + "&lang=en")
    assert "Send 10.7414 USDT" in text
    assert "1 of 5 confirmations" in text


async def test_an_answer_that_was_lost_says_do_not_pay_again_and_offers_nothing(here: World) -> None:
    await here.control("adyen", "main", {"drop_answer": 9})
    session = await here.session("BR")
    await here.select(session)
    _, text = await get(here, here.page_url(session) + "&lang=en")
    assert 'data-phase="unknown"' in text
    assert "do not pay again" in text
    assert "<form" not in text


async def test_money_of_a_wrong_amount_is_said_to_be_with_a_person(here: World) -> None:
    await here.control("adyen", "main", {"wrong_amount": -100})
    session = await here.session("BR")
    await here.pay_at_rail(await here.select(session))
    for _ in range(20):
        await here.work_once()
        if await here.services.reads.one(select(table_of(Review))) is not None:
            break
    _, text = await get(here, here.page_url(session) + "&lang=en")
    assert 'data-phase="review"' in text
    assert "<form" not in text


async def test_who_comes_back_without_the_cookie_sees_a_neutral_page_and_with_it_the_payment(here: World) -> None:
    session = await here.session("BR")
    await here.select(session)
    url = f"{here.public_url}/pay/{session['id']}/return"
    before = await last_attempt(here, session)
    answer, text = await get(here, url, **{"Accept-Language": "pt-BR"})
    assert answer.status == 200
    assert "Você pode fechar esta janela" in text
    assert "20" not in re.sub(r"<[^>]+>", "", text), "no amount for strangers"
    await get(here, here.page_url(session))
    answer, _ = await get(here, url)
    assert (answer.status, answer.headers["Location"]) == (303, f"/pay/{session['id']}")
    after = await last_attempt(here, session)
    assert after["next_check_us"] < before["next_check_us"], "the rail is asked now"
    answer, _ = await get(here, f"{here.public_url}/pay/{session['id']}")
    assert answer.status == 200, "the cookie opens the bare address"


async def test_the_cookie_is_for_this_session_only_and_no_script_reads_it(here: World) -> None:
    session = await here.session("BR")
    answer, _ = await get(here, here.page_url(session))
    cookies = answer.headers.getall("Set-Cookie")
    assert len(cookies) == 2
    for cookie in cookies:
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert f"Path=/pay/{session['id']}" in cookie


async def test_a_return_for_a_session_that_is_not_there_says_no_more_than_the_others(here: World) -> None:
    answer, text = await get(here, f"{here.public_url}/pay/cs_nothing/return")
    assert answer.status == 200
    assert "You can close this window" in text


async def test_an_expired_session_offers_nothing(sqlite_url: str, tmp_path: Path) -> None:
    ttl = {"checkout": {"session_ttl_s": 1, "session_ttl_min_s": 1}}
    async with world(sqlite_url, tmp_path, setups=[setup], loops=True, overrides=ttl) as here:
        session = await here.session("BR", cancel_url="https://shop.example/")
        async with here.http.get(state_url(here, session)) as answer:
            first = await answer.json()
        state = first
        while state["phase"] == "choose":
            async with here.http.get(state_url(here, session)) as answer:
                state = await answer.json()
        assert state["phase"] == "expired"
        assert "<form" not in state["html"]
        assert 'href="https://shop.example/"' in state["html"]


async def test_a_bug_of_ours_is_a_page_for_people_that_tells_nothing_of_its_inside(here: World) -> None:
    session = await here.session("BR")

    def decide(_view: View, changes: Changes) -> dict[str, str]:
        changes.update("checkout_session", (MERCHANT, session["id"]), offers="{not json")
        return {}

    locks = (row_lock("checkout_session", MERCHANT, session["id"]),)
    await here.services.writer.submit(Unit(MERCHANT, MODE, None, locks, decide))
    answer, text = await get(here, here.page_url(session) + "&lang=en")
    assert answer.status == 500
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "do not pay twice" in text
    assert "json" not in text.lower()


@pytest.mark.parametrize(
    ("url", "kept"),
    [("https://a/", True), ("http://a/", True), ("javascript:alert(1)", False), ("data:x", False), (None, False)],
)
def test_a_browser_is_never_sent_to_a_script(url: str | None, kept: bool) -> None:
    assert bool(web_address(url)) is kept


def test_the_script_builds_no_code_from_text() -> None:
    script = (STATIC / "pay.js").read_text("utf-8")
    assert not re.search(r"\beval\b|new Function|document\.write", script)
