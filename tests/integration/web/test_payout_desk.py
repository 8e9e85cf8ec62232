"""Payouts on the dashboard: who may decide, that two people are needed, that forms carry their token; and the proof's banner."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.payouts import PayoutWanted
from rates.money import WALLET_USD, Money
from tests.integration.web.test_dashboard import csrf_of, page, post, sign_in
from tests.support.world import MERCHANT, MODE, World

PAYOUTS = "/dashboard/payouts"
BANK = {"name": "Acme GmbH", "iban": "DE02120300000000202051"}
DOLLARS = Money(100 * 10**9, WALLET_USD)


async def asked(here: World, by: str = "key:key_1") -> None:
    """A payout of 100 dollars that waits."""
    services = here.services

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert("merchant", id=MERCHANT, name="Acme", created_us=0)
        changes.post(entry("usage", "f", debit(Account.ROUNDING, DOLLARS), credit(Account.MERCHANT_AVAILABLE, DOLLARS)))
        return {}

    await services.writer.submit(Unit(MERCHANT, MODE, None, (), decide))
    await services.payouts.set_terms(MERCHANT, tier=None, destination=BANK, by="admin_token")
    await services.payouts.confirm_destination(MERCHANT, BANK, "operator:zoe")
    await services.payouts.request(PayoutWanted("po_1", MERCHANT, MODE, None, by))


async def act(here: World, verb: str, words: str = "", csrf: str | None = None) -> tuple[int, str]:
    if csrf is None:
        csrf = csrf_of((await page(here, PAYOUTS))[1])
    status, text, _ = await post(here, f"{PAYOUTS}/po_1/{verb}", csrf=csrf, words=words)
    return status, text


async def test_an_operator_approves_and_confirms(here: World) -> None:
    await asked(here)
    await sign_in(here)
    _, text, _ = await page(here, PAYOUTS)
    assert "$100.00" in text
    assert "DE02120300000000202051" in text
    assert (await act(here, "approve"))[0] == 303
    assert (await act(here, "confirm", "FT1"))[0] == 303
    _, text, _ = await page(here, PAYOUTS)
    assert "Nothing waits." in text
    assert "operator:ops" in text
    assert "FT1" in text


async def test_whoever_asked_is_not_offered_to_approve_and_is_refused(here: World) -> None:
    await asked(here, "operator:ops")
    await sign_in(here)
    _, text, _ = await page(here, PAYOUTS)
    assert "Another person approves it." in text
    status, text = await act(here, "approve")
    assert (status, "cannot approve it" in text) == (403, True)
    assert (await act(here, "fail", "asked by mistake"))[0] == 303


async def test_a_form_without_its_token_moves_nothing(here: World) -> None:
    await asked(here)
    await sign_in(here)
    for forged in ("", "0" * 64):
        assert (await act(here, "approve", csrf=forged))[0] == 403
    assert "requested" in (await page(here, PAYOUTS))[1]


async def test_a_viewer_looks_and_decides_nothing(here: World) -> None:
    await asked(here)
    await here.services.access.create_operator("vera", "a passphrase of vera", "viewer")
    await sign_in(here, "vera", "a passphrase of vera")
    _, text, _ = await page(here, PAYOUTS)
    assert "Your role looks only." in text
    status, text = await act(here, "approve")
    assert (status, "moves no money" in text) == (403, True)
    assert ">requested<" in text


@pytest.mark.parametrize(("verb", "words"), [("confirm", "FT1"), ("fail", ""), ("fail", "x" * 81)])
async def test_what_cannot_be_is_told_on_the_page(here: World, verb: str, words: str) -> None:
    await asked(here)
    await sign_in(here)
    status, text = await act(here, verb, words)
    assert status in {409, 422}
    assert 'role="alert">po_1: ' in text


async def proven(here: World, type_: str, **body: object) -> None:
    shown = {"ok": type_ == "ledger.proven", "entries": 7, "findings": [], "findings_count": 0, **body}

    def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
        changes.emit(type_, "proof:1", orjson.dumps(shown).decode())
        return {}

    await here.services.writer.submit(Unit("platform", "live", None, (), decide))


async def test_an_alarm_of_the_proof_is_a_banner_on_every_page_until_the_books_hold_again(here: World) -> None:
    await sign_in(here)
    assert "not proven yet" in (await page(here, "/dashboard"))[1]
    await proven(here, "ledger.alarm", findings=["link 3: <entry> 4"], findings_count=1)
    for path in ("/dashboard", PAYOUTS, "/dashboard/rules"):
        assert "The books do not hold" in (await page(here, path))[1]
    assert "link 3: &lt;entry&gt; 4" in (await page(here, "/dashboard"))[1]
    await proven(here, "ledger.proven")
    text = (await page(here, "/dashboard"))[1]
    assert "7 entries proven" in text
    assert "The books do not hold" not in text


async def test_a_merchants_accounts_are_shown_with_its_statements(here: World) -> None:
    await asked(here)
    await sign_in(here)
    _, text, _ = await page(here, PAYOUTS)
    path = f"/dashboard/statements/{MERCHANT}/{MODE}"
    assert f'href="{path}/html?period=' in text
    month = text.partition(f"{path}/html?period=")[2][:7]
    status, printed, answer = await page(here, f"{path}/html?period={month}")
    assert "style-src 'unsafe-inline'" in answer.headers["Content-Security-Policy"], "its style is inside it"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert (status, "Closing" in printed, "po_1" in printed) == (200, True, True)
    status, rows, answer = await page(here, f"{path}/csv?period={month}")
    assert (status, rows.splitlines()[-1]) == (200, ",closing,,0.00,0.00,0.00,0.00,100.00,0.00,100.00")
    assert "attachment" in answer.headers["Content-Disposition"]
    assert (await page(here, f"{path}/html?period=soon"))[0] == 422
    assert (await page(here, f"/dashboard/statements/mer_none/{MODE}/html?period={month}"))[0] == 404


async def test_a_batch_is_built_by_one_operator_and_approved_and_fetched_by_another(here: World) -> None:
    await asked(here)
    await here.services.payouts.approve("po_1", "operator:vera")
    await sign_in(here)
    _, text, _ = await page(here, PAYOUTS)
    found = re.search(rf'payout-batches/{MODE}">.*?name="batch" value="(pob_\w+)"', text, re.DOTALL)
    assert found is not None
    batch, csrf = found[1], csrf_of(text)
    for _ in range(2):  # a form that is sent twice is one batch
        assert (await post(here, f"/dashboard/payout-batches/{MODE}", csrf=csrf, batch=batch))[0] == 303
    assert (await post(here, f"/dashboard/payout-batches/{MODE}", csrf=csrf, batch="mine"))[0] == 400
    assert (await post(here, f"/dashboard/payout-batches/{MODE}", csrf="0" * 64, batch=batch))[0] == 403
    _, text, _ = await page(here, PAYOUTS)
    assert "Stands in a batch." in text
    assert "Another person approves it." in text
    assert (await post(here, f"/dashboard/payout-batches/{batch}/approve", csrf=csrf))[0] == 403
    assert (await post(here, f"/dashboard/payout-batches/{batch}/fetch", csrf=csrf))[0] == 409
    await here.services.access.create_operator("bob", "a passphrase of bob", "operator")
    here.http.cookie_jar.clear()
    await sign_in(here, "bob", "a passphrase of bob")
    csrf = csrf_of((await page(here, PAYOUTS))[1])
    assert (await post(here, f"/dashboard/payout-batches/{batch}/approve", csrf=csrf))[0] == 303
    status, rows, answer = await post(here, f"/dashboard/payout-batches/{batch}/fetch", csrf=csrf)
    assert (status, "po_1" in rows, answer.headers["Content-Type"]) == (200, True, "text/csv; charset=utf-8")
    assert f'filename="payouts-{batch}.csv"' in answer.headers["Content-Disposition"]
    assert (await post(here, f"/dashboard/payout-batches/{batch}/cancel", csrf=csrf))[0] == 409
    assert (await act(here, "confirm", "FT1"))[0] == 303


async def test_a_held_destination_is_confirmed_by_somebody_else_who_saw_it(here: World) -> None:
    await asked(here)
    new = {"name": "<b>Acme", "iban": "GB82WEST12345698765432"}
    await here.services.payouts.set_terms(MERCHANT, tier=None, destination=new, by="admin_token")
    await sign_in(here)
    _, text, _ = await page(here, PAYOUTS)
    assert "iban GB82WEST12345698765432, name &lt;b&gt;Acme" in text
    path, csrf = f"/dashboard/destinations/{MERCHANT}/confirm", csrf_of(text)
    for seen in ("", "[]", orjson.dumps(BANK).decode()):
        assert (await post(here, path, csrf=csrf, seen=seen))[0] == 409
    assert (await post(here, path, csrf=csrf, seen=orjson.dumps(new).decode()))[0] == 303
    assert "wait for a second person" not in (await page(here, PAYOUTS))[1]
