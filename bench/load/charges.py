"""A usage charge of one event as a unit: dedupe row, purse, rating remainder, roll-up and merged entry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.database.unit import Changes, Entry, Line, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.ids import new_id
from orchestrator.ledger.purse import REMAINDER_END, Purse, purse_locks

MERCHANT: Final = "mer_bench"
MODE: Final = "test"
MODEL: Final = "gpt-bench"
UNITS: Final = 10**16
"""What every wallet holds, USD/9."""
DAY_US: Final = 86_400_000_000
SEED_PORTION: Final = 1000


def charge(wallet_id: str, event_id: str, day: int, exact: int = 12_345 * 10**11) -> Unit:
    """Charge one event; ``exact`` is its price in USD/22."""
    event_key = (MERCHANT, MODE, day, "", event_id)
    rollup_key = (MERCHANT, MODE, wallet_id, day, MODEL, "2026-01")

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        if view.one("usage_event", *event_key) is not None:
            return {"status": "duplicate"}
        purse = Purse.open(view, MERCHANT, MODE, wallet_id)
        units, purse.rating_remainder = divmod(purse.rating_remainder + exact, REMAINDER_END)
        purse.charge(units)
        changes.insert(
            "usage_event", merchant_id=MERCHANT, mode=MODE, day=day, source="", event_id=event_id, wallet_id=wallet_id,
            model=MODEL, tokens='{"input":823}', status="accepted", reason="", units=units, price_version="prv_1",
            fingerprint="0" * 32, period="2026-01", flush_id=view.flush_id, at_us=view.now_us, recorded_us=view.now_us,
        )  # fmt: skip
        rollup = view.one("usage_rollup", *rollup_key)
        if rollup is None:
            changes.insert(
                "usage_rollup", merchant_id=MERCHANT, mode=MODE, wallet_id=wallet_id, day=day, model=MODEL,
                period="2026-01", events=1, units=units, tokens='{"input":823}',
            )  # fmt: skip
        else:
            changes.update(
                "usage_rollup", rollup_key, events=rollup["events"] + 1, units=rollup["units"] + units,
                tokens='{"input":823}',
            )  # fmt: skip
        purse.write(changes, kind="usage", fact=event_id, merge=True)
        return {"status": "accepted", "units": units}

    locks = [
        row_lock("usage_event", *event_key),
        row_lock("usage_rollup", *rollup_key),
        *purse_locks(MERCHANT, MODE, wallet_id),
    ]
    return Unit(MERCHANT, MODE, None, locks, decide)


def _fill(wallet_id: str) -> Unit:
    """Make one wallet with one paid lot."""

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        changes.insert(
            "wallet", merchant_id=MERCHANT, id=wallet_id, mode=MODE, customer_id=wallet_id, customer_reference=wallet_id,
            status="active", created_us=view.now_us,
        )  # fmt: skip
        changes.insert(
            "lot", merchant_id=MERCHANT, id=new_id("lot"), mode=MODE, wallet_id=wallet_id, kind="paid", source="bench",
            units=UNITS, remaining_units=UNITS, created_us=view.now_us,
        )  # fmt: skip
        lines = (Line("bank", wallet_id, "USD/9", UNITS), Line("wallet:paid", wallet_id, "USD/9", -UNITS))
        changes.post(Entry("topup", wallet_id, lines))
        return {}

    return Unit(MERCHANT, MODE, None, purse_locks(MERCHANT, MODE, wallet_id), decide)


async def fill(writer: Writer, wallets: Sequence[str]) -> None:
    for start in range(0, len(wallets), SEED_PORTION):
        await asyncio.gather(*(writer.submit(_fill(name)) for name in wallets[start : start + SEED_PORTION]))
