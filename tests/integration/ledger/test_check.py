"""``ledger check`` finds what is wrong with wallets, whoever wrote it, and says so in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from orchestrator.database.unit import Changes, Unit, View
from orchestrator.ledger.check import Report, check
from orchestrator.ledger.purse import Purse, purse_locks
from tests.integration.ledger.bank import CENT, Bank, opened_bank, usd


async def _a_busy_wallet(bank: Bank) -> str:
    wallet = await bank.wallet(paid=500, overdraft="grace", overdraft_limit=usd("5.00"))
    await bank.grant(wallet, "1.00")
    await bank.charge(wallet, 50 * CENT)
    await bank.capture(await bank.hold(wallet, "1.00"), "0.30")
    await bank.hold(wallet, "7.00")
    await bank.charge(wallet, 100 * CENT)
    return wallet


def _write(url: str, *statements: str) -> None:
    """Change rows beside the product, as only somebody with the file in hand can."""
    with sqlite3.connect(Path(url.partition(":///")[2])) as connection:
        connection.execute("PRAGMA query_only = OFF")
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
    connection.close()


async def _checked(bank: Bank) -> Report:
    return await check(bank.services.reads)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE lot SET remaining_units = remaining_units + 1, units = units + 1 WHERE kind = 'paid'",
         ("lots of paid differ from the balance by -1",)),
        ("UPDATE lot SET held_units = held_units - 1 WHERE kind = 'paid'",
         ("open holds have 5000000000", "lots of paid differ", "lots of held_paid differ")),
        ("UPDATE lot SET open = 0 WHERE kind = 'paid'", ("remain and open is 0",)),
        ("UPDATE lot SET frozen_units = 1 WHERE kind = 'paid'", ("lots of frozen differ", "lots of paid differ")),
        ("UPDATE hold SET units = units + 1 WHERE status = 'open'", ("is for 7000000001, has 7000000000",)),
        ("UPDATE hold SET allocations = '[[\"lot_x\",\"paid\",1]]' WHERE status = 'captured'",
         ("has ended and still has parts of lots",)),
        ("UPDATE hold SET status = 'voided', allocations = '[]' WHERE status = 'open'",
         ("held, open holds have 0 of it", "uncovered, its open holds say 0")),
        ("UPDATE wallet SET held_uncovered_units = 0", ("0 uncovered, its open holds say",)),
        ("UPDATE account SET balance = balance + 1 WHERE code = 'merchant:unfunded'", ("materialised",)),
    ],
)  # fmt: skip
async def test_what_somebody_changed_beside_the_product_is_found(
    sqlite_url: str, statement: str, words: Sequence[str]
) -> None:
    async with opened_bank(sqlite_url) as bank:
        await _a_busy_wallet(bank)
        await bank.assert_sound()
        _write(sqlite_url, statement)
        report = await _checked(bank)
        assert not report.ok
        for word in words:
            assert any(word in finding for finding in report.findings), (word, report.findings)


async def test_money_that_becomes_the_merchants_without_being_paid_is_found(bank: Bank) -> None:
    """A recipe that is wrong writes entries that balance: rule 1 is what it breaks."""
    wallet = await bank.wallet(paid=100, overdraft="debt")

    def decide(view: View, changes: Changes) -> dict[str, str]:
        purse = Purse.open(view, bank.merchant, "test", wallet)
        purse.charge(300 * CENT)
        purse.write(changes, kind="wrong", fact="f")
        entry = changes.entries[0]
        lines = [line for line in entry.lines if line.code not in {"merchant:unfunded", "merchant:pending"}]
        pending = type(lines[0])("merchant:pending", "", "USD/9", -sum(line.units for line in lines))
        changes.entries[0] = type(entry)("wrong", "f", (*lines, pending))
        return {}

    await bank.services.writer.submit(
        Unit(bank.merchant, "test", None, purse_locks(bank.merchant, "test", wallet), decide)
    )
    report = await _checked(bank)
    assert report.balanced
    assert any("merchant:unfunded" in finding for finding in report.findings), report.findings


@pytest.mark.parametrize("charged", [250, 0])
async def test_usage_events_that_do_not_add_up_to_their_entry_are_found(bank: Bank, charged: int) -> None:
    wallet = await bank.wallet(paid=100)

    def decide(view: View, changes: Changes) -> dict[str, str]:
        purse = Purse.open(view, bank.merchant, "test", wallet)
        if charged:
            purse.charge(charged)
        purse.write(changes, kind="usage", fact="merged", merge=True)
        changes.insert(
            "usage_event", merchant_id=bank.merchant, mode="test", day=1, source="", event_id="use_1",
            wallet_id=wallet, model="gpt", tokens="", status="accepted", reason="", units=200, price_version="",
            fingerprint="", period="2026-11", flush_id=view.flush_id, at_us=1, recorded_us=1,
        )  # fmt: skip
        return {}

    await bank.services.writer.submit(
        Unit(bank.merchant, "test", None, purse_locks(bank.merchant, "test", wallet), decide)
    )
    findings = (await _checked(bank)).findings
    assert any("usage events charge 200" in finding for finding in findings), findings
    assert any(f"the journal took {charged}" in finding for finding in findings) == bool(charged), findings
