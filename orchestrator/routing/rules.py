"""The ``routing:`` block of config.yaml, as ops write it. Only shapes and words; ``load`` checks it as a whole.

Every key of a ``when`` must hold; several values of one key mean any of them. Both ends of a range belong to it
(``amount_usd: {max: 3000}`` takes 3000 exactly): the first rule that matches wins, so bands may share an end.
Hours and weekdays are UTC. A fact that is not known (age, risk, currency, a metadata key) fails its condition, and so
satisfies a ``not`` around it. ``method`` in a rule asks whether the session names that method: a session that names
none fails it. In ``rail_choice`` it is the method whose rail is chosen.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from adapters.base import Mode
from orchestrator.routing.rule_words import (
    LIST,
    SET,
    AmountUsd,
    Bps,
    Categories,
    Category,
    Corridor,
    Countries,
    Country,
    Currencies,
    Currency,
    Method,
    Methods,
    Risk,
    Risks,
    RuleId,
    TestAmountUsd,
    Weekday,
    Weekdays,
    WholeOrBand,
    Word,
    Words,
)
from rates.money import WALLET_USD, Money
from rates.spread import VOLATILITY_BPS_MAX, VOLATILITY_PERCENT_MAX

DEFAULTS_ID: Final = "defaults"
"""Stands where a rule's id would, so no rule may be called so."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Band(_Part):
    """Two ends that both belong to it."""

    @model_validator(mode="after")
    def _ends_in_order(self) -> _Band:
        low, high = getattr(self, "min", None), getattr(self, "max", None)
        if low is None and high is None:
            raise PydanticCustomError("empty_band", "needs min, max or both", {})
        if low is not None and high is not None and high < low:
            hint = "over midnight: any: [{hour: {min: 22}}, {hour: {max: 5}}]" if isinstance(self, HourBand) else None
            raise PydanticCustomError("band_reversed", "min is above max, so nothing matches", {"hint": hint})
        return self


class AmountBand(_Band):
    min: AmountUsd | None = None
    max: AmountUsd | None = None


class DayBand(_Band):
    min: Annotated[StrictInt, Field(ge=0)] | None = None
    max: Annotated[StrictInt, Field(ge=0)] | None = None


class HourBand(_Band):
    """Whole hours, UTC: ``{min: 9, max: 17}`` is from 09:00 until 17:59."""

    min: Annotated[StrictInt, Field(ge=0, le=23)] | None = None
    max: Annotated[StrictInt, Field(ge=0, le=23)] | None = None


class When(_Part):
    """Conditions; all of them must hold."""

    country: Countries | None = None
    region: Words | None = None
    currency: Currencies | None = None
    method: Methods | None = None
    merchant: Words | None = None
    merchant_category: Categories | None = None
    risk: Risks | None = None
    weekday: Weekdays | None = None
    hour: Annotated[HourBand, WholeOrBand] | None = None
    amount_usd: AmountBand | None = None
    customer_age_days: Annotated[DayBand, WholeOrBand] | None = None
    metadata: Annotated[dict[Word, Words], Field(min_length=1, max_length=20)] | None = None
    all_of: Annotated[tuple[When, ...], Field(min_length=1, max_length=50)] | None = Field(default=None, alias="all")
    any_of: Annotated[tuple[When, ...], Field(min_length=1, max_length=50)] | None = Field(default=None, alias="any")
    none_of: When | None = Field(default=None, alias="not")

    @model_validator(mode="before")
    @classmethod
    def _dotted_metadata(cls, given: Any) -> Any:
        """Read ``metadata.plan: pro`` as ``metadata: {plan: pro}``."""
        if not isinstance(given, dict):
            return given
        dotted = {key.removeprefix("metadata."): given[key] for key in given if key.startswith("metadata.")}
        nested = given.get("metadata", {})
        if not dotted or not isinstance(nested, dict):
            return given
        rest = {key: value for key, value in given.items() if not key.startswith("metadata")}
        return {**rest, "metadata": {**nested, **dotted}}

    @property
    def is_empty(self) -> bool:
        return not self.model_fields_set


class OnDecline(_Part):
    """Who is next after a clear no. Hard (stolen, fraud, unknown code) always stops."""

    soft: Literal["next", "ask", "stop"] = "ask"
    hard: Literal["stop"] = "stop"


class OfferEntry(_Part):
    """``pix``, or ``{method: pix, rail: adyen, on_decline: {soft: next}}``. ``usdt`` is every method of the token."""

    method: Method
    rail: Word | None = None
    account: Word | None = None
    on_decline: OnDecline = OnDecline()

    @model_validator(mode="before")
    @classmethod
    def _word_alone(cls, given: Any) -> Any:
        return {"method": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _account_of_a_rail(self) -> OfferEntry:
        if self.account is not None and self.rail is None:
            raise PydanticCustomError("account_without_rail", "an account needs its rail beside it", {})
        return self


Offers = Annotated[tuple[OfferEntry, ...], Field(min_length=1, max_length=50)]


class Given(_Part):
    """The facts of an embedded test; what is not said is an ordinary Monday noon and 20 dollars."""

    country: Country
    amount_usd: TestAmountUsd = Money.parse("20", WALLET_USD)
    currency: Currency | None = None
    merchant: str = ""
    merchant_category: Category | Literal[""] = ""
    customer: str = "test-customer"
    customer_age_days: Annotated[StrictInt, Field(ge=0)] | None = None
    risk: Risk | None = None
    hour: Annotated[StrictInt, Field(ge=0, le=23)] = 12
    weekday: Weekday = "mon"
    metadata: dict[Word, Word] = {}
    methods: Methods | None = None
    mode: Mode | None = None


class Expect(_Part):
    """What must come out; at least one of these."""

    first: Method | None = None
    offers: Annotated[tuple[Method, ...], LIST] | None = None
    """Every method that is offered, in order; [] = nothing is."""
    rule: Word | None = None
    """The id of the rule that made the offers, or ``defaults``."""
    rail: Word | None = None
    """The rail of the first offer."""

    @model_validator(mode="after")
    def _something(self) -> Expect:
        if not self.model_fields_set:
            raise PydanticCustomError("empty_expect", "expects nothing: say first, offers, rule or rail", {})
        return self


class RuleTest(_Part):
    given: Given
    expect: Expect


class RuleEntry(_Part):
    id: RuleId
    when: When = When()
    offers: Offers
    rank: Literal["cost", "success", "speed"] | None = None
    """None keeps the order as written. ``speed``: by the rail's expected time to credit."""
    otherwise: Literal["defaults", "nothing"] = "defaults"
    """What is offered where this rule matches and none of its offers can be made."""
    owner: Word | None = None
    expires: date | None = None
    """Last day on which nobody needs to look at it again; later it still matches, with a warning at load."""
    tests: Annotated[tuple[RuleTest, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _reserved(self) -> RuleEntry:
        if self.id == DEFAULTS_ID:
            raise PydanticCustomError("reserved_id", "a rule cannot be called defaults", {})
        return self


class Split(_Part):
    """``{by: customer, weights: {stripe: 80, adyen: 20}}``; a key is a rail or ``rail/account``."""

    by: Literal["customer"]
    weights: Annotated[dict[Word, Annotated[StrictInt, Field(ge=0, le=100)]], Field(min_length=1, max_length=20)]


class RailChoiceEntry(_Part):
    id: RuleId
    when: When = When()
    rail: Word | None = None
    """A rail or ``rail/account``."""
    split: Split | None = None
    owner: Word | None = None
    expires: date | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> RailChoiceEntry:
        if (self.rail is None) == (self.split is None):
            raise PydanticCustomError("rail_or_split", "needs either rail or split", {})
        return self


class PricingEntry(_Part):
    """What is earned on the exchange, above the mid rate."""

    corridor: Corridor
    spread_bps: Annotated[StrictInt, Field(ge=0, le=2_000)]
    method: Method | None = None
    from_usd: AmountUsd = Money.parse("0", WALLET_USD)
    """From this principal on: a tier. Without an entry from 0 there is no price for smaller amounts."""
    volatility_percent: Annotated[StrictInt, Field(ge=0, le=VOLATILITY_PERCENT_MAX)] = 0
    """Add so much of one day's standard deviation: what the rate may do while a quote is open. 0: the spread is fixed."""
    volatility_bps_max: Annotated[StrictInt, Field(ge=0, le=2_000)] = VOLATILITY_BPS_MAX
    """What volatility adds at most."""


class MaintenanceEntry(_Part):
    """A rail (or one account or method of it) that is not offered between two moments, as its operator announced."""

    rail: Word
    account: Word | None = None
    method: Method | None = None
    starts: AwareDatetime
    ends: AwareDatetime
    reason: Annotated[str, StringConstraints(min_length=1, max_length=200)]

    @model_validator(mode="after")
    def _ends_later(self) -> MaintenanceEntry:
        if self.ends <= self.starts:
            raise PydanticCustomError("window_reversed", "ends is not after starts", {})
        return self


class CostEntry(_Part):
    """What a method costs besides the rail's fees; the most specific entry holds (currency, then rail, then method)."""

    method: Method | None = None
    rail: Word | None = None
    currency: Currency | None = None
    fx_bps: Bps = 0
    """What the rail or the bank takes for converting."""
    refund_bps: Bps = 0
    """Of all that is paid, what refunds cost on average."""
    dispute_bps: Bps = 0
    """Of all that is paid, what disputes cost on average, their fees included."""


class Ranking(_Part):
    """How ``rank: cost`` and ``rank: success`` weigh what is known."""

    prior_tries: Annotated[StrictInt, Field(ge=1, le=10_000)] = 20
    """So many tries at the method's average are added to what a cell has seen: few tries move little."""
    prior_percent: Annotated[StrictInt, Field(ge=1, le=99)] = 80
    """The average where nothing was seen at all."""
    window_days: Annotated[StrictInt, Field(ge=1, le=365)] = 30
    explore_percent: Annotated[StrictInt, Field(ge=0, le=20)] = 0
    """Share of the customers who see the second best first, so that it keeps being measured."""
    explore_above_tries: Annotated[StrictInt, Field(ge=0, le=1_000_000)] = 500
    """Tries in the window from which on there is enough traffic to spend on exploring."""


class OverlayLimits(_Part):
    """What a merchant's own rules may do; the platform's rules hold wherever they say nothing."""

    may: Annotated[tuple[Literal["order", "drop", "add"], ...], LIST, SET] = ("drop", "order")
    """order: put the platform's offers in another order; drop: leave some out; add: offer what the platform's rule does not."""
    rules_max: Annotated[StrictInt, Field(ge=0, le=200)] = 50
    methods: Methods | None = None
    """Only these may be added; None = any that the rails offer."""


class Defaults(_Part):
    offers: Offers


class RoutingBlock(_Part):
    regions: dict[Word, Annotated[tuple[Country, ...], Field(min_length=1), SET]] = {}
    live_countries: Words | None = None
    """Countries and regions in which there must always be an offer; None = all that a rule names."""
    defaults: Defaults
    rules: Annotated[tuple[RuleEntry, ...], Field(max_length=10_000)] = ()
    rail_choice: Annotated[tuple[RailChoiceEntry, ...], Field(max_length=1_000)] = ()
    pricing: Annotated[tuple[PricingEntry, ...], Field(max_length=1_000)] = ()
    costs: Annotated[tuple[CostEntry, ...], Field(max_length=1_000)] = ()
    ranking: Ranking = Ranking()
    maintenance: Annotated[tuple[MaintenanceEntry, ...], Field(max_length=500)] = ()
    overlays: OverlayLimits = OverlayLimits()
