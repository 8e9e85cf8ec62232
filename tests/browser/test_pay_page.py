"""Buyers on their phones: a local method, USDT, a decline, a page without scripts."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Shoot
from tests.support.browser import Visit
from tests.support.world import World

pytestmark = pytest.mark.browser
NARROW = {"width": 360, "height": 740}


async def no_sideways_scrolling(page: Page) -> None:
    overhang = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0


async def weight_of(page: Page) -> int:
    """Bytes of the page and of what it loaded."""
    return int(
        await page.evaluate(
            "['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))"
            ".reduce((sum, entry) => sum + entry.decodedBodySize, 0)"
        )
    )


async def test_a_buyer_in_brazil_pays_with_pix_and_comes_back_to_a_credit(
    here: World, phone: Visit, shoot: Shoot
) -> None:
    session = await here.session("BR", locale="pt", success_url=f"{here.public_url}/shop")
    page = await phone.page()
    await page.goto(here.page_url(session))
    await expect(page.get_by_role("note")).to_contain_text("Ambiente de teste")
    await expect(page.get_by_text("US$ 20,00")).to_be_visible()
    await expect(page.locator("details.offer[open] .price")).to_contain_text("R$")
    await no_sideways_scrolling(page)
    assert await weight_of(page) < 100_000
    await shoot(page, "phone-1-pix-choose")

    await page.get_by_role("button", name="Pagar com Pix").click()
    await page.wait_for_url("**/adyen/**")
    await page.click("#pay")
    await page.click("#continue")
    await page.wait_for_url(f"**/pay/{session['id']}**")
    await expect(page.get_by_role("heading", name="US$ 20,00 creditados")).to_be_visible()
    await expect(page.get_by_role("link", name="Voltar à loja")).to_have_attribute("href", f"{here.public_url}/shop")
    await shoot(page, "phone-2-pix-complete")
    payment = await here.payment(session)
    assert payment is not None
    assert payment["credited_units"] == 20 * 10**9


async def test_a_buyer_in_vietnam_pays_in_usdt_and_watches_it_arrive_without_reloading(
    here: World, phone: Visit, shoot: Shoot
) -> None:
    session = await here.session("VN")
    page = await phone.page()
    await page.set_viewport_size({"width": NARROW["width"], "height": NARROW["height"]})
    await page.goto(here.page_url(session))
    await page.evaluate("window.loadedOnce = true")
    await shoot(page, "phone-3-usdt-choose")
    await page.locator("details.offer[open]").get_by_role("button").click()

    deposit = page.locator("[data-phase=deposit]")
    await expect(deposit.get_by_role("img", name="QR code of the address")).to_be_visible()
    await expect(deposit.locator(".network")).to_contain_text("TRON (TRC20)")
    await expect(deposit.locator(".note")).to_contain_text("only on TRON (TRC20)")
    address = await deposit.locator("#address").inner_text()
    assert len(address) == 34
    heads = await deposit.locator("#address b").all_inner_texts()
    assert heads == [address[:5], address[-5:]]
    amount = await deposit.locator("#amount").inner_text()
    await expect(deposit).to_contain_text("Smallest amount: 1.00 USDT")
    await expect(deposit.get_by_role("link", name="Open in wallet")).to_be_visible()
    await no_sideways_scrolling(page)
    await shoot(page, "phone-4-usdt-deposit")

    await page.evaluate("window.loadedOnce = true")
    await here.control("tron", "tron", {"automine": False})
    chain = next(watch.network.chain for watch in here.watches if watch.network.family == "tron")
    await here.pay_on_chain(chain, address, amount.removesuffix(" USDT"))
    await here.control("tron", "tron", {"mine": 2})
    await expect(page.get_by_text("2 of 5 confirmations")).to_be_visible()
    await shoot(page, "phone-5-usdt-confirming")
    await here.control("tron", "tron", {"automine": True})
    await expect(page.get_by_role("heading", name="$20.00 credited")).to_be_visible()
    assert await page.evaluate("window.loadedOnce") is True, "the page was never loaded again"
    await shoot(page, "phone-6-usdt-complete")


async def test_the_copy_buttons_copy_the_bare_address_and_the_bare_amount(here: World, phone: Visit) -> None:
    session = await here.session("VN")
    action = (await here.select(session))["next_action"]
    await phone.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await phone.page()
    await page.goto(here.page_url(session))
    for number, text in ((0, action["address"]), (1, "20.7414")):
        button = page.locator("[data-copy]").nth(number)
        await button.click()
        await expect(button).to_have_text("Copied")
        assert await page.evaluate("navigator.clipboard.readText()") == text


async def test_after_a_decline_the_next_offer_is_suggested_and_can_be_paid(
    here: World, phone: Visit, shoot: Shoot
) -> None:
    session = await here.session("BR", locale="en")
    page = await phone.page()
    await page.goto(here.page_url(session))
    await page.get_by_role("button", name="Pay with Pix").click()
    await page.click("#decline")
    await page.click("#continue")
    await expect(page.get_by_role("alert")).to_contain_text("declined")
    suggested = page.locator("details.suggested")
    await expect(suggested).to_have_attribute("open", "")
    await expect(suggested).to_contain_text("Card")
    await shoot(page, "phone-7-declined")
    await suggested.get_by_role("button", name="Pay with Card").click()
    await page.wait_for_url("**/stripe/**")
    payment = await here.payment(session)
    assert payment is not None
    assert payment["status"] == "awaiting_payment"


async def test_a_buyer_may_change_the_method_while_waiting(here: World, phone: Visit) -> None:
    session = await here.session("VN")
    await here.select(session)
    page = await phone.page()
    await page.goto(here.page_url(session))
    await page.get_by_text("Pay another way").click()
    await page.locator("details.offer summary", has_text="BNB Smart Chain").click()
    await page.get_by_role("button", name="BNB Smart Chain").click()
    await expect(page.locator("[data-phase=deposit] .network")).to_contain_text("BEP20")


async def test_the_buyer_changes_the_language_and_it_stays(here: World, phone: Visit) -> None:
    session = await here.session("BR")
    page = await phone.page()
    await page.goto(here.page_url(session))
    await page.get_by_role("link", name="Tiếng Việt").click()
    await expect(page.get_by_role("heading", name="Bạn muốn thanh toán bằng cách nào?")).to_be_visible()
    await page.goto(f"{here.public_url}/pay/{session['id']}")
    await expect(page.locator("html")).to_have_attribute("lang", "vi")


async def test_a_wrong_secret_says_what_to_do(here: World, phone: Visit) -> None:
    session = await here.session("BR")
    page = await phone.page()
    answer = await page.goto(here.page_url(session) + "0")
    assert answer is not None
    assert answer.status == 404
    await expect(page.get_by_text("Open the payment again from the shop")).to_be_visible()
    phone.complaints.clear()  # Chromium notes the 404 that was asked for


async def test_the_page_works_without_a_script(here: World, phone: Visit) -> None:
    browser = phone.context.browser
    assert browser is not None
    context = await browser.new_context(java_script_enabled=False, viewport={"width": 360, "height": 740})
    session = await here.session("VN")
    page = await context.new_page()
    await page.goto(here.page_url(session))
    await page.locator("details.offer[open] button").click()
    action = (await here.select(session))["next_action"]
    await here.pay_on_chain(action["chain"], action["address"], action["amount"]["amount"])
    await here.until(session, "credited")
    await page.get_by_role("link", name="Update this page").click()
    await expect(page.get_by_role("heading", name="$20.00 credited")).to_be_visible()
    await context.close()
