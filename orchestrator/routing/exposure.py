"""What moves with exchange rates: quotes that are open, money that was taken and not converted yet, and rates over time.

The books say what is held: ``fx:position`` has a credit for every unit that was taken in a currency and a debit for
every one that was converted, so that its balance, turned around, is what is to be sold to be flat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

import orjson
from sqlalchemy import Select, func, select, text

from orchestrator.clock import from_us, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import POSITION, Account, CheckoutSession, RateHistory, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from rates.agreement import decimal_text
from rates.errors import RateError
from rates.market import Market, Mid
from rates.money import WALLET_USD, Asset, Money, Rounding

PLATFORM: Final = "platform"
USD_CENTS: Final = Asset("USD", 2)
USD_MICROS: Final = Asset("USD", 6)
NANOS: Final = 10**WALLET_USD.scale
POINTS_MAX: Final = 500
DAYS_READ: Final = 120
"""Calendar days of recorded mids that are read: a month of fixings, and room for a sandbox's old dates."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """One currency of one mode."""

    currency: str
    mode: str
    open_quotes: int
    open_usd: Money
    """Principal of the open sessions that may still pay at a locked rate; a session with several offers counts in each.

    USD/6: exact for whole cents, of the whole sum what is below a millionth is dropped. Nano-dollars of so much as a hostile
    merchant can open would not fit into 64 bits.
    """
    held: Money
    """Taken and not converted: what is to be sold (below zero: bought) to be flat."""
    held_usd: Money | None
    """Worth at mid, rounded towards zero; None: no rate now."""

    def to_json(self) -> dict[str, Any]:
        scale = self.held.asset.scale
        return {
            "currency": self.currency,
            "mode": self.mode,
            "open_quotes": self.open_quotes,
            "open_usd": self.open_usd.decimal(2),
            "held": self.held.decimal(scale),
            "held_usd": None if self.held_usd is None else self.held_usd.narrow(USD_CENTS, Rounding.DOWN).decimal(),
            "to_be_flat": _advice(self.held),
        }


def _advice(held: Money) -> str:
    if held.units == 0:
        return "nothing"
    verb = "sell" if held.units > 0 else "buy"
    return f"{verb} {Money(abs(held.units), held.asset).decimal(held.asset.scale)} {held.asset.code}"


async def exposures(reads: Reads, market: Market, now: datetime) -> list[Exposure]:
    """Return every currency with an open quote or a position, per mode."""
    opened = await _open_quotes(reads, to_us(now))
    held = await _positions(reads)
    found = []
    for mode, currency in sorted({*opened, *held}):
        many, usd = opened.get((mode, currency), (0, 0))
        position = held.get((mode, currency), Money(0, Asset(currency, 2)))
        opened_usd = Money(usd // 10 ** (WALLET_USD.scale - USD_MICROS.scale), USD_MICROS)
        found.append(Exposure(currency, mode, many, opened_usd, position, _worth(position, market, now)))
    return found


def open_quotes_query(now_us: int) -> Select[Any]:
    """Count the open sessions that may still pay, by mode and by the currencies of their quotes; quotes are not read for it.

    Whole dollars and the nano-dollars beside them are summed apart: exact, where SQLite's ``SUM`` of nano-dollars ends in an
    error above 9.2 thousand million dollars.
    """
    sessions = table_of(CheckoutSession)
    mode, quoted, units = sessions.c.mode, sessions.c.quoted, sessions.c.amount_units
    return (
        select(
            mode,
            quoted,
            func.count().label("many"),
            func.sum(units // NANOS).label("dollars"),
            func.sum(units % NANOS).label("nanos"),
        )
        .where(sessions.c.status == "open", sessions.c.expires_us > now_us, quoted != "")
        .group_by(mode, quoted)
    )


async def _open_quotes(reads: Reads, now_us: int) -> dict[tuple[str, str], tuple[int, int]]:
    """Return how many quotes are open and their principal, USD/9, by mode and currency."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in await reads.all(open_quotes_query(now_us)):
        units = int(row["dollars"]) * NANOS + int(row["nanos"])  # PostgreSQL's sums are numeric: whole, of any size
        for currency in row["quoted"].split():
            many, before = found.get((row["mode"], currency), (0, 0))
            found[row["mode"], currency] = (many + row["many"], before + units)
    return found


def positions_query() -> Select[Any]:
    """Find every position by its own index: accounts have a row for each wallet and more, of which one in thousands is one."""
    accounts = table_of(Account)
    return select(accounts.c.mode, accounts.c.asset, accounts.c.balance).where(text(POSITION))


async def _positions(reads: Reads) -> dict[tuple[str, str], Money]:
    sums: dict[tuple[str, Asset], int] = {}
    for row in await reads.all(positions_query()):
        asset = Asset.parse(row["asset"])
        if asset.code != WALLET_USD.code:
            sums[row["mode"], asset] = sums.get((row["mode"], asset), 0) - row["balance"]
    return {(mode, asset.code): Money(units, asset) for (mode, asset), units in sums.items()}


@dataclass(frozen=True, slots=True)
class Unrealised:
    """What all that is held of one mode was counted as when it came, and what it is worth now. Nothing is booked by it."""

    mode: str
    counted: Money
    """USD/9, at the mid of the moment at which each amount came."""
    worth: Money | None
    """At mid now; None where one currency has no rate."""
    without_rate: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        def shown(money: Money | None) -> str | None:
            return None if money is None else money.narrow(USD_CENTS, Rounding.DOWN).decimal()

        more = None if self.worth is None else self.worth - self.counted
        return {"mode": self.mode, "counted_usd": shown(self.counted), "worth_usd": shown(self.worth),
                "unrealised_usd": shown(more), "without_rate": list(self.without_rate)}  # fmt: skip


async def unrealised(reads: Reads, market: Market, now: datetime) -> list[Unrealised]:
    """Return, per mode, what would be gained or lost if all that is held were changed into dollars at mid now."""
    counted: dict[str, int] = {}
    for row in await reads.all(positions_query()):
        asset = Asset.parse(row["asset"])
        if asset.code == WALLET_USD.code:
            units = row["balance"] * 10 ** (WALLET_USD.scale - asset.scale)
            counted[row["mode"]] = counted.get(row["mode"], 0) + units
    worth: dict[str, int] = dict.fromkeys(counted, 0)
    lacking: dict[str, list[str]] = {}
    for (mode, currency), held in sorted((await _positions(reads)).items()):
        there = _worth(held, market, now) if held.units else Money.zero(WALLET_USD)
        if there is None:
            lacking.setdefault(mode, []).append(currency)
        else:
            worth[mode] = worth.get(mode, 0) + there.units
    return [
        Unrealised(mode, Money(counted.get(mode, 0), WALLET_USD),
                   None if mode in lacking else Money(units, WALLET_USD), tuple(lacking.get(mode, ())))
        for mode, units in sorted(worth.items())
    ]  # fmt: skip


def _worth(held: Money, market: Market, now: datetime) -> Money | None:
    try:
        rate = market.mid(WALLET_USD.code, held.asset.code, now).rate
    except RateError:
        return None
    worth = Fraction(held.units, 10**held.asset.scale) / rate * 10**WALLET_USD.scale
    return Money(int(worth), WALLET_USD)


# --- rates over time --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class RateRecorder:
    """Writes every mid once, when it is first seen, and tells the market what was recorded: that is how rates move."""

    writer: Writer
    reads: Reads
    market: Market
    seen: dict[str, datetime] = field(default_factory=dict)
    _told: bool = False

    async def run_once(self, now: datetime) -> int:
        """Record what is new; return how many."""
        found = await self._record(now)
        if found or not self._told:
            self.market.remember(await recorded_days(self.reads, now))
            self._told = True
        return found

    async def _record(self, now: datetime) -> int:
        fresh: list[Mid] = []
        for code in sorted(self.market.currencies() - {WALLET_USD.code}):
            try:
                mid = self.market.mid(WALLET_USD.code, code, now)
            except RateError:
                continue  # what cannot be quoted has no history either; ``rates show`` says why
            if self.seen.get(code) != mid.as_of:
                fresh.append(mid)
        if fresh:
            await self.writer.submit(_record(fresh))
            self.seen.update({mid.quote: mid.as_of for mid in fresh})
        return len(fresh)


def told_sources(mid: Mid) -> list[str]:
    """Return who agreed, the winner first; where it was crossed, with both printed rates that it was crossed from."""
    names = [one.source for one in mid.sources]
    if names and mid.legs:
        names[0] += f" ({', '.join(f'{leg.base}-{leg.quote} {decimal_text(leg.rate)}' for leg in mid.legs)})"
    return names


def _record(mids: list[Mid]) -> Unit:
    keys = {(mid.base, mid.quote, to_us(mid.as_of)): mid for mid in mids}

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        for key, mid in keys.items():
            if view.one("rate_history", *key) is None:
                changes.insert(
                    "rate_history", base=mid.base, quote=mid.quote, as_of_us=key[2], rate=str(mid.rate),
                    sources=orjson.dumps(told_sources(mid)).decode(), seen_us=view.now_us,
                )  # fmt: skip
        return {}

    return Unit(PLATFORM, "live", None, tuple(row_lock("rate_history", *key) for key in keys), decide)


async def history(reads: Reads, currency: str, limit: int = POINTS_MAX) -> list[Row]:
    """Return the recorded mids of USD in a currency, oldest first."""
    table = table_of(RateHistory)
    query = (
        select(table)
        .where(table.c.base == WALLET_USD.code, table.c.quote == currency)
        .order_by(table.c.as_of_us.desc())
        .limit(limit)
    )
    return list(reversed(await reads.all(query)))


async def recorded_days(reads: Reads, now: datetime) -> dict[tuple[str, str], dict[date, Fraction]]:
    """Return the last mid of each day and currency, of the days that volatility is measured by."""
    table = table_of(RateHistory)
    query = (
        select(table.c.quote, table.c.as_of_us, table.c.rate)
        .where(table.c.base == WALLET_USD.code, table.c.as_of_us >= to_us(now - timedelta(days=DAYS_READ)))
        .order_by(table.c.as_of_us)
    )
    found: dict[tuple[str, str], dict[date, Fraction]] = {}
    for row in await reads.all(query):
        found.setdefault((WALLET_USD.code, row["quote"]), {})[from_us(row["as_of_us"]).date()] = Fraction(row["rate"])
    return found


def volatilities(market: Market, now: datetime) -> dict[str, int]:
    """Return how many basis points each currency moves a day, against USD, where that is known."""
    found: dict[str, int] = {}
    for code in market.currencies() - {WALLET_USD.code}:
        try:
            moved = market.volatility_bps(WALLET_USD.code, code, now)
        except RateError:
            continue
        if moved is not None:
            found[code] = moved
    return found


async def recorded_currencies(reads: Reads) -> list[str]:
    """Return the currencies that have a history."""
    table = table_of(RateHistory)
    rows = await reads.all(select(table.c.quote).distinct().order_by(table.c.quote))
    return [row["quote"] for row in rows]


def chart(days: Mapping[date, Fraction], width: int = 720, height: int = 180) -> str:
    """Return the points of a line through one rate a day, for an SVG polyline; "" with fewer than two."""
    if len(days) < 2:
        return ""
    low, high, first, last = min(days.values()), max(days.values()), min(days), max(days)
    points = []
    for day, rate in sorted(days.items()):
        x = (day - first).days * width // (last - first).days
        y = height // 2 if high == low else int((high - rate) * height / (high - low))
        points.append(f"{x},{y}")
    return " ".join(points)
