"""An operator at a desk and on a phone: signing in, finding a payment, reading what happened to it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Shoot
from tests.support.browser import PHONE, Visit
from tests.support.world import FAST, MERCHANT, World

pytestmark = pytest.mark.browser


async def test_an_operator_signs_in_and_reads_a_payments_timeline(here: World, desk: Visit, shoot: Shoot) -> None:
    await here.control("stripe", "main", {"decline": "insufficient_funds"})
    declined = await here.session("DE")
    await here.pay_at_rail(await here.select(declined), {"card": "4242424242424242"})
    paid = await here.session("VN")
    await here.pay_at_rail(await here.select(paid))
    payment = await here.until(paid, "credited")
    await here.until(declined, "failed")

    page = await desk.page()
    await page.goto(f"{here.public_url}/dashboard/payments")
    await expect(page.get_by_role("heading", name="Crossrail dashboard")).to_be_visible()
    await page.fill("#name", "ops")
    await page.fill("#password", FAST["admin"]["operator_password"])
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/dashboard/payments")
    await shoot(page, "desk-1-payments")
    await page.get_by_role("link", name=payment["id"]).click()

    facts = await page.locator("[data-fact]").evaluate_all("(items) => items.map((item) => item.dataset.fact)")
    final = [
        fact for fact in facts if fact != "provisional"
    ]  # told only where somebody looked before the block was final
    assert final == ["sent", "action_required", "pending", "captured", "settled", "credited"]
    await expect(page.locator("#credited")).to_have_text("$20.00")
    await expect(page.get_by_text("wallet:paid")).to_be_visible()
    await shoot(page, "desk-2-payment")

    await page.get_by_role("link", name="Overview").click()
    await expect(page.locator("#credited-today")).to_have_text("$20.00")
    await shoot(page, "desk-3-overview")
    await page.get_by_role("link", name="Rules").click()
    await expect(page.locator("#hash")).to_have_text(here.services.routing.ruleset.hash)
    await shoot(page, "desk-4-rules")

    await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    await page.goto(f"{here.public_url}/dashboard/payments/{MERCHANT}/{payment['id']}")
    overhang = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0, "tables scroll inside their frame, the page does not"
    await shoot(page, "phone-8-dashboard-payment")
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/dashboard/login")
    await page.goto(f"{here.public_url}/dashboard")
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_an_operator_replays_a_stored_webhook_on_the_payments_page(
    here: World, desk: Visit, shoot: Shoot
) -> None:
    here.switched_off |= {"inbox", "watch"}
    session = await here.session("BR")
    chosen = await here.select(session)
    await here.pay_at_rail(chosen)
    page = await desk.page()
    address = f"{here.public_url}/dashboard/payments/{MERCHANT}/{chosen['payment']}"
    await page.goto(address)
    await page.fill("#name", "ops")
    await page.fill("#password", FAST["admin"]["operator_password"])
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(address)
    row = page.locator("[data-webhook]")
    for _ in range(100):  # the simulator delivers in its own time
        if await row.count():
            break
        await page.reload()
    await expect(row).to_contain_text("AUTHORISATION")
    await expect(page.locator("#credited")).to_have_text("$0.00")
    await shoot(page, "desk-5-webhook-waits")
    await row.get_by_role("button", name="Replay").click()
    await expect(page.locator("#credited")).to_have_text("$20.00")
    await expect(page.locator('[data-fact="webhook_replayed"]')).to_be_visible()
    await expect(row).to_contain_text("processed")
    await page.locator("#webhooks").scroll_into_view_if_needed()
    await shoot(page, "desk-6-webhook-replayed")
    await page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    overhang = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0, "tables scroll inside their frame, the page does not"
