"""From mid to customer rate: how many basis points, per corridor and method. The most specific entry wins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rates.errors import BadRateConfig, NoSpread
from rates.sources.port import is_code

ANY: Final = "*"
SPREAD_BPS_MAX: Final = 5_000
"""Half of the price: beyond it somebody has mistaken the unit."""
FIELDS: Final = frozenset(
    {"corridor", "spread_bps", "method", "from_units", "volatility_percent", "volatility_bps_max"}
)
VOLATILITY_PERCENT_MAX: Final = 500
VOLATILITY_BPS_MAX: Final = 300
"""What volatility adds at most, where an entry says nothing else."""


@dataclass(frozen=True, slots=True)
class Spread:
    """One entry: base and quote code or ``*``, and a method, a token for all its methods (``usdt``), or None for all."""

    base: str
    quote: str
    method: str | None
    spread_bps: int
    from_units: int = 0
    """From this amount on, in nano-dollars of the base: a tier."""
    volatility_percent: int = 0
    """How much of one day's standard deviation is added: what the rate may do while a quote is open."""
    volatility_bps_max: int = VOLATILITY_BPS_MAX

    def bps(self, volatility_bps: int | None) -> int:
        """Return the whole spread; where nobody knows how much the rate moves (None), nothing is added."""
        added = -(-(volatility_bps or 0) * self.volatility_percent // 100)
        return min(self.spread_bps + min(added, self.volatility_bps_max), SPREAD_BPS_MAX)


@dataclass(frozen=True, slots=True)
class SpreadTable:
    """All entries by what they match."""

    entries: Mapping[tuple[str, str, str | None], tuple[Spread, ...]]
    """The tiers of one corridor and method, the largest amount first; the last one is for every amount, if there is one."""
    steps: tuple[int, ...] = ()
    """Every amount at which some tier begins."""

    @classmethod
    def from_config(cls, entries: Sequence[Mapping[str, Any]]) -> SpreadTable:
        """Read ``[{"corridor": "USD-NGN", "spread_bps": 250}, {"corridor": "USD-*", "spread_bps": 100}]``.

        Raises BadRateConfig, naming the entry.
        """
        table: dict[tuple[str, str, str | None], list[Spread]] = {}
        for number, entry in enumerate(entries):
            spread = _entry(f"pricing[{number}]", entry)
            key = (spread.base, spread.quote, spread.method)
            tiers = table.setdefault(key, [])
            if any(tier.from_units == spread.from_units for tier in tiers):
                raise BadRateConfig(f"pricing[{number}]: {entry['corridor']} is priced twice for the same method")
            tiers.append(spread)
        steps = {tier.from_units for tiers in table.values() for tier in tiers}
        ordered = {
            key: tuple(sorted(tiers, key=lambda tier: tier.from_units, reverse=True)) for key, tiers in table.items()
        }
        return cls(ordered, tuple(sorted(steps - {0})))

    def tier_of(self, units: int) -> int:
        """Return in which tier an amount lies: amounts of one tier have one spread."""
        return bisect_right(self.steps, units)

    def spread(self, base: str, quote: str, method: str | None = None, units: int = 0) -> Spread:
        """Return the entry that applies: first by corridor (USD-NGN, USD-*, *-NGN, *-*), then by method, then by amount.

        ``units``: nano-dollars of the base; 0 = the smallest. Raises NoSpread.
        """
        token = method.partition("_")[0] if method is not None and "_" in method else None
        for corridor in ((base, quote), (base, ANY), (ANY, quote), (ANY, ANY)):
            for wanted in (method, token, None):
                tiers = self.entries.get((*corridor, wanted), ())
                found = next((tier for tier in tiers if tier.from_units <= units), None)
                if found is not None:
                    return found
        raise NoSpread(
            f"no spread for {base}-{quote} by {method or 'any method'}: add the corridor {base}-* to pricing"
        )


def _entry(where: str, entry: object) -> Spread:
    if not isinstance(entry, Mapping):
        raise BadRateConfig(f"{where}: corridor and spread_bps are expected")
    corridor, method, spread_bps = entry.get("corridor"), entry.get("method"), entry.get("spread_bps")
    if unknown := sorted(str(name) for name in set(entry) - FIELDS):
        raise BadRateConfig(f"{where}: {', '.join(unknown)} is not known here; corridor, method, spread_bps are")
    base, dash, quote = corridor.partition("-") if isinstance(corridor, str) else ("", "", "")
    if not dash or not all(code == ANY or is_code(code) for code in (base, quote)):
        raise BadRateConfig(f"{where}: corridor {corridor!r} is not of the form USD-NGN or USD-*")
    if base == quote != ANY:
        raise BadRateConfig(f"{where}: corridor {corridor} leads nowhere")
    if method is not None and (not isinstance(method, str) or not method):
        raise BadRateConfig(f"{where} ({corridor}): method {method!r} is not a name such as pix or usdt")
    if type(spread_bps) is not int or not 0 <= spread_bps <= SPREAD_BPS_MAX:
        raise BadRateConfig(
            f"{where} ({corridor}): spread_bps is a whole number from 0 to {SPREAD_BPS_MAX}, not {spread_bps!r}"
        )
    from_units = entry.get("from_units", 0)
    if type(from_units) is not int or from_units < 0:
        raise BadRateConfig(f"{where} ({corridor}): from_units is a whole number of nano-dollars, not {from_units!r}")
    percent = _whole(where, entry, "volatility_percent", 0, VOLATILITY_PERCENT_MAX)
    added_max = _whole(where, entry, "volatility_bps_max", VOLATILITY_BPS_MAX, SPREAD_BPS_MAX)
    return Spread(base, quote, method, spread_bps, from_units, percent, added_max)


def _whole(where: str, entry: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = entry.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise BadRateConfig(f"{where}: {name} is a whole number from 0 to {most}, not {value!r}")
    return value
