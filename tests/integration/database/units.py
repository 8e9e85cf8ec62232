"""Units for tests of the writer: top-ups as the product books them, with nothing around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.database.writer import Backend, Writer, backend_for
from orchestrator.payments.crediting import MoneyAt, credit_locks, credit_wallet, holding_of, is_claimed
from orchestrator.payments.pricing import Price, Rate
from rates.money import WALLET_USD, Asset, Money

MERCHANT, MODE, WALLET = "mer_1", "test", "wal_1"
CENT = 10_000_000
EUR = Asset("EUR", 2)


@asynccontextmanager
async def opened_writer(url: str, backend: Backend | None = None) -> AsyncIterator[Writer]:
    writer = Writer(backend or backend_for(url), SystemClock())
    await writer.open()
    try:
        yield writer
    finally:
        await writer.close()


@asynccontextmanager
async def opened_reads(url: str) -> AsyncIterator[Reads]:
    reads = Reads(url)
    try:
        yield reads
    finally:
        await reads.close()


def at_par(total: Money) -> Price:
    """A price without fees, one for one: what stands in euro cents reaches the wallet in dollar cents."""
    usd = Money(total.units * CENT, WALLET_USD)
    nothing = Money.zero(WALLET_USD)
    return Price(total, Rate(Fraction(1), 0), usd, nothing, nothing, nothing, nothing, nothing)


def money_at(name: str, cents: int, *, wallet: str = WALLET, merchant: str = MERCHANT) -> MoneyAt:
    return MoneyAt(
        merchant_id=merchant,
        mode=MODE,
        rail="fake",
        account="main",
        kind="capture",
        rail_id=name,
        object_id=f"cap_{merchant}_{name}",
        wallet_id=wallet,
        payment_id=None,
        total=Money(cents, EUR),
        holding=holding_of("fake", "main"),
    )


def top_up(
    name: str, cents: int = 100, *, key: str | None = None, wallet: str = WALLET, merchant: str = MERCHANT
) -> Unit:
    """Credit ``cents`` once per money ``name``; ``key`` is the unit's own (none: the claim alone keeps it single)."""
    money = money_at(name, cents, wallet=wallet, merchant=merchant)

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        if is_claimed(view, money):
            return {"credited": 0}
        return {"credited": credit_wallet(view, changes, money, at_par(money.total))}

    return Unit(merchant, MODE, key, credit_locks(merchant, MODE, wallet, money.claim_key), decide)
