"""THE PORT: what a rail can do, what it can say, and how a call to it can end.

An adapter is stateless and knows neither the database nor us. Everything a rail says, by answer, webhook or
block, is a RailEvent; the orchestrator treats all three alike. Money is in the scale of ``rates.money.display_asset``;
the adapter turns it into its vendor's exponent and back.

    RailError
    ├── RailUnavailable     nothing happened there: retry, then the next offer
    ├── PaymentDeclined     a clear no; ``decline.severity`` says whether another rail may be asked
    ├── OutcomeUnknown      sent, no answer: never send again on any rail; ask
    ├── RailMisconfigured   our keys, account or request are wrong: a person must mend it
    └── WebhookRejected     the bytes were not signed by this account
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from rates.money import WALLET_USD, Asset, Money

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web


class Mode(StrEnum):
    """Test and live never see each other."""

    TEST = "test"
    LIVE = "live"


# --- how a call can end -------------------------------------------------------------------------------------------


class RailError(Exception):
    """A call to a rail did not end in an answer that can be used."""


class RailUnavailable(RailError):
    """Nothing happened there: retry, then the next offer."""

    def __init__(self, text: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        """How long the rail asked to be left alone (429 with Retry-After); None where it did not say."""


class OutcomeUnknown(RailError):
    """Sent, no answer: never send again on any rail; ask this one."""


class RailMisconfigured(RailError):
    """Our key, account or request is wrong and nothing happened: a person must mend it; the next offer may serve."""


class TokenCodeChanged(RailMisconfigured):
    """The code behind a token's address is not the one that is pinned: what it calls a transfer may be none."""

    def __init__(self, text: str, token: ChainToken) -> None:
        super().__init__(text)
        self.token = token


class WebhookRejected(RailError):
    """The bytes were not signed by this account (or are no message of this rail): do not believe them, ask the rail."""


class Severity(StrEnum):
    SOFT = "soft"
    """Another rail, card or try may turn it."""
    HARD = "hard"
    """Stolen, blocked, fraud suspected, or a code that is not in the table: never cascade."""


class OutcomeClass(StrEnum):
    """What one code of a vendor means for who asked; each adapter's tables give every documented code one of these."""

    SOFT = "soft"
    HARD = "hard"
    AUTHENTICATE = "authenticate"
    """The bank wants to see the buyer: one more try on a page, with 3-D Secure."""
    NOT_SENT = "not_sent"
    """The request was refused before anything was done."""
    UNKNOWN = "unknown"
    """It does not say whether something was done."""


@dataclass(frozen=True, slots=True)
class Decline:
    """A rail's clear no. ``message`` is for the buyer, in English; ``code`` is the rail's own word."""

    severity: Severity
    code: str
    message: str
    listed: bool = True
    """False where the code is missing in the adapter's table (hard, and counted)."""
    authenticate: bool = False
    """The bank wants to see the buyer: with that done, the same card may be taken."""
    step_up: bool = False
    """The bank asked for that and was not given it yet, and this rail can ask the buyer: one try with ``PaymentOrder.step_up``."""

    @property
    def outcome(self) -> OutcomeClass:
        return OutcomeClass.AUTHENTICATE if self.authenticate else OutcomeClass(self.severity.value)


class PaymentDeclined(RailError):
    """A clear no: the rule says who is next."""

    def __init__(self, decline: Decline, rail_reference: str | None = None) -> None:
        super().__init__(f"{decline.code}: {decline.message}")
        self.decline = decline
        self.rail_reference = rail_reference


# --- what we ask for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PaymentOrder:
    """What a rail is asked to collect. Sending the same order again must give the same payment (same key)."""

    attempt_id: str
    """Ours: the rail's idempotency key and its reference to us."""
    method: str
    amount: Money
    country: str
    """ISO 3166-1 alpha-2 of the buyer."""
    description: str
    return_url: str
    """Where the rail sends the buyer's browser afterwards."""
    expires_at: datetime
    locale: str = "en"
    customer_reference: str = ""
    email: str | None = None
    deposit_address: str | None = None
    """Chain rails only: the customer's own permanent address, already stored by us."""
    save_method: bool = False
    """Ask the buyer on the rail's page to save the method for later charges; a rail without ``ChargesSaved`` ignores it."""
    saved: Mapping[str, str] | None = None
    """``SavedMethod.reference``: charge this and show no page. For ``ChargesSaved.charge_saved`` only."""
    capture_later: bool = False
    """Only reserve the money; ``CapturesLater.capture_payment`` takes it. For rails with that ability."""
    step_up: bool = False
    """Have the bank see the buyer (3-D Secure), whatever the rail thinks of the risk. For rails whose declines say it."""
    statement_suffix: str = ""
    """What the buyer's statement shows after our own name, where the rail takes it."""
    merchant_category: str = ""
    """Merchant category code (four digits) of who sells, where the rail takes it."""


@dataclass(frozen=True, slots=True)
class PaymentReference:
    """How one of our attempts is found at its rail."""

    attempt_id: str
    rail_reference: str | None
    """The rail's own id of what was created; None where its answer never reached us."""
    method: str
    amount: Money
    created_at: datetime
    saved: bool = False
    """It charged a saved method: there is no page."""


# --- what comes back ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Redirect:
    url: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DepositAddress:
    address: str
    network: str
    """Name for people, twice said: ``TRON (TRC20)``."""
    chain: str
    """CAIP-2, such as ``eip155:1``."""
    token: str
    token_contract: str
    amount: Money
    qr_text: str
    """What the QR code holds: the bare address, exchanges read nothing else."""
    wallet_uri: str
    """``ethereum:`` (EIP-681) or ``tron:`` link for "open in wallet"."""


@dataclass(frozen=True, slots=True)
class NoAction:
    """Nothing for the buyer to do: the rail works on it, or is done."""


NextAction = Redirect | DepositAddress | NoAction


class RailEventKind(StrEnum):
    ACTION_REQUIRED = "action_required"
    PENDING = "pending"
    CAPTURED = "captured"
    """The rail holds the buyer's money for us: the only word that moves money in."""
    DECLINED = "declined"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RailEvent:
    """One thing that a rail said happened, from a webhook, a poll or an answer; all three look the same."""

    rail: str
    account: str
    mode: Mode
    event_id: str
    """Names this statement for dedupe: the same statement twice has the same id, whatever way it came."""
    kind: RailEventKind
    attempt_id: str | None
    """Our reference as the rail echoes it; None where the rail does not."""
    rail_reference: str | None
    occurred_at: datetime
    """When it happened at the rail, not when we heard of it."""
    money_id: str | None = None
    """CAPTURED only: the rail's own id of the money (Stripe: the PaymentIntent). One credit each, for ever."""
    amount: Money | None = None
    """CAPTURED only: what the rail says it took, in the scale of ``display_asset``."""
    decline: Decline | None = None
    still_open: bool = False
    """DECLINED only: the buyer can still pay there (a hosted page stays open until it is cancelled)."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """The few words of the rail worth keeping (status, reason). No card data, no secrets."""


@dataclass(frozen=True, slots=True)
class PaymentStarted:
    """A rail took the order."""

    rail_reference: str
    action: NextAction
    events: Sequence[RailEvent] = ()
    """What the rail already said in the answer (captured, pending)."""


class CancelOutcome(StrEnum):
    CANCELED = "canceled"
    """The rail's word that no money will come from it any more."""
    TOO_LATE = "too_late"
    """It is paid or being paid: read its status."""
    CANNOT = "cannot"
    """This rail cannot take a payment back (a chain, a voucher): it is superseded and watched on."""


# --- what a rail offers -------------------------------------------------------------------------------------------


class Flow(StrEnum):
    REDIRECT = "redirect"
    DEPOSIT_ADDRESS = "deposit_address"


@dataclass(frozen=True, slots=True)
class Capability:
    """One method that a rail account offers, and to whom."""

    method: str
    flow: Flow
    countries: frozenset[str] | None
    """ISO 3166-1 alpha-2 of the buyer; None = anywhere."""
    currencies: tuple[str, ...]
    """Presentment currencies, preferred first; ``("*",)`` = any that the rail has an exponent for."""
    expected_seconds: int
    amount_min: Mapping[str, Money] = field(default_factory=dict)
    """Smallest charge by currency, as the vendor documents it."""
    amount_max: Mapping[str, Money] = field(default_factory=dict)


# --- the adapter --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RailAccount:
    """One account of ours at one rail, as config.yaml describes it."""

    rail: str
    account: str
    mode: Mode
    options: Mapping[str, Any] = field(repr=False)
    """The rail's own settings, checked by the adapter (raises RailMisconfigured with the field's name). Not printed."""
    base_url: str | None = None
    """None = the vendor's own; a simulator's address otherwise."""


class RailAdapter(Protocol):
    """One account at one rail. Every method may raise RailUnavailable, OutcomeUnknown or RailMisconfigured."""

    @property
    def account(self) -> RailAccount: ...

    @property
    def capabilities(self) -> Sequence[Capability]: ...

    @property
    def resend_window_seconds(self) -> int:
        """How long the rail keeps an idempotency key: within it, the same order may be sent again."""
        ...

    def supports_currency(self, currency: str) -> bool:
        """Say whether this rail's own exponent table has the currency."""
        ...

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        """Ask the rail to collect. The same order gives the same payment within ``resend_window_seconds``.

        Raises PaymentDeclined where the rail says no at once.
        """
        ...

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        """Ask the rail what became of one payment. Safe to repeat.

        Without a ``rail_reference`` the rail is searched by our attempt id; an empty answer proves nothing.
        """
        ...

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        """Ask the rail to take no money for this payment any more. Safe to repeat."""
        ...


@runtime_checkable
class ReceivesWebhooks(Protocol):
    """A rail that calls us."""

    def parse_webhook(self, headers: Mapping[str, str], body: bytes) -> Sequence[RailEvent]:
        """Verify the raw bytes with this account's secrets and read them. Header names arrive in lower case.

        Unknown event types give an empty sequence. Raises WebhookRejected.
        """
        ...

    def webhook_answer(self) -> tuple[int, str, str]:
        """Return status, content type and body that this rail wants to read after delivery."""
        ...


@dataclass(frozen=True, slots=True)
class SavedMethod:
    """A method that a buyer saved at a rail and allowed us to charge later."""

    reference: Mapping[str, str]
    """What the adapter needs to charge it, in its own words, kept as it is. No card data, no secrets."""
    label: str
    """For people, such as ``Visa 4242``."""


@runtime_checkable
class ChargesSaved(Protocol):
    """A rail whose page saves a method (``PaymentOrder.save_method``), and that charges it while no buyer is there."""

    @property
    def saveable_methods(self) -> frozenset[str]:
        """Methods of this account that can be saved."""
        ...

    async def saved_method(self, reference: PaymentReference) -> SavedMethod | None:
        """Read what the buyer saved with a payment that was made; None where nothing was. Safe to repeat."""
        ...

    async def charge_saved(self, order: PaymentOrder) -> PaymentStarted:
        """Charge ``order.saved``. The same order gives the same payment within ``resend_window_seconds``.

        What became of it is in ``events`` of the answer, and later in ``fetch_status`` and webhooks: captured,
        pending or declined (never ``still_open``). Raises PaymentDeclined where the rail says no at once.
        """
        ...

    def wants_buyer(self, decline_code: str) -> bool:
        """Say whether this decline means that the buyer must come to a page, because the bank wants to see him."""
        ...


# --- chains -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ChainToken:
    """One token that is watched on one chain."""

    asset: Asset
    """In our books' scale, such as USDT/6."""
    contract: bytes
    """20 raw bytes; never compared by symbol."""
    decimals: int
    """On the chain: 18 for USDT on BSC."""
    method: str
    """What the buyer chose, such as ``usdt_bsc``."""
    dust_units: int = 0
    """In our scale: less is listed, not credited."""


@dataclass(frozen=True, slots=True)
class TokenTransfer:
    """One Transfer log to one of our addresses."""

    tx_hash: str
    """0x and 64 hex digits, lower case, on every chain."""
    receipt_ordinal: int
    """Position of the log inside its receipt (0 first): the block-wide index changes when it is mined again."""
    token: ChainToken
    sender: bytes
    recipient: bytes
    """20 raw bytes."""
    raw_value: int
    """As the chain counts it; may exceed 64 bits (store as text)."""
    amount: Money
    """Narrowed downwards to our scale."""
    remainder: int
    """What narrowing left, in the chain's own units."""


@dataclass(frozen=True, slots=True)
class UnknownTransfer:
    """One Transfer log to one of our addresses of a contract that nobody vouched for: no amount, only a raw value."""

    tx_hash: str
    receipt_ordinal: int
    contract: bytes
    sender: bytes
    recipient: bytes
    raw_value: int


@dataclass(frozen=True, slots=True)
class SeenTransfer:
    """What we believe of one transfer, for a second node to confirm."""

    tx_hash: str
    receipt_ordinal: int
    block_number: int
    block_hash: str
    contract: bytes
    recipient: bytes
    raw_value: int


@dataclass(frozen=True, slots=True)
class TokenAlarm:
    """What the administrators of a token did that touches us: paused it, set a fee, blacklisted an address of ours."""

    token: ChainToken
    kind: str
    """paused | unpaused | fee_changed | deprecated | upgraded | address_blacklisted | address_cleared | funds_destroyed"""
    tx_hash: str
    address: bytes | None = None
    """Ours, where the alarm is about one; of the new code, where the token was upgraded."""

    @property
    def replaces_code(self) -> bool:
        return self.kind == "upgraded"


@dataclass(frozen=True, slots=True)
class TokenCode:
    """The code behind a token's address on one node. Hashes are ``keccak256:`` and 64 digits; addresses as people copy them."""

    token: ChainToken
    node: str
    contract: str
    code_hash: str | None
    """None: there is no contract."""
    code_pinned: str | None
    """What the configuration says it must be."""
    implementation: str | None
    """Where a proxy hands its calls to; None: it is no proxy that we know."""
    implementation_hash: str | None
    implementation_pinned: str | None


@dataclass(frozen=True, slots=True)
class BlockHeader:
    number: int
    hash: str
    parent_hash: str
    timestamp: datetime
    """UTC, from the header."""


@dataclass(frozen=True, slots=True)
class BlockScan:
    """One block, read whole: its header and every transfer to us. A block that could not be read is no BlockScan."""

    chain: str
    """CAIP-2."""
    header: BlockHeader
    transfers: tuple[TokenTransfer, ...]
    unknown: tuple[UnknownTransfer, ...] = ()
    """Transfers to us of tokens that are not in the registry, where the account's options ask for them."""
    alarms: tuple[TokenAlarm, ...] = ()


@dataclass(frozen=True, slots=True)
class RangeScan:
    """Final blocks in a row, read by few calls. Only those that hold something for us are among ``blocks``."""

    first_number: int
    parent_hash: str
    """Of the first block."""
    last: BlockHeader
    blocks: tuple[BlockScan, ...]


@dataclass(frozen=True, slots=True)
class ChainHead:
    latest: int
    finalized: int
    finalized_hash: str = ""
    """Of that block: believed only where it is the one that we read at this height. "": the node was not asked."""


_NO_USD: Final = Money.zero(WALLET_USD)


@dataclass(frozen=True, slots=True)
class FinalityTier:
    """Deposits up to an amount are credited provisionally after so many blocks."""

    up_to: Money
    """USD/9, of what would be credited."""
    blocks: int
    """The block itself included."""


@dataclass(frozen=True, slots=True)
class FinalityRule:
    """When a deposit on a chain counts. Amounts are USD/9."""

    confirmations: int
    """Blocks, the deposit's own included, before it is final; by default the chain's own word is needed too."""
    by_depth: bool = False
    """True: depth alone decides. False: the block must be at or below the finalized (solidified) one."""
    tiers: tuple[FinalityTier, ...] = ()
    """Smallest first. None: nothing is credited before it is final."""
    customer_max: Money = _NO_USD
    """Provisional credit of one wallet at a time."""
    chain_max: Money = _NO_USD
    """Provisional credit of all wallets on this chain at a time."""
    merchant_unsecured: Money = _NO_USD
    """Provisional credit of one merchant's customers beyond what the merchant has available and in reserve."""
    second_opinion_from: Money | None = None
    """From this amount on, a second node must show the same transfer before it is credited. None: one node is enough."""


class ChainScanFailed(RailError):
    """A node did not give a block that can be believed: try again, or another node; the cursor stays."""


@runtime_checkable
class ScansChain(Protocol):
    """A rail account that is a chain: blocks instead of webhooks."""

    @property
    def chain(self) -> str:
        """CAIP-2."""
        ...

    @property
    def family(self) -> str:
        """``evm`` or ``tron``: addresses are shared by all chains of one family."""
        ...

    @property
    def confirmations(self) -> int:
        """Blocks, the block itself included, before a transfer is credited for good (as a rule; see ``finality``)."""
        ...

    @property
    def finality(self) -> FinalityRule: ...

    @property
    def tokens(self) -> Sequence[ChainToken]: ...

    @property
    def block_seconds(self) -> float: ...

    def derive_address(self, index: int) -> bytes:
        """Return the 20 raw bytes of deposit address ``index`` from the account xpub (m/.../0/index)."""
        ...

    def show_address(self, address: bytes) -> str:
        """Return the form that people copy: EIP-55 or base58check."""
        ...

    async def check(self) -> None:
        """Assert chain id, and each token's symbol and decimals against its contract. Raises RailMisconfigured."""
        ...

    async def head(self) -> ChainHead:
        """Raises ChainScanFailed."""
        ...

    async def header(self, number: int) -> BlockHeader | None:
        """Return one header, or None where the chain has no such block yet. Raises ChainScanFailed."""
        ...

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        """Read one block whole, or None where the chain has no such block yet. Raises ChainScanFailed."""
        ...

    async def scan_range(self, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        """Read from ``first`` up to ``last`` or less (as much as the node gives). Only for blocks that are final.

        Raises ChainScanFailed.
        """
        ...

    async def second_opinion(self, seen: SeenTransfer) -> bool:
        """Say whether a node other than the one that showed it shows the same. Raises ChainScanFailed: nobody can say."""
        ...

    async def balances(self, token: ChainToken, addresses: Sequence[bytes]) -> Sequence[int]:
        """Return what lies on each address at the newest block, in the chain's own units. Raises ChainScanFailed."""
        ...


@runtime_checkable
class ShowsTokenCode(Protocol):
    """A chain that says what code its tokens have, for people who pin it."""

    async def token_codes(self) -> Sequence[TokenCode]:
        """Return the code of each token, of the node that answers first. Raises ChainScanFailed."""
        ...


# --- what each rail's folder exports ------------------------------------------------------------------------------


class AdapterFactory(Protocol):
    """ADAPTER of each rail's folder."""

    def __call__(self, account: RailAccount, http: aiohttp.ClientSession) -> RailAdapter: ...


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """What a simulator must share with the adapter's account: keys, secrets and where to send webhooks."""

    options: Mapping[str, Any] = field(repr=False)
    """The same mapping as RailAccount.options."""
    base_url: str
    """Where this simulator is mounted, without a trailing slash: pages link to it."""
    webhook_url: str | None
    """Where the network would call us; None for chains."""


class SimulatorFactory(Protocol):
    """SIMULATOR of each rail's folder: a web application that speaks the vendor's wire format, state in memory."""

    def __call__(self, settings: SimulatorSettings) -> web.Application: ...
