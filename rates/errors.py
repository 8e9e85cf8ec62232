"""What can go wrong between a currency and its price, named for what to do next.

RateError
├── BadRateConfig        the configuration is wrong: the text names the entry
├── SourceUnavailable    one source did not answer in a form that can be believed: the others go on
├── NoRate               no price for this pair: do not offer it; ``reasons`` has a line per source
│   ├── StaleRate        every source that has the pair is too old
│   ├── SourcesDisagree  fresh sources contradict each other and none has the majority
│   └── TooFewSources    they agree, but this currency asks for more of them
├── NoSpread             no corridor matches: a price without a spread would be a guess
└── BadQuote             a quote that contradicts itself, or was not signed by us
"""

from __future__ import annotations

from collections.abc import Sequence


class RateError(Exception):
    """There is no rate that can be used."""


class BadRateConfig(RateError):
    """The configuration of rates or spreads is wrong: the text names the entry."""


class SourceUnavailable(RateError):
    """One source did not answer in a form that can be believed: the others go on."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"rate source {source}: {reason}")
        self.source = source
        self.reason = reason


class NoRate(RateError):
    """No price for this pair: do not offer it. ``reasons`` holds (source, why not), one for every source."""

    def __init__(self, base: str, quote: str, why: str, reasons: Sequence[tuple[str, str]] = ()) -> None:
        told = "; ".join(f"{source}: {reason}" for source, reason in reasons)
        super().__init__(f"no rate for {base}-{quote}: {why}{f' ({told})' if told else ''}")
        self.base = base
        self.quote = quote
        self.why = why
        self.reasons = tuple(reasons)


class StaleRate(NoRate):
    """Every source that has the pair is too old."""


class SourcesDisagree(NoRate):
    """Fresh sources contradict each other and none has the majority: a person must look."""


class TooFewSources(NoRate):
    """The sources agree, but this currency asks for more of them."""


class NoSpread(RateError):
    """No corridor matches: a price without a spread would be a guess."""


class BadQuote(RateError):
    """A quote that contradicts itself, cannot be read, or was not signed by us."""
