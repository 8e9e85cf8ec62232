"""What a buyer pays and where every unit of it goes. Pure, whole numbers only.

Fees are reckoned in USD/9 at mid; the total is rounded up to the currency's smallest unit, so that the reseller is
never short, and what that rounding adds is a line of its own. The local lines add up to the total, always.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from orchestrator.ledger.recipes import Received
from rates.money import WALLET_USD, Asset, Money, Rounding

BPS = 10_000


class TooSmall(ValueError):
    """After the fees nothing would be left to credit."""


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What one method on one rail costs, recharged to the buyer, and our own share."""

    rail_bps: int
    """Of the total that is charged."""
    rail_fixed: Money
    """USD/9 per charge."""
    network_fixed: Money
    """USD/9 per transfer on a chain (our part of the sweep)."""
    platform_bps: int
    """Of the principal."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate a price was made with: exact mid and spread."""

    mid: Fraction
    spread_bps: int


@dataclass(frozen=True, slots=True)
class Price:
    """A total in the buyer's currency and its lines in USD/9 at mid. ``total`` is worth the sum of the lines."""

    total: Money
    rate: Rate
    principal: Money
    rail_fee: Money
    network_fee: Money
    platform_fee: Money
    fx_spread: Money
    rounding: Money

    def received(self) -> Received:
        """Return the price as the ledger books it."""
        return Received(
            total=self.total,
            principal=self.principal,
            rail_fee=self.rail_fee + self.network_fee,
            platform_fee=self.platform_fee,
            fx_spread=self.fx_spread,
            rounding=self.rounding,
        )

    def local_lines(self) -> list[tuple[str, Money]]:
        """Return the lines in the buyer's currency; they add up to the total (``rounding`` takes what is over)."""
        lines = [
            (name, _to_local(usd, self.rate.mid, self.total.asset, Rounding.DOWN))
            for name, usd in (
                ("principal", self.principal),
                ("rail_fee", self.rail_fee),
                ("platform_fee", self.platform_fee),
                ("fx_spread", self.fx_spread),
                ("network_fee", self.network_fee),
            )
        ]
        rest = self.total - Money(sum(money.units for _, money in lines), self.total.asset)
        return [*lines, ("rounding", rest)]

    def to_json(self) -> dict[str, Any]:
        return {
            "total": self.total.units,
            "asset": str(self.total.asset),
            "mid": str(self.rate.mid),
            "spread_bps": self.rate.spread_bps,
            "usd": [
                self.principal.units,
                self.rail_fee.units,
                self.network_fee.units,
                self.platform_fee.units,
                self.fx_spread.units,
                self.rounding.units,
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Price:
        usd = [Money(units, WALLET_USD) for units in data["usd"]]
        return cls(
            Money(data["total"], Asset.parse(data["asset"])), Rate(Fraction(data["mid"]), data["spread_bps"]), *usd
        )


def price(principal: Money, fees: FeeSchedule, rate: Rate, local: Asset) -> Price:
    """Return what the buyer pays for ``principal`` (USD/9) to reach the wallet."""
    platform = _share(principal.units, fees.platform_bps)
    base = principal.units + platform + fees.network_fixed.units + fees.rail_fixed.units
    # The rail takes its share of the total, its own fee included: total = base * (1 + spread) / (1 - rail share).
    usd = _up(base * (BPS + rate.spread_bps), BPS - fees.rail_bps)
    rail_share = min(_share(usd, fees.rail_bps), usd - base)
    spread = usd - base - rail_share
    total = _to_local(Money(usd, WALLET_USD), rate.mid, local, Rounding.UP)
    worth = _to_usd(total, rate.mid)
    return Price(
        total,
        rate,
        principal,
        Money(fees.rail_fixed.units + rail_share, WALLET_USD),
        fees.network_fixed,
        Money(platform, WALLET_USD),
        Money(spread, WALLET_USD),
        Money(worth.units - usd, WALLET_USD),
    )


def price_of_arrival(total: Money, fees: FeeSchedule, rate: Rate) -> Price:
    """Return what an amount is worth that arrived without a locked price. Raises TooSmall.

    The other way round of ``price``: the rail's share is of the total, the spread is of what is left, fixed fees in it.
    """
    worth = _to_usd(total, rate.mid).units
    rail_share = _share(worth, fees.rail_bps)
    with_spread = worth - rail_share
    before_spread = with_spread * BPS // (BPS + rate.spread_bps)
    fixed = fees.rail_fixed.units + fees.network_fixed.units
    principal = (before_spread - fixed) * BPS // (BPS + fees.platform_bps)
    if principal <= 0:
        raise TooSmall(f"{total} does not cover the fees of receiving it")
    return Price(
        total,
        rate,
        Money(principal, WALLET_USD),
        Money(fees.rail_fixed.units + rail_share, WALLET_USD),
        fees.network_fixed,
        Money(before_spread - fixed - principal, WALLET_USD),
        Money(with_spread - before_spread, WALLET_USD),
        Money.zero(WALLET_USD),
    )


def prorate(locked: Price, received: Money) -> Price:
    """Return a locked price for the part (or more) that really arrived: every line prorated, credit rounded down."""
    if received == locked.total:
        return locked
    asked, worth = locked.total.units, _to_usd(received, locked.rate.mid).units

    def part(line: Money) -> Money:
        return Money(line.units * received.units // asked, WALLET_USD)

    scaled = replace(
        locked,
        total=received,
        principal=part(locked.principal),
        rail_fee=part(locked.rail_fee),
        network_fee=part(locked.network_fee),
        platform_fee=part(locked.platform_fee),
        fx_spread=part(locked.fx_spread),
        rounding=Money.zero(WALLET_USD),
    )
    # Floors of parts never exceed the floor of the whole, so what is over is not negative.
    return replace(scaled, rounding=Money(worth - scaled.received().value.units, WALLET_USD))


def _share(units: int, bps: int) -> int:
    return _up(units * bps, BPS)


def _up(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def _to_local(usd: Money, mid: Fraction, local: Asset, rounding: Rounding) -> Money:
    numerator = usd.units * mid.numerator * 10**local.scale
    denominator = mid.denominator * 10**usd.asset.scale
    return Money(_up(numerator, denominator) if rounding is Rounding.UP else numerator // denominator, local)


def _to_usd(local: Money, mid: Fraction) -> Money:
    """Worth at mid, downwards."""
    return Money(
        local.units * mid.denominator * 10**WALLET_USD.scale // (mid.numerator * 10**local.asset.scale), WALLET_USD
    )
