"""config.yaml, checked: every error names file, line, column and field. ``${NAME}`` is read from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from adapters.base import Mode
from orchestrator.config_source import ConfigInvalid, Document, Problem, check, load_document
from orchestrator.private_files import FileNotSafe, read_secrets_file
from rates.errors import BadRateConfig
from rates.market import Market
from rates.money import WALLET_USD, Money, MoneyError
from rates.policy import MarketMode

_VARIABLE: Final = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")


def _usd(value: object) -> object:
    if isinstance(value, Money):
        return value
    try:
        return Money.parse(str(value), WALLET_USD)
    except MoneyError as error:
        raise ValueError(str(error)) from None


Usd = Annotated[Money, BeforeValidator(_usd)]
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
Seconds = Annotated[int, Field(ge=1, le=90 * 86_400)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True)


class Service(_Part):
    public_url: str = Field(default="http://127.0.0.1:8080", pattern=r"^https?://[^/]+$")
    """Where buyers and rails reach us, without a path."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    database: str = Field(
        default="sqlite+aiosqlite:///var/crossrail.db", pattern=r"^(sqlite\+aiosqlite:///|postgresql\+asyncpg://)"
    )
    secret: SecretStr = SecretStr("")
    """Signs quotes, client secrets and cookies. Empty: made once and kept beside a sandbox's database."""
    secrets_file: str = ""
    """``NAME=value`` lines for ``${NAME}`` here, in a file that only its owner may read; beside the environment."""
    state_dir: str = "var"
    internal_url: str = Field(default="", pattern=r"^(https?://[^/]+)?$")
    """Where the other processes on the same PostgreSQL reach this one, without a path. Given: this process owns groups of
    merchants, and hot requests are sent to their owner. Empty: it owns nothing; row locks alone keep the books right."""
    writer_groups: int = Field(default=64, ge=1, le=4096)
    """The same number in every process."""

    @model_validator(mode="after")
    def _several_only_on_postgresql(self) -> Service:
        if self.internal_url and self.database.startswith("sqlite"):
            raise ValueError("internal_url is for several processes on one PostgreSQL; SQLite has one")
        return self


class CheckoutBlock(_Part):
    session_ttl_s: Seconds = 1800
    session_ttl_min_s: Seconds = 300
    session_ttl_max_s: Seconds = 86_400
    platform_fee_bps: int = Field(default=100, ge=0, le=5000)


class Compliance(_Part):
    blocked_countries: frozenset[Country] = frozenset()
    blocked_customers: tuple[str, ...] = ()
    session_min_usd: Usd = Money(1 * 10**9, WALLET_USD)
    session_max_usd: Usd = Money(10_000 * 10**9, WALLET_USD)
    daily_attempts_max: int = Field(default=50, ge=1)
    daily_usd_max: Usd = Money(20_000 * 10**9, WALLET_USD)

    @model_validator(mode="after")
    def _in_order(self) -> Compliance:
        if not 0 < self.session_min_usd.units <= self.session_max_usd.units:
            raise ValueError("session_min_usd is above 0 and at most session_max_usd")
        return self


class Fees(_Part):
    """What a method costs on this rail account, recharged to the buyer."""

    rail_bps: int = Field(default=0, ge=0, le=5000)
    rail_fixed_usd: Usd = Money(0, WALLET_USD)
    network_fixed_usd: Usd = Money(0, WALLET_USD)


class Serves(_Part):
    """For whom an account is. What was begun there is carried on, whoever it is for now."""

    countries: Annotated[frozenset[Country], Field(min_length=1)] | None = None
    """Of the buyer."""
    regions: Annotated[frozenset[str], Field(min_length=1)] | None = None
    """Names of ``routing.regions``; with ``countries``: both together."""
    merchants: Annotated[frozenset[str], Field(min_length=1)] | None = None
    """Ids. Others are never offered it."""


class RailAccountBlock(_Part):
    mode: Mode
    enabled: bool = True
    """False: not offered to anybody; what is under way there is still watched to its end."""
    simulated: bool = False
    """Served by this process's own simulator: sandbox only."""
    base_url: str | None = Field(default=None, pattern=r"^https?://")
    funds_flow: str = Field(default="platform", pattern="^(platform|direct)$")
    serves: Serves = Serves()
    capture: Literal["automatic", "manual"] = "automatic"
    """manual: where the method can, the money is only reserved first, and taken when that is confirmed; nothing is credited
    before it is taken. Methods that cannot are taken at once all the same."""
    options: Mapping[str, Any] = Field(default={}, repr=False)
    """Keys and secrets stand here: not printed."""
    fees: Mapping[str, Fees] = {}
    """By method."""

    @model_validator(mode="after")
    def _live_is_real(self) -> RailAccountBlock:
        if self.mode is Mode.LIVE and (self.simulated or self.base_url is not None):
            raise ValueError("a live account talks to its vendor: no simulated, no base_url")
        return self


class RailBlock(_Part):
    accounts: Annotated[Mapping[str, RailAccountBlock], Field(min_length=1)]


class Webhooks(_Part):
    allow_private_networks: bool = False
    """Deliver events to loopback and private addresses over http: sandbox only."""
    retry_scale: float = Field(default=1.0, gt=0, le=1)
    """Shrinks the retry schedule of three days; 1 in production."""


class Watch(_Part):
    first_check_s: float = Field(default=3.0, gt=0)
    last_check_s: float = Field(default=3600.0, gt=0)
    unknown_recheck_s: float = Field(default=2.0, gt=0)


class RefundPolicy(_Part):
    """Which fee lines of a price go back to the payer with a refund; what does not, the payer bears."""

    returns: frozenset[Literal["rail_fee", "platform_fee", "fx_spread"]] = frozenset({"platform_fee", "fx_spread"})
    """The rail's fee stays by default: the rails do not give it back."""
    rails: Mapping[str, frozenset[Literal["rail_fee", "platform_fee", "fx_spread"]]] = {}
    """The same for one rail, where it differs."""

    def returned(self, rail: str) -> frozenset[str]:
        return frozenset(self.rails.get(rail, self.returns))


class DisputePolicy(_Part):
    """What of a lost dispute we bear: the fee lines that are given back; the rest is the customer's and the merchant's."""

    returns: frozenset[Literal["rail_fee", "platform_fee", "fx_spread"]] = frozenset({"platform_fee", "fx_spread"})
    rails: Mapping[str, frozenset[Literal["rail_fee", "platform_fee", "fx_spread"]]] = {}

    def returned(self, rail: str) -> frozenset[str]:
        return frozenset(self.rails.get(rail, self.returns))


class RiskTier(_Part):
    """How long a merchant's earnings wait, and what is kept back of them."""

    delay_days: int = Field(ge=0, le=365)
    """Whole days after the day on which it was earned."""
    reserve_bps: int = Field(ge=0, le=10_000)
    """Of what becomes available, kept as a reserve; rounded up."""
    reserve_days: int = Field(ge=0, le=730)
    """After it was set aside."""


class Earnings(_Part):
    wait_for_rail_payout: bool = True
    """A day's earnings also wait until the rails have paid out, into our bank, everything that they took until that day's
    end, by their own reports. False where the rails pay nothing out, as the simulated ones do: then the delay alone decides."""
    tiers: Annotated[Mapping[str, RiskTier], Field(min_length=1)] = {
        "standard": RiskTier(delay_days=7, reserve_bps=500, reserve_days=90)
    }
    """By the name that a merchant's ``risk_tier`` has. A new merchant is ``standard``."""

    @model_validator(mode="after")
    def _new_merchants_have_one(self) -> Earnings:
        if "standard" not in self.tiers:
            raise ValueError("tiers needs one called standard: every new merchant has it")
        return self


class PayoutPolicy(_Part):
    hold_first_destination: bool = True
    """Nothing is paid to a merchant's first destination either before a second person has confirmed it. One that replaces
    another is always held."""


class Proof(_Part):
    """How often the books are proven, and how often the heads of the hash chains go where no database reaches."""

    check_hour_utc: int = Field(default=3, ge=0, le=23)
    """The nightly check begins after this hour."""
    anchor_every_seals: int = Field(default=1000, ge=1)
    anchor_poll_s: float = Field(default=10.0, gt=0)


class Admin(_Part):
    token: SecretStr = SecretStr("")
    """For ``crossrail`` commands against the running service; made at start where empty."""
    operator_name: str = "ops"
    operator_password: SecretStr = SecretStr("")


class SweepNetwork(_Part):
    """A chain on which we send. Addresses only: keys are the signer's."""

    treasury: str | None = None
    """Where swept tokens go. None: no sweeps here; refunds and x402 all the same."""
    coin: str = Field(pattern=r"^[A-Z][A-Z0-9]{1,9}$")
    """What fees are paid in: ETH, BNB, TRX."""
    coin_usd: Usd
    """What one coin is worth, for weighing only."""


class Sweeps(_Part):
    signer_socket: str = ""
    """Unix socket of `crossrail signer`. Empty: nothing is signed here."""
    worth_times_cost: int = Field(default=20, ge=1, le=10_000)
    """Sweep what is worth so many times what moving it costs."""
    refund_cool_off_h: int = Field(default=24, ge=0, le=24 * 30)
    """How long a refund address waits after the customer proved it."""
    networks: Mapping[str, SweepNetwork] = {}
    """By CAIP-2."""


class Settings(_Part):
    mode: MarketMode
    """sandbox | live: whether rates may be as of the newest embedded date."""
    service: Service = Service()
    admin: Admin = Admin()
    checkout: CheckoutBlock = CheckoutBlock()
    compliance: Compliance = Compliance()
    rails: Annotated[Mapping[str, RailBlock], Field(min_length=1)]
    rates: Mapping[str, Any]
    webhooks: Webhooks = Webhooks()
    watch: Watch = Watch()
    refunds: RefundPolicy = RefundPolicy()
    disputes: DisputePolicy = DisputePolicy()
    earnings: Earnings = Earnings()
    payouts: PayoutPolicy = PayoutPolicy()
    proof: Proof = Proof()
    sweeps: Sweeps = Sweeps()
    routing: Mapping[str, Any]
    """Checked by ``routing.load``."""

    @field_validator("rates")
    @classmethod
    def _market(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        from rates.build import market_from_config

        try:
            market_from_config(value, MarketMode.SANDBOX)
        except BadRateConfig as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _modes_agree(self) -> Settings:
        live = any(account.mode is Mode.LIVE for rail in self.rails.values() for account in rail.accounts.values())
        if live and self.mode is not MarketMode.LIVE:
            raise ValueError("a live rail account needs mode: live (live rates refuse to be stale)")
        if live and not self.service.secret.get_secret_value():
            raise ValueError("live needs service.secret")
        return self

    def market(self) -> Market:
        """Open the rate sources; nothing is fetched yet."""
        from rates.build import market_from_config

        return market_from_config(self.rates, self.mode)


def load(path: Path, environment: Mapping[str, str] | None = None) -> tuple[Settings, Document]:
    """Read and check a configuration. Raises ConfigInvalid with every problem's line and column."""
    document, around = load_document(path), os.environ if environment is None else environment
    document = with_environment(document, with_secrets(document, around))
    return checked(document), document


def with_secrets(document: Document, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment and what stands in the secrets file that a configuration names.

    Only for files of the machine's own: a text that somebody sent must not name files here. Raises ConfigInvalid where the
    file is not safe, or says what the environment says too.
    """
    trail = ("service", "secrets_file")
    named = document.at(trail)
    if not isinstance(named, str):
        return environment
    named = _VARIABLE.sub(lambda found: environment.get(found[1], found[2] or ""), named)
    if not named:
        return environment
    try:
        secrets = read_secrets_file(Path(named))
    except FileNotSafe as error:
        raise ConfigInvalid([document.problem(trail, str(error))]) from None
    if twice := sorted(secrets.keys() & environment.keys()):
        said = f"{', '.join(twice)}: in {named} and in the environment"
        raise ConfigInvalid([document.problem(trail, said, "say it in one place")])
    return {**environment, **secrets}


def checked(document: Document) -> Settings:
    """Return a configuration that a service can start with. Raises ConfigInvalid."""
    return check(Settings, document)


def with_environment(document: Document, environment: Mapping[str, str]) -> Document:
    """Fill in ``${NAME}``. Raises ConfigInvalid where a name is not there and has no default."""
    problems: list[Problem] = []

    def fill(value: Any, trail: tuple[str | int, ...]) -> Any:
        match value:
            case dict():
                return {key: fill(part, (*trail, key)) for key, part in value.items()}
            case list():
                return [fill(part, (*trail, index)) for index, part in enumerate(value)]
            case str() if "${" in value:
                problems.extend(_missing(document, value, trail, environment))
                return _VARIABLE.sub(lambda found: environment.get(found[1], found[2] or ""), value)
            case _:
                return value

    data = fill(document.data, ())
    if problems:
        raise ConfigInvalid(problems)
    return Document(document.file, data, document.lines, document.values, document.keys)


def _missing(
    document: Document, value: str, trail: tuple[str | int, ...], environment: Mapping[str, str]
) -> Iterator[Problem]:
    for found in _VARIABLE.finditer(value):
        if found[1] not in environment and found[2] is None:
            yield document.problem(
                trail, f"the environment has no {found[1]}", f"set it, or write ${{{found[1]}:-default}}"
            )
