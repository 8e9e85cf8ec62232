"""x402 as a rail: it offers nothing on a checkout page; agents pay through ``POST /v1/topups/{id}/x402``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import aiohttp
import orjson
from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from adapters.agent_payments import AgentOffer, AgentPayment, PaymentInvalid, Settled, Settlement
from adapters.base import (
    CancelOutcome,
    Capability,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RailMisconfigured,
)
from adapters.kit.chain.addresses import NotAnAddress, read_evm
from adapters.kit.chain.secrets_guard import field_holding_a_key
from adapters.x402 import wire

ANSWER_BYTES_MAX: Final = 64 * 1024


class TokenDomain(BaseModel):
    """A token and its EIP-712 domain, which the agent's wallet signs for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: str
    name: Annotated[str, Field(min_length=1, max_length=60)]
    version: Annotated[str, Field(min_length=1, max_length=10)]


class X402Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    chain: Annotated[str, Field(pattern=r"^eip155:[1-9][0-9]{0,15}$")]
    """A rail account of the same mode must scan it: only what it sees is credited."""
    facilitator: Literal["signer", "remote"]
    """signer: our own signer process pays the gas. remote: whoever answers at ``base_url``, or ``facilitator_url``."""
    facilitator_url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    tokens: Annotated[dict[str, TokenDomain], Field(min_length=1, max_length=20)]
    max_timeout_seconds: Annotated[StrictInt, Field(ge=60, le=3600)] = 300
    """How long an authorisation is asked to be valid."""
    timeout_seconds: Annotated[StrictInt, Field(ge=1, le=60)] = 30
    """For the facilitator's answer."""
    chain_account: str | None = None
    """For the simulator only: the simulated EVM account that the payments appear on."""


@dataclass(frozen=True, slots=True)
class Token:
    code: str
    contract: bytes
    name: str
    version: str


class X402Rail:
    """RailAdapter without methods, and TakesAgentPayments, of one chain."""

    def __init__(self, account: RailAccount, http: aiohttp.ClientSession) -> None:
        self._account = account
        self._http = http
        self._options = _options(account)
        self._tokens = {token.contract: token for token in _tokens(account, self._options)}
        self._url = (self._options.facilitator_url or account.base_url or "").rstrip("/")
        if self.settles_elsewhere and not self._url:
            raise RailMisconfigured(f"{_where(account)}: facilitator_url: a remote facilitator has an address")

    # --- RailAdapter ----------------------------------------------------------------------------------------------

    @property
    def account(self) -> RailAccount:
        return self._account

    @property
    def capabilities(self) -> Sequence[Capability]:
        return ()

    @property
    def resend_window_seconds(self) -> int:
        return 0

    def supports_currency(self, currency: str) -> bool:
        del currency
        return False

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        raise RailMisconfigured(f"method: {order.method!r} is not offered: agents pay through /v1/topups")

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Say nothing: only the chain's scanner knows what came."""
        del reference
        return ()

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        """A signed authorisation cannot be taken back by us."""
        del reference
        return CancelOutcome.CANNOT

    # --- TakesAgentPayments ---------------------------------------------------------------------------------------

    @property
    def chain(self) -> str:
        return self._options.chain

    @property
    def contracts(self) -> Sequence[bytes]:
        return tuple(self._tokens)

    @property
    def settles_elsewhere(self) -> bool:
        return self._options.facilitator == "remote"

    def offer(self, contract: bytes, raw_amount: int, pay_to: bytes) -> AgentOffer:
        token = self._tokens[contract]
        shown = wire.requirements(
            self.chain, contract, raw_amount, pay_to, name=token.name, version=token.version,
            timeout_seconds=self._options.max_timeout_seconds,
        )  # fmt: skip
        return AgentOffer(self.chain, contract, raw_amount, pay_to, shown)

    def read(self, message: Mapping[str, Any], offers: Sequence[AgentOffer], now: datetime) -> AgentPayment:
        """Raises PaymentInvalid."""
        parsed = wire.read_message(message)
        offer = next((one for one in offers if one.shown == parsed.accepted), None)
        if offer is None:
            raise PaymentInvalid("invalid_payment_requirements", "what was accepted is not what was offered")
        authorized = wire.read_authorization(parsed.payload, offer, int(now.timestamp()))
        payload = {"x402Version": wire.VERSION, "accepted": dict(offer.shown), "payload": parsed.payload}
        return AgentPayment(offer, authorized, payload)

    async def settle(self, payment: AgentPayment) -> Settlement:
        """Ask the remote facilitator, once."""
        body = {
            "x402Version": wire.VERSION, "paymentPayload": payment.payload,
            "paymentRequirements": dict(payment.offer.shown),
        }  # fmt: skip
        try:
            async with (
                asyncio.timeout(self._options.timeout_seconds),
                self._http.post(f"{self._url}/settle", data=orjson.dumps(body), allow_redirects=False,
                                headers={"Content-Type": "application/json"}) as response,
            ):  # fmt: skip
                raw = await response.content.read(ANSWER_BYTES_MAX)
                return wire.read_settlement(response.status, orjson.loads(raw))
        except aiohttp.ClientConnectorError as error:
            return Settlement(Settled.REFUSED, reason=f"facilitator_away {type(error).__name__}")
        except (TimeoutError, aiohttp.ClientError, OSError, orjson.JSONDecodeError) as error:
            return Settlement(Settled.UNKNOWN, reason=type(error).__name__)


def _where(account: RailAccount) -> str:
    return f"{account.rail}/{account.account}"


def _options(account: RailAccount) -> X402Options:
    suspect = field_holding_a_key(account.options)
    if suspect is not None:
        raise RailMisconfigured(f"{_where(account)}: {suspect} holds a private key: it belongs to `crossrail signer`")
    try:
        return X402Options.model_validate(dict(account.options))
    except ValidationError as invalid:
        first = invalid.errors(include_input=False, include_url=False)[0]
        raise RailMisconfigured(f"{_where(account)}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _tokens(account: RailAccount, options: X402Options) -> list[Token]:
    found = []
    for code, token in options.tokens.items():
        try:
            found.append(Token(code, read_evm(token.contract), token.name, token.version))
        except NotAnAddress as error:
            raise RailMisconfigured(f"{_where(account)}: tokens.{code}.contract: {error}") from None
    return found
