"""Wallets full of money, and the product's own metering to charge them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.unit import Changes, Entry, Line, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.ids import new_id
from orchestrator.ledger.purse import purse_locks
from orchestrator.metering.price_book import NewVersion, PriceBook
from orchestrator.metering.price_content import Content, ModelPrices
from orchestrator.metering.usage import Metering
from orchestrator.metering.usage_input import UsageInput, read_event

MERCHANT: Final = "mer_bench"
MODE: Final = "test"
MODEL: Final = "gpt-bench"
UNITS: Final = 10**16
"""What every wallet holds, USD/9."""
SEED_PORTION: Final = 1000


async def open_metering(writer: Writer, reads: Reads, clock: Clock, merchant: str) -> Metering:
    """Return the product's metering with one priced model."""
    prices = PriceBook(writer, reads, clock, lead_s=0)
    content = Content({MODEL: ModelPrices({"input": 150_000_000_007, "output": 600_000_000_001})})
    await prices.put(merchant, MODE, NewVersion(content, None, None, "bench"))
    return Metering(writer, prices, clock)


def wallet_names(merchant: str, count: int) -> list[str]:
    return [f"wal_{merchant}_{number:06}" for number in range(count)]


def usage(wallet_id: str, event_id: str) -> UsageInput:
    """Return one event as it is read from a request."""
    return read_event({"id": event_id, "wallet": wallet_id, "model": MODEL, "tokens": {"input": 823, "output": 121}})


def _fill(merchant: str, wallet_id: str) -> Unit:
    """Make one wallet with one paid lot."""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert(
            "wallet", merchant_id=merchant, id=wallet_id, mode=MODE, customer_id=wallet_id, customer_reference=wallet_id,
            status="active", created_us=view.now_us,
        )  # fmt: skip
        changes.insert(
            "lot", merchant_id=merchant, id=new_id("lot"), mode=MODE, wallet_id=wallet_id, kind="paid", source="bench",
            units=UNITS, remaining_units=UNITS, created_us=view.now_us,
        )  # fmt: skip
        lines = (Line("bank", wallet_id, "USD/9", UNITS), Line("wallet:paid", wallet_id, "USD/9", -UNITS))
        changes.post(Entry("topup", wallet_id, lines))
        return {}

    return Unit(merchant, MODE, None, purse_locks(merchant, MODE, wallet_id), decide)


async def fill(writer: Writer, merchant: str, wallets: Sequence[str]) -> None:
    for start in range(0, len(wallets), SEED_PORTION):
        await asyncio.gather(*(writer.submit(_fill(merchant, name)) for name in wallets[start : start + SEED_PORTION]))
