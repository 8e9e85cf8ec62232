"""Rates that a person wrote into the configuration: pegs of tokens, and currencies that no free source has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any, Final

from rates.errors import BadRateConfig
from rates.sources.port import SourceKind, SourceRate, exact_rate, is_code

NAME: Final = "fixed"


@dataclass(frozen=True, slots=True)
class FixedSource:
    """A list of rates, each with the day it was decided and the reason."""

    rates: tuple[SourceRate, ...]
    reasons: Mapping[str, str]
    """Pair -> why somebody decided so: ``USD-USDT`` -> "treated at par, reviewed monthly by finance"."""
    name: str = NAME
    kind: SourceKind = SourceKind.FIXED
    ttl_seconds: float | None = None

    async def fetch(self) -> Sequence[SourceRate]:
        return self.rates

    @classmethod
    def from_config(cls, entries: Mapping[str, Any]) -> FixedSource:
        """Read ``{"USD-USDT": {"rate": "1", "as_of": "2026-11-01", "reason": "..."}}``.

        Raises BadRateConfig, naming the entry.
        """
        rates: list[SourceRate] = []
        reasons: dict[str, str] = {}
        for pair, entry in entries.items():
            base, quote = _pair(pair)
            if not isinstance(entry, Mapping) or set(entry) != {"rate", "as_of", "reason"}:
                raise BadRateConfig(f"fixed rate {pair}: rate, as_of and reason are needed, and nothing else")
            reason = entry["reason"]
            if not isinstance(reason, str) or not reason.strip():
                raise BadRateConfig(f"fixed rate {pair}: say the reason")
            try:
                rates.append(SourceRate(NAME, base, quote, exact_rate(entry["rate"]), _moment(entry["as_of"])))
            except ValueError as error:
                raise BadRateConfig(f"fixed rate {pair}: {error}") from error
            reasons[pair] = reason
        return cls(tuple(rates), reasons)


def _pair(text: object) -> tuple[str, str]:
    base, _, quote = text.partition("-") if isinstance(text, str) else ("", "", "")
    if not is_code(base) or not is_code(quote) or base == quote:
        raise BadRateConfig(f"fixed rate {text!r}: a pair is two different codes, such as USD-USDT")
    return base, quote


def _moment(value: object) -> datetime:
    """Read a day or a time with its zone, as YAML or JSON gives it; a day counts from its first second in UTC."""
    if isinstance(value, str):
        value = date.fromisoformat(value) if len(value) == len("2026-11-01") else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("as_of has no zone: write 2026-11-01T12:00:00Z")
        return value.astimezone(UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(0, tzinfo=UTC))
    raise ValueError("as_of is a date such as 2026-11-01")
