"""Money that a rail took in one currency and holds in another. Pure.

The rail's own line names both amounts and its rate; nothing is computed from a rate of ours. The clearing account of the
currency that was paid is closed against ``fx:position``, that of the currency of settlement is opened. Where that is US
dollars, what the rail gave more or less than the dollars that we had counted is ``fx:pnl``; in any other currency the
difference is not known before somebody changes it into dollars, and stays in the position. Source: the money rules, "Recipes".
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import orjson

from orchestrator.database.unit import Entry, Row
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.recipes import Holding
from orchestrator.payments.pricing import Price
from rates.money import WALLET_USD, Asset, Money

RATE_DIGITS_LOST: Final = Fraction(1, 10_000)
"""A rate is printed with some digits: so much of the amount, and one smallest unit, may be rounding."""


def is_converted(line: Row, asset: Asset) -> bool:
    """Say whether a line is in another currency than the money that it is about."""
    return bool(line["asset"] != str(asset))


def fits_its_rate(line: Row) -> bool:
    """Say whether both amounts of a line and its rate are one story; without a rate they are none."""
    if not line["exchange_rate"] or line["original_units"] is None:
        return False
    original = Money(abs(line["original_units"]), Asset.parse(line["original_asset"]))
    settled = Money(abs(line["gross_units"]), Asset.parse(line["asset"]))
    if (line["original_units"] < 0) != (line["gross_units"] < 0):
        return False
    expected = original.value * Fraction(line["exchange_rate"]) * 10**settled.asset.scale
    return bool(abs(settled.units - expected) <= 1 + settled.units * RATE_DIGITS_LOST)


def value_of_capture(capture: Row, units: int) -> int | None:
    """Return what so many units of credited money were counted as, USD/9; None while it waits for a person."""
    if capture["status"] != "credited" or not capture["lines"]:
        return None
    price = Price.from_json(orjson.loads(capture["lines"]))
    return price.received().value.units * units // price.total.units


def value_of_refund(refund: Row) -> int:
    return int(refund["units"] + sum(orjson.loads(refund["lines"]).values()))


def conversion_entry(line: Row, fact: str, holding: Holding, worth: int, payment_id: str | None) -> Entry:
    """Book both legs. ``worth``: what we had counted the money as, USD/9, without its sign."""
    came = line["gross_units"] > 0
    out, into = (credit, debit) if came else (debit, credit)
    charged = Money(abs(line["original_units"]), Asset.parse(line["original_asset"]))
    settled = Money(abs(line["gross_units"]), Asset.parse(line["asset"]))
    sides = [
        out(holding.account, charged, holding.subject), into(Account.FX_POSITION, charged),
        into(holding.account, settled, holding.subject), out(Account.FX_POSITION, settled),
    ]  # fmt: skip
    if settled.asset.code == WALLET_USD.code:
        more = settled.units * 10 ** (WALLET_USD.scale - settled.asset.scale) - worth
        gain = Money(abs(more), WALLET_USD)
        won = (more > 0) == came
        sides += [
            (debit if won else credit)(Account.FX_POSITION, gain),
            (credit if won else debit)(Account.FX_PNL, gain),
        ]
    return entry("rail_conversion", fact, *sides, payment_id=payment_id)
