"""Every table, on one page.

Amounts are BIGINT units of an asset (``asset`` columns hold ``USD/9``); an 18-decimal chain value is TEXT. Times are
microseconds since 1970 (``*_us``). JSON is TEXT. Keys begin with ``merchant_id``, but for what belongs to the platform:
chains, raw webhooks, money claims, the way from a rail's reference to its merchant. ``mode`` is ``test`` or ``live``.

Nothing here is written through the ORM: see ``writer.py``.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    text,
)
from sqlmodel import Field, SQLModel

IN_FLIGHT: Final = ("pending_send", "sent", "requires_action", "pending", "outcome_unknown")
"""Attempt states of which a payment has at most one."""
RESERVED_STATES: Final = ("held", "capturing", "releasing")
"""Of a reservation: the money is neither taken nor let go yet."""
OPEN_REFUND_STATES: Final = ("created", "sent", "pending")

# What partial indexes hold. Who looks for it says it in these very words, not with parameters: SQLite takes the index then only.
FLIES: Final = f"status IN {IN_FLIGHT}"
RESERVED: Final = f"state IN {RESERVED_STATES}"
OPEN_DISPUTE: Final = "state IN ('needs_answer', 'under_review')"
DISPUTE_ABOVE: Final = "above_units > 0"
POSITION: Final = "code = 'fx:position'"
SETTLED: Final = "status = 'settled'"
SETTLING: Final = "status = 'settling'"
OPEN_REVIEW: Final = "status = 'open'"
OPEN_REFUND: Final = f"status IN {OPEN_REFUND_STATES}"
GOES_BACK: Final = (
    "refunding_units >= 0 AND refunded_units >= 0 AND withdrawn_units >= 0 "
    "AND refunding_units + refunded_units + withdrawn_units <= units"
)
"""Of one piece of money no more goes back, by refunds and disputes together, than came."""

BIG = BigInteger().with_variant(Integer, "sqlite")  # STRICT tables know INTEGER, TEXT, BLOB; SQLite's INTEGER is 64-bit


def _text(server_default: str | None = None, **more: Any) -> Any:
    return Field(sa_type=Text, **_default(server_default), **more)


def _big(server_default: str | None = None, **more: Any) -> Any:
    return Field(sa_type=BIG, **_default(server_default), **more)


def _default(value: str | None) -> dict[str, Any]:
    """A column with a default was added to a table that has rows; ``schema.DEFAULTS`` fills it in new ones."""
    return {} if value is None else {"sa_column_kwargs": {"server_default": value}}


def table_of(model: type[SQLModel]) -> Table:
    """Return a model's table, for queries that want plain rows."""
    table = inspect(model).local_table
    assert isinstance(table, Table)
    return table


def _args(*constraints: Any) -> Any:
    return (*constraints, {"sqlite_strict": True})


APPEND_ONLY: Final = (
    "journal_entry",
    "posting",
    "payment_fact",
    "money_claim",
    "unit_key",
    "event",
    "delivery_attempt",
    "seal",
    "usage_event",
    "price_version",
    "statement_close",
    "ruleset_version",
    "ruleset_change",
    "dispute_fact",
    "dispute_allocation",
    "settlement_line",
    "paper",
    "destination_change",
    "payout_file",
)
"""Tables whose rows the database itself refuses to change or delete."""


# --- the platform ---------------------------------------------------------------------------------------------------


class Merchant(SQLModel, table=True):
    __table_args__ = _args()
    id: str = _text(primary_key=True)
    name: str = _text()
    risk_tier: str = _text(server_default="standard")
    """Which delay and reserve of ``earnings`` in the configuration hold for it."""
    payout_destination: str | None = _text(nullable=True)
    """JSON; set by the platform."""
    destination_by: str = _text(server_default="")
    """Who set it last."""
    destination_held: int = _big(server_default="0")
    """1: nobody but who set it has confirmed it: nothing is paid to it."""
    statement_descriptor: str = _text(server_default="")
    """What a buyer's statement shows, where the rail takes it."""
    merchant_category: str = _text(server_default="")
    """Merchant category code (ISO 18245), four digits."""
    created_us: int = _big()


class ApiKey(SQLModel, table=True):
    """Shown once, stored as SHA-256 (the key has 256 random bits, so no slow hash is needed)."""

    __tablename__ = "api_key"
    __table_args__ = _args(UniqueConstraint("hash"))
    id: str = _text(primary_key=True)
    merchant_id: str = _text(index=True)
    mode: str = _text()
    hash: str = _text()
    hint: str = _text()
    scopes: str = _text()
    created_us: int = _big()
    revoked_us: int | None = _big(nullable=True)


class Operator(SQLModel, table=True):
    __table_args__ = _args(UniqueConstraint("name"))
    id: str = _text(primary_key=True)
    name: str = _text()
    password_hash: str = _text()
    role: str = _text()
    created_us: int = _big()


class RawWebhook(SQLModel, table=True):
    """What a rail sent, byte for byte, before anybody believed it."""

    __tablename__ = "raw_webhook"
    __table_args__ = _args(Index("raw_webhook_open", "state", "next_try_us", "id"))
    id: str = _text(primary_key=True)
    rail: str = _text()
    account: str = _text()
    received_us: int = _big()
    headers: str = _text()
    body: bytes = Field(sa_type=LargeBinary)
    events: str = _text()
    """What the adapter read in it, verified against the account's secret when it came."""
    state: str = _text()
    """received | processed | rejected | unplaced | stuck"""
    note: str = _text()
    tries: int = _big()
    next_try_us: int = _big()


class Reservation(SQLModel, table=True):
    """Money of one attempt that its rail reserved and has not taken yet."""

    __table_args__ = _args(
        Index("reservation_waits", "next_us", sqlite_where=text(RESERVED), postgresql_where=text(RESERVED)),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    attempt_id: str = _text(primary_key=True)
    mode: str = _text()
    payment_id: str = _text()
    rail: str = _text()
    account: str = _text()
    authorisation: str = _text()
    """The rail's id of it."""
    state: str = _text()
    """held | capturing | releasing | captured | released"""
    authorised_us: int = _big()
    """When the buyer paid, for the price."""
    next_us: int = _big()
    tries: int = _big()
    created_us: int = _big()


class WebhookSubject(SQLModel, table=True):
    """What a stored webhook is about: one row for each attempt, refund or piece of money that it names."""

    __tablename__ = "webhook_subject"
    __table_args__ = _args()
    subject: str = _text(primary_key=True)
    """An attempt's id, a refund's id, or ``rail/account/`` and the rail's id of the money."""
    webhook_id: str = _text(primary_key=True)


class MoneyClaim(SQLModel, table=True):
    """One piece of money at one rail belongs to one merchant, for ever."""

    __tablename__ = "money_claim"
    __table_args__ = _args()
    rail: str = _text(primary_key=True)
    account: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)
    rail_id: str = _text(primary_key=True)
    merchant_id: str = _text()
    object_id: str = _text()
    created_us: int = _big()


class AttemptIndex(SQLModel, table=True):
    """The way from a rail's reference to its merchant; written before anything is sent."""

    __tablename__ = "attempt_index"
    __table_args__ = _args()
    attempt_id: str = _text(primary_key=True)
    merchant_id: str = _text()
    mode: str = _text()
    rail: str = _text()
    account: str = _text()
    payment_id: str = _text()


class ChainCursor(SQLModel, table=True):
    """The last block that was read whole. ``network`` is mode and CAIP-2: ``test:eip155:56``."""

    __tablename__ = "chain_cursor"
    __table_args__ = _args()
    network: str = _text(primary_key=True)
    number: int = _big()
    hash: str = _text()
    updated_us: int = _big()
    finalized_number: int = _big(server_default="-1")
    """The highest block that its node calls final and whose hash is the one that was read here; never falls."""
    owner: str = _text(server_default="")
    """Which scanner may write, until ``lease_us``: a second one of this chain is stopped by it."""
    lease_us: int = _big(server_default="0")


class ChainHeader(SQLModel, table=True):
    __tablename__ = "chain_header"
    __table_args__ = _args()
    network: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    hash: str = _text()
    parent_hash: str = _text()
    timestamp_us: int = _big()


class AddressCounter(SQLModel, table=True):
    __tablename__ = "address_counter"
    __table_args__ = _args()
    mode: str = _text(primary_key=True)
    family: str = _text(primary_key=True)
    next_index: int = _big()


class StrayTransfer(SQLModel, table=True):
    """A transfer that nobody is credited for by guess: an unknown token, or an address of ours that has no owner.

    Not in any book until a person allots it; the reconciliation of addresses counts it.
    """

    __tablename__ = "stray_transfer"
    __table_args__ = _args(
        UniqueConstraint("id"),
        Index("stray_transfer_open", "status", "id"),
        Index("stray_transfer_block", "network", "block_hash"),
        Index("stray_transfer_recipient", "network", "recipient"),
    )
    network: str = _text(primary_key=True)
    tx_hash: str = _text(primary_key=True)
    ordinal: int = _big(primary_key=True)
    id: str = _text()
    reason: str = _text()
    """unknown_token | unknown_recipient"""
    contract: bytes = Field(sa_type=LargeBinary)
    asset: str | None = _text(nullable=True)
    """Empty for a token that is not in the registry: its decimals are unknown, so it has no amount."""
    units: int = _big()
    raw_value: str = _text()
    sender: bytes = Field(sa_type=LargeBinary)
    recipient: bytes = Field(sa_type=LargeBinary)
    block_number: int = _big()
    block_hash: str = _text()
    block_us: int = _big()
    merchant_id: str | None = _text(nullable=True)
    """Whose address it is, where that is known."""
    wallet_id: str | None = _text(nullable=True)
    status: str = _text()
    """open | orphaned | credited | refund_planned | ignored"""
    note: str = _text()
    """Why, in the operator's words."""
    decided_by: str = _text()
    deposit_id: str | None = _text(nullable=True)
    """What it became when it was credited."""
    created_us: int = _big()
    updated_us: int = _big()


# --- customers and wallets ------------------------------------------------------------------------------------------


class Customer(SQLModel, table=True):
    """``reference`` is the merchant's own name for the customer. One wallet each."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    reference: str = _text(primary_key=True)
    id: str = _text()
    country: str = _text()
    email: str | None = _text(nullable=True)
    wallet_id: str = _text()
    velocity_day: int = _big()
    """Days since 1970, UTC, that the two counters below belong to."""
    velocity_count: int = _big()
    velocity_units: int = _big()
    created_us: int = _big()


class Wallet(SQLModel, table=True):
    """A customer's prepaid dollars: how it may be spent, when it warns. What is in it stands in accounts and lots."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    customer_id: str = _text()
    customer_reference: str = _text()
    status: str = _text()
    """active | frozen | closed"""
    overdraft: str = _text(server_default="hard")
    """hard | grace | debt: what happens to a charge above the balance."""
    overdraft_units: int = _big(server_default="0")
    """How far a ``grace`` wallet may go into debt, USD/9."""
    held_uncovered_units: int = _big(server_default="0")
    """The part of its open holds that no lot backs: it counts against the overdraft."""
    rating_remainder: int = _big(server_default="0")
    """What rated usage left below one nano-dollar, in USD/22: 0 to 10**13 - 1."""
    low_balance_units: int | None = _big(nullable=True)
    """Tell the merchant when available falls below this."""
    runway_days: int | None = _big(nullable=True)
    """Tell the merchant when available lasts fewer days than this, at the rate of the last seven."""
    low_told_us: int | None = _big(nullable=True)
    """When it was told; empty again after a credit lifts the balance above the threshold."""
    created_us: int = _big()


class AutoTopup(SQLModel, table=True):
    """A wallet's standing order: charge the saved method when the balance falls. At most one charge in flight."""

    __tablename__ = "auto_topup"
    __table_args__ = _args(
        Index("auto_topup_due", "next_try_us", sqlite_where=text("enabled = 1"), postgresql_where=text("enabled = 1")),
    )
    merchant_id: str = _text(primary_key=True)
    wallet_id: str = _text(primary_key=True)
    mode: str = _text()
    enabled: int = _big()
    below_units: int = _big()
    amount_units: int = _big()
    daily_max_units: int = _big()
    mandate_id: str | None = _text(nullable=True)
    session_id: str | None = _text(nullable=True)
    """The charge in flight."""
    flight_units: int = _big()
    """What that charge asks for, USD/9; it stays where ``amount_units`` is changed meanwhile."""
    day: int = _big()
    """Days since 1970, UTC, that ``day_units`` belongs to."""
    day_units: int = _big()
    declines: int = _big()
    """In a row; the backoff grows with it."""
    waits_for_buyer: int = _big()
    """1: the bank wants to see the buyer, and the merchant was told the link of the session's page."""
    next_try_us: int = _big()
    updated_us: int = _big()


class Mandate(SQLModel, table=True):
    """A payment method that the customer saved at a rail and allowed us to charge later."""

    __table_args__ = _args(
        Index("mandate_wallet", "merchant_id", "wallet_id"),
        Index("mandate_asked", "next_check_us", sqlite_where=text("status = 'asked'"),
              postgresql_where=text("status = 'asked'")),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    wallet_id: str = _text()
    attempt_id: str = _text()
    """The payment with which the buyer was asked to save it."""
    rail: str = _text()
    account: str = _text()
    method: str = _text()
    reference: str = _text()
    """What the rail's adapter needs to charge it, JSON."""
    label: str = _text()
    """For people, such as "Visa 4242"."""
    status: str = _text()
    """asked (the buyer has not paid yet) | active | revoked | unused (the buyer did not pay, or the rail saved nothing)"""
    next_check_us: int = _big()
    """When the rail is asked what was saved, while ``asked``."""
    created_us: int = _big()


class DepositAddress(SQLModel, table=True):
    """A customer's permanent address on one family of chains. Stored before it is shown."""

    __tablename__ = "deposit_address"
    __table_args__ = _args(
        UniqueConstraint("mode", "family", "address"), UniqueConstraint("mode", "family", "address_index")
    )
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    wallet_id: str = _text(primary_key=True)
    family: str = _text(primary_key=True)
    address_index: int = _big()
    address: bytes = Field(sa_type=LargeBinary)
    created_us: int = _big()


# --- checkout and payments ------------------------------------------------------------------------------------------


class CheckoutSession(SQLModel, table=True):
    __tablename__ = "checkout_session"
    __table_args__ = _args(Index("checkout_session_open", "status", "expires_us"), Index("checkout_session_id", "id"))
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    customer_id: str = _text()
    customer_reference: str = _text()
    wallet_id: str = _text()
    country: str = _text()
    locale: str = _text()
    status: str = _text()
    """open | complete | expired"""
    amount_units: int = _big()
    """Principal, USD/9."""
    offers: str = _text()
    decision_id: str = _text()
    payment_id: str | None = _text(nullable=True)
    suggested_offer: str | None = _text(nullable=True)
    success_url: str | None = _text(nullable=True)
    cancel_url: str | None = _text(nullable=True)
    save_method: int = _big(server_default="0")
    """1: the rail's page asks the buyer to save the method for later charges."""
    metadata_json: str = _text()
    expires_us: int = _big()
    created_us: int = _big()
    quoted: str = _text(server_default="")
    """The currencies of its quotes, one word for each quote, sorted: they expire with it, so that exposure is counted here."""


class Quote(SQLModel, table=True):
    """A locked rate. ``used_by`` is the one attempt it served."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    session_id: str | None = _text(nullable=True)
    body: str = _text()
    used_by: str | None = _text(nullable=True)
    expires_us: int = _big()
    created_us: int = _big()


class Decision(SQLModel, table=True):
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    ruleset_hash: str = _text()
    body: str = _text()
    created_us: int = _big()


class Payment(SQLModel, table=True):
    """The intent to bring an amount into a wallet. ``status`` and the sums are a fold over its facts."""

    __table_args__ = _args(
        Index("payment_list", "merchant_id", "mode", "id"),
        Index("payment_settled", "updated_us", sqlite_where=text(SETTLED), postgresql_where=text(SETTLED)),
        CheckConstraint("credited_units >= 0", name="payment_credited_from_zero"),
    )
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    session_id: str = _text()
    wallet_id: str = _text()
    customer_id: str = _text()
    status: str = _text()
    amount_units: int = _big()
    """Principal asked for, USD/9."""
    credited_units: int = _big()
    """USD/9 that reached the wallet."""
    fact_count: int = _big()
    created_us: int = _big()
    updated_us: int = _big()
    refunding_units: int = _big(server_default="0")
    """USD/9 of open refunds."""
    refunded_units: int = _big(server_default="0")


class PaymentFact(SQLModel, table=True):
    __tablename__ = "payment_fact"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    payment_id: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    kind: str = _text()
    attempt_id: str | None = _text(nullable=True)
    status: str = _text()
    """The payment's status after this fact."""
    body: str = _text()
    at_us: int = _big()
    """When it happened at the rail."""
    recorded_us: int = _big()


class Attempt(SQLModel, table=True):
    """One try of a payment on one rail. ``open_at_rail``: money may still come, so it is watched."""

    __table_args__ = _args(
        Index(
            "attempt_in_flight",
            "merchant_id",
            "payment_id",
            unique=True,
            sqlite_where=text(FLIES),
            postgresql_where=text(FLIES),
        ),
        Index("attempt_payment", "merchant_id", "payment_id", "id"),
        Index("attempt_wallet", "merchant_id", "wallet_id", "open_at_rail"),
        Index("attempt_reference", "rail", "rail_reference"),
        Index("attempt_watch", "next_check_us", sqlite_where=text("open_at_rail = 1"),
              postgresql_where=text("open_at_rail = 1")),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    payment_id: str = _text()
    session_id: str = _text()
    wallet_id: str = _text()
    offer_id: str = _text()
    rail: str = _text()
    account: str = _text()
    method: str = _text()
    status: str = _text()
    asset: str = _text()
    units: int = _big()
    """What we asked the rail for."""
    received_units: int = _big()
    order_json: str = _text()
    """The order as it was sent, so that it can be sent again under the same key."""
    lines: str = _text()
    """Its price: lines, principal and rates, for the entry."""
    quote_expires_us: int = _big()
    rail_reference: str | None = _text(nullable=True)
    next_action: str | None = _text(nullable=True)
    decline: str | None = _text(nullable=True)
    open_at_rail: int = _big()
    next_check_us: int = _big()
    checks: int = _big()
    created_us: int = _big()
    updated_us: int = _big()


class Capture(SQLModel, table=True):
    """Money that a rail took for us: its own row with its own small machine (credited | review | returned)."""

    __table_args__ = _args(
        UniqueConstraint("merchant_id", "rail", "account", "mode", "money_id"),
        Index("capture_payment", "merchant_id", "payment_id"),
        Index("capture_created", "merchant_id", "mode", "created_us"),
        CheckConstraint(GOES_BACK, name="capture_goes_back_once"),
    )
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    payment_id: str = _text()
    attempt_id: str = _text()
    rail: str = _text()
    account: str = _text()
    money_id: str = _text()
    asset: str = _text()
    units: int = _big()
    status: str = _text()
    credited_units: int = _big()
    captured_us: int = _big()
    created_us: int = _big()
    lines: str | None = _text(nullable=True)
    """JSON of the price that it was credited at: a refund gives back shares of exactly these lines."""
    refunding_units: int = _big(server_default="0")
    """Of ``units``: on their way back to the payer."""
    refunded_units: int = _big(server_default="0")
    withdrawn_units: int = _big(server_default="0")
    """Taken back by the payer's bank."""


class Deposit(SQLModel, table=True):
    """A transfer to one of our addresses. Key: chain, transaction, ordinal of the log inside its receipt."""

    __table_args__ = _args(
        UniqueConstraint("network", "tx_hash", "ordinal"),
        Index("deposit_waiting", "network", "status", "block_number"),
        Index("deposit_tx", "tx_hash"),
        Index("deposit_block", "network", "block_hash"),
        Index("deposit_recipient", "network", "recipient"),
        Index("deposit_status", "merchant_id", "mode", "status"),
        Index("deposit_payment", "merchant_id", "payment_id"),
        Index("deposit_fallen", "network", sqlite_where=text("fallen_us IS NOT NULL"),
              postgresql_where=text("fallen_us IS NOT NULL")),
        CheckConstraint(GOES_BACK, name="deposit_goes_back_once"),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    rail: str = _text()
    account: str = _text()
    network: str = _text()
    tx_hash: str = _text()
    ordinal: int = _big()
    method: str = _text()
    asset: str = _text()
    units: int = _big()
    raw_value: str = _text()
    remainder: str = _text()
    sender: bytes = Field(sa_type=LargeBinary)
    recipient: bytes = Field(sa_type=LargeBinary)
    block_number: int = _big()
    block_hash: str = _text()
    block_us: int = _big()
    wallet_id: str = _text()
    payment_id: str | None = _text(nullable=True)
    attempt_id: str | None = _text(nullable=True)
    session_id: str | None = _text(nullable=True)
    generation: int = _big()
    """How often it was mined: a reorganization can bring it again in another block."""
    status: str = _text()
    """detected | provisional | credited | orphaned | unallocated | dust | refund_planned | refunding | refunded | ignored"""
    credited_units: int = _big()
    """What is credited for good, USD/9."""
    provisional_units: int = _big(server_default="0")
    """What is credited until its block is final, USD/9."""
    lot_id: str | None = _text(nullable=True)
    """What it was credited into."""
    lines: str | None = _text(nullable=True)
    """JSON of the price that it was credited at: a reversal takes back exactly these lines."""
    fallen_us: int | None = _big(nullable=True)
    """Since when its block is gone, while that is not booked yet."""
    froze_wallet: int = _big(server_default="0")
    """1: the wallet was frozen because what fell away had been spent."""
    created_us: int = _big()
    updated_us: int = _big()
    refunding_units: int = _big(server_default="0")
    """Of ``units``: on their way back to the payer."""
    refunded_units: int = _big(server_default="0")
    withdrawn_units: int = _big(server_default="0")
    """Taken back by the payer's bank."""


class Refund(SQLModel, table=True):
    """Money on its way back to whoever paid. Saved with the credit set aside, before the rail is asked."""

    __table_args__ = _args(
        Index("refund_id", "id"),
        Index("refund_payment", "merchant_id", "payment_id", "id"),
        Index("refund_list", "merchant_id", "mode", "id"),
        Index("refund_watch", "next_check_us", sqlite_where=text(OPEN_REFUND), postgresql_where=text(OPEN_REFUND)),
    )
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    payment_id: str = _text()
    money_id: str = _text()
    """The capture or deposit that it gives back."""
    wallet_id: str = _text()
    rail: str = _text()
    account: str = _text()
    status: str = _text()
    """created | sent (asked, no answer yet) | pending | succeeded | failed"""
    origin: str = _text()
    """api | rail: somebody made it in the vendor's dashboard"""
    destination: str = _text()
    """source | wallet | address"""
    reason: str = _text()
    requested_by: str = _text()
    units: int = _big()
    """Credit that goes, USD/9."""
    asset: str = _text()
    local_units: int = _big()
    """What the payer gets, in the money's own asset."""
    lines: str = _text()
    """JSON: the fee lines that go back with it, USD/9, and what rounding leaves."""
    sources: str = _text()
    """JSON: what the credit was taken from, lots and the merchant's accounts, so that a failure puts it back there."""
    rail_reference: str | None = _text(nullable=True)
    failure: str | None = _text(nullable=True)
    ended_us: int | None = _big(nullable=True)
    """When the rail itself says that it ended as it stands now: an older word changes nothing then."""
    turns: int = _big(server_default="0")
    """How often it went out after it had failed or come back."""
    above_units: int = _big(server_default="0")
    """What the rail sent above what was left of the money: the merchant owes it."""
    next_check_us: int = _big()
    checks: int = _big()
    created_us: int = _big()
    updated_us: int = _big()


class Dispute(SQLModel, table=True):
    """The payer's bank takes money back, or asks about it. What the rail did with the funds is a fact each."""

    __table_args__ = _args(
        UniqueConstraint("rail", "account", "mode", "rail_dispute_id"),
        Index("dispute_id", "id"),
        Index("dispute_list", "merchant_id", "mode", "id"),
        Index("dispute_payment", "merchant_id", "payment_id"),
        Index("dispute_open", "next_check_us", sqlite_where=text(OPEN_DISPUTE), postgresql_where=text(OPEN_DISPUTE)),
        Index("dispute_above", "next_check_us", sqlite_where=text(DISPUTE_ABOVE), postgresql_where=text(DISPUTE_ABOVE)),
    )
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    rail: str = _text()
    account: str = _text()
    rail_dispute_id: str = _text()
    payment_id: str = _text()
    capture_id: str = _text()
    wallet_id: str = _text()
    state: str = _text()
    """needs_answer | under_review | won | lost | closed"""
    inquiry: int = _big()
    """1: a question of the bank; no money has moved for it."""
    asset: str = _text()
    local_units: int = _big()
    """What is disputed, in the money's own asset."""
    units: int = _big()
    """The credit that it stands for, USD/9."""
    withdrawn_units: int = _big()
    """What the rail holds back now, in the money's own asset."""
    withdrawals: int = _big()
    """How often it was withdrawn: each time is a stage."""
    returns: int = _big(server_default="0")
    """How often it was given back. As often as withdrawn: nothing is held back, whatever was heard of first."""
    above_units: int = _big(server_default="0")
    """Held back beyond what was left of the money then: the merchant owes it, until a refund that was under way fails."""
    frozen: str = _text()
    """JSON: [[lot, units], ...] set aside while it is open."""
    clawed_units: int = _big()
    """What was taken back for it and stands, USD/9."""
    reason: str = _text()
    """The rail's own word."""
    answer_by_us: int | None = _big(nullable=True)
    evidence: str = _text()
    """JSON: what the merchant adds to the pack made from our records."""
    answered: str = _text()
    """"" | sending | submitted | accepted"""
    reminded: int = _big()
    """How many reminders of the deadline were given."""
    next_check_us: int = _big()
    created_us: int = _big()
    updated_us: int = _big()


class DisputeFact(SQLModel, table=True):
    """What the rail said of a dispute, and what was done here, in order."""

    __tablename__ = "dispute_fact"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    dispute_id: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    kind: str = _text()
    state: str = _text()
    """The dispute's state after it."""
    body: str = _text()
    at_us: int = _big()
    recorded_us: int = _big()


class DisputeAllocation(SQLModel, table=True):
    """Who bore how much of a lost dispute. A win writes the same rows with the sign turned."""

    __tablename__ = "dispute_allocation"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    dispute_id: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    source: str = _text()
    """lot | reserve | available | receivable | rail_fee | platform_fee | fx_spread | rounding"""
    subject: str = _text()
    """The lot, where it is one."""
    units: int = _big()
    """USD/9: taken where positive, given back where negative."""
    created_us: int = _big()


class Paper(SQLModel, table=True):
    """A receipt or an invoice as it was issued: numbers are gapless per merchant and mode, what they say never changes."""

    __table_args__ = _args(UniqueConstraint("merchant_id", "mode", "kind", "subject"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    kind: str = _text()
    """receipt | invoice"""
    subject: str = _text()
    """The payment; the wallet and its month."""
    body: str = _text()
    created_us: int = _big()


class PaperCounter(SQLModel, table=True):
    __tablename__ = "paper_counter"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    next_number: int = _big()


# --- what the rails report ---------------------------------------------------------------------------------------------


class SettlementLine(SQLModel, table=True):
    """One line of what a rail says it holds for us, once for ever. The platform's: a report is over many merchants."""

    __tablename__ = "settlement_line"
    __table_args__ = _args(Index("settlement_line_time", "rail", "account", "mode", "occurred_us"))
    rail: str = _text(primary_key=True)
    account: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    line_id: str = _text(primary_key=True)
    kind: str = _text()
    word: str = _text()
    """The vendor's own."""
    money_id: str | None = _text(nullable=True)
    attempt_id: str | None = _text(nullable=True)
    reference: str | None = _text(nullable=True)
    asset: str = _text()
    gross_units: int = _big()
    """Signed: what came to us is positive."""
    fee_units: int = _big()
    net_units: int = _big()
    occurred_us: int = _big()
    batch: str = _text()
    recorded_us: int = _big()
    original_asset: str | None = _text(nullable=True)
    """Where the rail converted it: the currency that the buyer paid in."""
    original_units: int | None = _big(nullable=True)
    exchange_rate: str | None = _text(nullable=True)
    """The rail's own: original times this is gross."""


class SettlementMatch(SQLModel, table=True):
    """What a line was found to be about."""

    __tablename__ = "settlement_match"
    __table_args__ = _args(
        Index("settlement_match_object", "rail", "account", "mode", "object_id"),
        Index("settlement_match_open", "rail", "account", "mode", sqlite_where=text("state IN ('waiting', 'open')"),
              postgresql_where=text("state IN ('waiting', 'open')")),
    )  # fmt: skip
    rail: str = _text(primary_key=True)
    account: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    line_id: str = _text(primary_key=True)
    kind: str = _text()
    state: str = _text()
    """matched | waiting | open | accepted"""
    broken: str = _text()
    """missing_here | amount | currency | duplicate | unknown_word; empty where it fits"""
    object_id: str = _text()
    """The capture, refund or dispute; empty where none was found."""
    merchant_id: str = _text()
    payout: str = _text()
    """The line of the rail's payout that it is a part of; empty before; ``returned `` and the line of its return after that."""
    updated_us: int = _big()


class SettlementCursor(SQLModel, table=True):
    __tablename__ = "settlement_cursor"
    __table_args__ = _args()
    rail: str = _text(primary_key=True)
    account: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    cursor: str = _text()
    read_us: int = _big()


# --- the ledger -----------------------------------------------------------------------------------------------------


class UnitKey(SQLModel, table=True):
    """One executed unit and its answer: what makes every money fact happen once, for ever."""

    __tablename__ = "unit_key"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    key: str = _text(primary_key=True)
    answer: str = _text()
    created_us: int = _big()


class Shard(SQLModel, table=True):
    """Heads of a merchant's two gapless sequences; taken under the flush's lock (ids are not commit order)."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    entry_sequence: int = _big()
    event_sequence: int = _big()
    seal_number: int = _big(server_default="0")
    seal_hash: str = _text(server_default="")
    """Head of the hash chain over the entries; see ``seal``."""
    flush_id: str = _text(server_default="")
    """The flush that wrote last behind this gate; see ``memory``."""


class Seal(SQLModel, table=True):
    """One link of a shard's hash chain: SHA-256 over the hash before it and the entries that one flush wrote."""

    __table_args__ = _args(UniqueConstraint("merchant_id", "mode", "previous_hash"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    first_sequence: int = _big()
    last_sequence: int = _big()
    previous_hash: str = _text()
    hash: str = _text()
    created_us: int = _big()


class WriterLease(SQLModel, table=True):
    """Who writes for a group of merchants now (PostgreSQL, several processes). Checked inside every flush."""

    __tablename__ = "writer_lease"
    __table_args__ = _args()
    group_id: int = _big(primary_key=True)
    owner: str = _text()
    address: str = _text()
    """Where the owner takes forwarded requests."""
    epoch: int = _big()
    expires_us: int = _big()


class Account(SQLModel, table=True):
    """A materialised balance, debit positive. ``code`` is of the chart, ``subject`` whose (wallet, rail/account)."""

    # The rest of the key too: a look-up by the whole key finds one row in this index as well, whichever the planner takes.
    __table_args__ = _args(
        Index("account_subject", "merchant_id", "mode", "subject", "code", "asset"),
        Index("account_position", "merchant_id", sqlite_where=text(POSITION), postgresql_where=text(POSITION)),
    )
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    code: str = _text(primary_key=True)
    subject: str = _text(primary_key=True)
    asset: str = _text(primary_key=True)
    balance: int = _big()


class JournalEntry(SQLModel, table=True):
    __tablename__ = "journal_entry"
    __table_args__ = _args(UniqueConstraint("merchant_id", "mode", "id"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    sequence: int = _big(primary_key=True)
    id: str = _text()
    kind: str = _text()
    fact: str = _text()
    """The business fact that caused it: id of a capture, deposit, refund, hold ..."""
    payment_id: str | None = _text(nullable=True)
    created_us: int = _big()


class Posting(SQLModel, table=True):
    """One line of an entry; ``units`` debit positive; ``balance_after`` proves the order."""

    __table_args__ = _args(Index("posting_account", "merchant_id", "mode", "subject", "code", "sequence"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    sequence: int = _big(primary_key=True)
    line: int = _big(primary_key=True)
    code: str = _text()
    subject: str = _text()
    asset: str = _text()
    units: int = _big()
    balance_after: int = _big()


class Lot(SQLModel, table=True):
    """One credited portion of a wallet with its own remainder."""

    __table_args__ = _args(
        Index("lot_wallet", "merchant_id", "wallet_id", "id"),
        Index("lot_open", "merchant_id", "wallet_id", "open"),
        Index("lot_expiry", "expires_us", sqlite_where=text("open = 1 AND expires_us IS NOT NULL"),
              postgresql_where=text("open = 1 AND expires_us IS NOT NULL")),
        CheckConstraint("remaining_units >= 0 AND remaining_units <= units", name="lot_remaining_within"),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    wallet_id: str = _text()
    kind: str = _text()
    """paid | promotional | compensation | provisional"""
    source: str = _text()
    """Id of the capture, deposit or grant."""
    payment_id: str | None = _text(nullable=True)
    units: int = _big()
    remaining_units: int = _big()
    """Not consumed yet; what holds have allocated is part of it."""
    held_units: int = _big(server_default="0")
    """Allocated to open holds."""
    frozen_units: int = _big(server_default="0")
    """Set aside by a dispute or refund."""
    open: int = _big(server_default="1")
    """0 once nothing remains: spending locks open lots only."""
    priority: int = _big(server_default="0")
    """Among lots of one kind, lower is consumed first."""
    expires_us: int | None = _big(nullable=True)
    created_us: int = _big()


class Hold(SQLModel, table=True):
    """An amount set aside before its cost is known; a spend lease is a hold that is settled in one batch."""

    __table_args__ = _args(
        Index("hold_due", "expires_us", sqlite_where=text("status = 'open'"),
              postgresql_where=text("status = 'open'")),
        Index("hold_wallet", "merchant_id", "wallet_id", "status"),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    wallet_id: str = _text()
    kind: str = _text()
    """hold | lease"""
    status: str = _text()
    """open | captured | voided | expired"""
    units: int = _big()
    captured_units: int = _big()
    uncovered_units: int = _big()
    """What no lot backs: within the wallet's overdraft when it was asked for."""
    allocations: str = _text()
    """JSON: [[lot, kind, units], ...] while open."""
    reference: str | None = _text(nullable=True)
    """The merchant's own name for the call."""
    answer: str | None = _text(nullable=True)
    """JSON of the capture's answer, for whoever asks again."""
    expires_us: int = _big()
    created_us: int = _big()
    updated_us: int = _big()


# --- metering -------------------------------------------------------------------------------------------------------


class PriceVersion(SQLModel, table=True):
    """One immutable version of a price book. ``merchant_id`` is ``platform`` for the base book."""

    __tablename__ = "price_version"
    __table_args__ = _args(Index("price_version_effective", "merchant_id", "mode", "effective_us"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    id: str = _text()
    base_version: str | None = _text(nullable=True)
    """The platform's version that it marks up, if any."""
    markup_bps: int = _big()
    body: str = _text()
    """JSON: {model: {token type: price per token as a decimal string}}, and markups per model."""
    hash: str = _text()
    author: str = _text()
    note: str = _text()
    effective_us: int = _big()
    created_us: int = _big()


class UsageEvent(SQLModel, table=True):
    """One use of the reseller's API: dedupe, charge and record in one row, written with the charge.

    ``day`` is the partition and comes from the id's own time (days since 1970; 0 for an id without a time), so that
    the index grows at its end. ``source`` is "" for plain ids, ``seq:producer/epoch`` for sequences (under the day on
    which they arrived), ``src:`` and a CloudEvents source.
    """

    __tablename__ = "usage_event"
    __table_args__ = _args(Index("usage_event_wallet", "merchant_id", "mode", "wallet_id", "at_us"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    day: int = _big(primary_key=True)
    source: str = _text(primary_key=True)
    event_id: str = _text(primary_key=True)
    wallet_id: str = _text()
    model: str = _text()
    tokens: str = _text()
    """JSON of the quantities; "" where an amount was given."""
    status: str = _text()
    """accepted | rejected: a rejection is a result that lasts."""
    reason: str = _text()
    units: int = _big()
    """Charged, USD/9."""
    price_version: str = _text()
    hold_id: str | None = _text(nullable=True)
    fingerprint: str = _text()
    """Of the body: the same id with another body is a conflict."""
    period: str = _text()
    """The month that it belongs to; the month of ``recorded_us`` unless it came late."""
    flush_id: str = _text()
    """The fact of the journal entry that charged it, together with the others of its wallet and flush."""
    at_us: int = _big()
    recorded_us: int = _big()


class UsageProducer(SQLModel, table=True):
    """A bulk producer's watermark: every sequence below ``next_sequence`` is done, for ever."""

    __tablename__ = "usage_producer"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    producer: str = _text(primary_key=True)
    epoch: int = _big(primary_key=True)
    next_sequence: int = _big()
    updated_us: int = _big()


class UsageRollup(SQLModel, table=True):
    """Usage per wallet, booked day, model and period, summed as it arrives."""

    __tablename__ = "usage_rollup"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    wallet_id: str = _text(primary_key=True)
    day: int = _big(primary_key=True)
    model: str = _text(primary_key=True)
    period: str = _text(primary_key=True)
    events: int = _big()
    units: int = _big()
    tokens: str = _text()
    """JSON: sums by token type."""


class StatementClose(SQLModel, table=True):
    """A closed month of a book: later events of it are booked in the open one and say so."""

    __tablename__ = "statement_close"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    period: str = _text(primary_key=True)
    last_sequence: int = _big()
    """The last journal entry inside it."""
    totals: str = _text()
    closed_us: int = _big()


class Rerating(SQLModel, table=True):
    """A period priced again with another version: the differences, and whether they were posted."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    from_us: int = _big()
    to_us: int = _big()
    price_version: str = _text()
    report: str = _text()
    status: str = _text()
    """reported | posting | posted"""
    created_us: int = _big()


# --- the merchant's side --------------------------------------------------------------------------------------------


class Earning(SQLModel, table=True):
    """One day of a merchant's earnings on its way from pending to available and reserve."""

    __table_args__ = _args(
        Index("earning_due", "due_us", sqlite_where=text("status = 'pending'"),
              postgresql_where=text("status = 'pending'")),
        Index("earning_reserve_due", "reserve_due_us", sqlite_where=text("status = 'available'"),
              postgresql_where=text("status = 'available'")),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    day: int = _big(primary_key=True)
    units: int = _big()
    """What the day brought to ``merchant:pending``, net: it may be negative."""
    reserve_units: int = _big()
    """What was set aside when it matured."""
    left_units: int = _big(server_default="0")
    """Of it and the days before, what has not matured: money that was not there (or is owed), carried to the next day."""
    reserve_left_units: int = _big(server_default="0")
    """The same of the reserve, once it is released."""
    status: str = _text()
    """pending | available (the reserve is still kept) | released"""
    first_sequence: int = _big()
    last_sequence: int = _big()
    due_us: int = _big()
    reserve_due_us: int = _big()
    updated_us: int = _big()


class Payout(SQLModel, table=True):
    """Money out to a merchant, in two steps and by two people."""

    __table_args__ = _args(
        Index("payout_list", "merchant_id", "mode", "id"),
        Index("payout_id", "id"),
        Index("payout_of_batch", "batch_id"),
        Index("payout_waiting", "id", sqlite_where=text("status IN ('requested', 'sent')"),
              postgresql_where=text("status IN ('requested', 'sent')")),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    status: str = _text()
    """requested | sent | paid | failed | canceled | returned"""
    units: int = _big()
    """USD/9."""
    destination: str = _text()
    """JSON: where to, as the merchant's settings had it when it was asked for."""
    requested_by: str = _text()
    approved_by: str | None = _text(nullable=True)
    bank_reference: str | None = _text(nullable=True)
    failure: str | None = _text(nullable=True)
    created_us: int = _big()
    updated_us: int = _big()
    batch_id: str | None = _text(nullable=True)
    """The one file for the bank that it stands in."""
    batch_held: int = _big(server_default="0")
    """1: that batch's file is not out yet, so the payout neither ends nor fails by itself."""


class DestinationChange(SQLModel, table=True):
    """Where a merchant is paid to: every setting and every confirmation of it."""

    __tablename__ = "destination_change"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    kind: str = _text()
    """set | confirmed"""
    destination: str = _text()
    person: str = _text()
    at_us: int = _big()


class PayoutBatch(SQLModel, table=True):
    """Approved payouts that go to a bank as one file. The platform's: it holds payouts of many merchants of one mode."""

    __tablename__ = "payout_batch"
    __table_args__ = _args()
    id: str = _text(primary_key=True)
    mode: str = _text()
    status: str = _text()
    """built | approved | canceled"""
    content_hash: str = _text()
    """SHA-256 of the file, hex."""
    built_by: str = _text()
    approved_by: str | None = _text(nullable=True)
    canceled_by: str | None = _text(nullable=True)
    fetched_by: str | None = _text(nullable=True)
    """Who took the file first; from then on the batch cannot be canceled."""
    lines: int = _big()
    units: int = _big()
    """USD/9, of all lines."""
    created_us: int = _big()
    updated_us: int = _big()
    fetched_us: int | None = _big(nullable=True)


class PayoutFile(SQLModel, table=True):
    """What a batch says to the bank, byte for byte, as it was when it was built."""

    __tablename__ = "payout_file"
    __table_args__ = _args()
    batch_id: str = _text(primary_key=True)
    content: str = _text()


# --- money out on chains, and x402 ----------------------------------------------------------------------------------

LIVE_TRANSACTION: Final = "status IN ('built', 'signed', 'sent')"
LIVE_SWEEP: Final = "status IN ('fueling', 'moving')"


class ChainNonce(SQLModel, table=True):
    """The next number of a sender's transactions, where the chain numbers them. From here, never from a node."""

    __tablename__ = "chain_nonce"
    __table_args__ = _args()
    network: str = _text(primary_key=True)
    sender: bytes = Field(sa_type=LargeBinary, primary_key=True)
    next_nonce: int = _big()
    freed: str = _text(server_default="[]")
    """Numbers below it that were given back unsigned, JSON."""


class ChainTransaction(SQLModel, table=True):
    """A transaction of ours: its bytes are stored before anybody sends them, and never change."""

    __tablename__ = "chain_transaction"
    __table_args__ = _args(
        UniqueConstraint("network", "tx_hash"),
        UniqueConstraint("merchant_id", "subject_id", "purpose", "generation"),
        Index("chain_transaction_nonce", "network", "sender", "nonce", unique=True,
              sqlite_where=text("status <> 'void'"), postgresql_where=text("status <> 'void'")),
        Index("chain_transaction_one", "merchant_id", "subject_id", "purpose", unique=True,
              sqlite_where=text(LIVE_TRANSACTION), postgresql_where=text(LIVE_TRANSACTION)),
        Index("chain_transaction_live", "network", "id",
              sqlite_where=text(LIVE_TRANSACTION), postgresql_where=text(LIVE_TRANSACTION)),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    network: str = _text()
    purpose: str = _text()
    """fuel | sweep | refund | x402"""
    subject_id: str = _text()
    """The sweep, refund or attempt that it serves."""
    generation: int = _big()
    """Counts what took the place of a transaction that expired."""
    branch: str = _text()
    key_index: int = _big()
    recipient_index: int | None = _big(nullable=True)
    """The deposit address that is paid, where it is one."""
    sender: bytes = Field(sa_type=LargeBinary)
    recipient: bytes = Field(sa_type=LargeBinary)
    contract: bytes | None = Field(sa_type=LargeBinary, nullable=True)
    asset: str = _text()
    units: int = _big()
    raw_value: str = _text()
    nonce: int | None = _big(nullable=True)
    fee_max: str = _text()
    """Of the coin, raw."""
    expires_us: int | None = _big(nullable=True)
    unsigned: bytes = Field(sa_type=LargeBinary)
    signed: bytes | None = Field(sa_type=LargeBinary, nullable=True)
    tx_hash: str | None = _text(nullable=True)
    approvals: str = _text(server_default="[]")
    status: str = _text()
    """built | signed | sent | final | failed | expired | void"""
    note: str = _text(server_default="")
    """What the signer or a node said last."""
    block_number: int | None = _big(nullable=True)
    fee: str | None = _text(nullable=True)
    """What it cost, of the coin, raw."""
    created_us: int = _big()
    updated_us: int = _big()


class Sweep(SQLModel, table=True):
    """Tokens on their way from one deposit address to the treasury."""

    __table_args__ = _args(
        Index("sweep_one", "network", "address", "contract", unique=True,
              sqlite_where=text(LIVE_SWEEP), postgresql_where=text(LIVE_SWEEP)),
        Index("sweep_of_address", "network", "address"),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    network: str = _text()
    wallet_id: str = _text()
    address_index: int = _big()
    address: bytes = Field(sa_type=LargeBinary)
    contract: bytes = Field(sa_type=LargeBinary)
    asset: str = _text()
    units: int = _big()
    raw_value: str = _text()
    status: str = _text()
    """fueling | moving | done | failed"""
    note: str = _text(server_default="")
    created_us: int = _big()
    updated_us: int = _big()


class RefundAddress(SQLModel, table=True):
    """An address that a customer proved to be theirs; used only after it has cooled off."""

    __tablename__ = "refund_address"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    wallet_id: str = _text(primary_key=True)
    family: str = _text(primary_key=True)
    address: bytes = Field(sa_type=LargeBinary)
    proof: str = _text()
    """How it was proven, JSON."""
    confirmed_us: int = _big()


class ChainRefund(SQLModel, table=True):
    """Tokens on their way back to a customer."""

    __tablename__ = "chain_refund"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    network: str = _text()
    wallet_id: str = _text()
    address: bytes = Field(sa_type=LargeBinary)
    contract: bytes = Field(sa_type=LargeBinary)
    asset: str = _text()
    units: int = _big()
    raw_value: str = _text()
    status: str = _text()
    """moving | done | failed"""
    note: str = _text(server_default="")
    created_us: int = _big()
    updated_us: int = _big()


class Topup(SQLModel, table=True):
    """What an agent was asked to pay (x402). What it paid is seen by the scanner."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    wallet_id: str = _text()
    units: int = _big()
    offers: str = _text()
    """The payment requirements as they were offered, JSON."""
    expires_us: int = _big()
    created_us: int = _big()


class X402Attempt(SQLModel, table=True):
    """A payer's authorisation; each is settled once, whoever shows it how often."""

    __tablename__ = "x402_attempt"
    __table_args__ = _args(
        UniqueConstraint("merchant_id", "id"),
        Index("x402_attempt_topup", "merchant_id", "topup_id"),
        Index("x402_attempt_settling", "id", sqlite_where=text(SETTLING), postgresql_where=text(SETTLING)),
    )
    network: str = _text(primary_key=True)
    asset: bytes = Field(sa_type=LargeBinary, primary_key=True)
    payer: bytes = Field(sa_type=LargeBinary, primary_key=True)
    nonce: bytes = Field(sa_type=LargeBinary, primary_key=True)
    merchant_id: str = _text()
    id: str = _text()
    mode: str = _text()
    topup_id: str = _text()
    payload: str = _text()
    status: str = _text()
    """settling | settled | failed"""
    tx_hash: str | None = _text(nullable=True)
    reason: str = _text(server_default="")
    created_us: int = _big()
    updated_us: int = _big()


# --- what we tell the merchant, and what needs a person ---------------------------------------------------------------


class Event(SQLModel, table=True):
    """The outbox: written with the money, delivered later. ``sequence`` is gapless per merchant and mode."""

    __table_args__ = _args(UniqueConstraint("merchant_id", "mode", "id"))
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    sequence: int = _big(primary_key=True)
    id: str = _text()
    type: str = _text()
    object_id: str = _text()
    body: str = _text()
    created_us: int = _big()


class WebhookEndpoint(SQLModel, table=True):
    __tablename__ = "webhook_endpoint"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    url: str = _text()
    secret: str = _text()
    event_types: str = _text()
    status: str = _text()
    """enabled | disabled | deleted"""
    cursor: int = _big()
    """Events up to this sequence have delivery rows."""
    created_us: int = _big()
    ordered: int = _big(server_default="0")
    """1: an event waits until the one before it was delivered or given up."""
    old_secret_ends_us: int | None = _big(nullable=True)
    """Until when the second secret of ``secret`` signs as well."""
    failing_since_us: int | None = _big(nullable=True)
    """The first failed attempt since the last one that was taken."""
    disabled_reason: str = _text(server_default="")
    """gone (it answered 410) | failing (for days) | asked; empty while it is enabled"""


class Delivery(SQLModel, table=True):
    __table_args__ = _args(
        Index("delivery_due", "next_try_us", sqlite_where=text("status = 'waiting'"),
              postgresql_where=text("status = 'waiting'")),
        Index("delivery_busy", "endpoint_id", "next_try_us", "sequence", sqlite_where=text("status = 'waiting'"),
              postgresql_where=text("status = 'waiting'")),
        Index("delivery_waiting", "merchant_id", "endpoint_id", "sequence", sqlite_where=text("status = 'waiting'"),
              postgresql_where=text("status = 'waiting'")),
    )  # fmt: skip
    merchant_id: str = _text(primary_key=True)
    endpoint_id: str = _text(primary_key=True)
    sequence: int = _big(primary_key=True)
    mode: str = _text()
    event_id: str = _text()
    status: str = _text()
    """waiting | delivered | failed"""
    tries: int = _big()
    next_try_us: int = _big()
    updated_us: int = _big()


class DeliveryAttempt(SQLModel, table=True):
    __tablename__ = "delivery_attempt"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    endpoint_id: str = _text(primary_key=True)
    sequence: int = _big(primary_key=True)
    number: int = _big(primary_key=True)
    http_status: int | None = _big(nullable=True)
    note: str = _text()
    duration_ms: int = _big()
    at_us: int = _big()
    answer: str = _text(server_default="")
    """How the endpoint's answer began, as text."""


class Review(SQLModel, table=True):
    """Something that needs a person."""

    __table_args__ = _args(
        Index("review_open", "merchant_id", "mode", "status", "id"),
        Index("review_id", "id"),
        Index("review_subject", "merchant_id", "subject"),
        Index("review_waits", "created_us", sqlite_where=text(OPEN_REVIEW), postgresql_where=text(OPEN_REVIEW)),
    )
    merchant_id: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    mode: str = _text()
    reason: str = _text()
    subject: str = _text()
    payment_id: str | None = _text(nullable=True)
    status: str = _text()
    """open | resolved"""
    evidence: str = _text()
    created_us: int = _big()
    resolved_us: int | None = _big(nullable=True)
    action: str = _text(server_default="")
    """What was decided; empty where the matter ended by itself."""
    note: str = _text(server_default="")
    resolved_by: str = _text(server_default="")
    outcome: str = _text(server_default="{}")
    """JSON: what the action did."""


class Idempotency(SQLModel, table=True):
    """A POST with an Idempotency-Key: started first, answered with the effect."""

    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    route: str = _text(primary_key=True)
    key: str = _text(primary_key=True)
    fingerprint: str = _text()
    resource_id: str = _text()
    status: int | None = _big(nullable=True)
    answer: str | None = _text(nullable=True)
    created_us: int = _big()
    touched_us: int = _big()


# --- routing rules as versions --------------------------------------------------------------------------------------


class RulesetVersion(SQLModel, table=True):
    """A set of routing rules that was in force or on trial, by the hash of its content. It never changes."""

    __tablename__ = "ruleset_version"
    __table_args__ = _args()
    hash: str = _text(primary_key=True)
    canonical: str = _text()
    """The ``routing:`` block as JSON in one order; loading it gives the same rules again."""
    parent: str | None = _text(nullable=True)
    """What was in force when it came."""
    author: str = _text()
    message: str = _text()
    created_us: int = _big()


class RulesetChange(SQLModel, table=True):
    """What was done to the rules, by whom: the history."""

    __tablename__ = "ruleset_change"
    __table_args__ = _args()
    number: int = _big(primary_key=True)
    kind: str = _text()
    """file | apply | rollback | trial | promote | stop | guard"""
    hash: str = _text()
    """In force afterwards; of a trial: the draft."""
    previous: str | None = _text(nullable=True)
    author: str = _text()
    message: str = _text()
    created_us: int = _big()


class RulesetState(SQLModel, table=True):
    """One row: which rules are in force."""

    __tablename__ = "ruleset_state"
    __table_args__ = _args()
    id: str = _text(primary_key=True)
    active_hash: str = _text()
    file_hash: str = _text()
    """The rules of config.yaml when this was decided: another file later is a new decision, the same one is not."""
    changes: int = _big()
    trial: int | None = _big(nullable=True)
    """The trial that runs."""
    updated_us: int = _big()


class RulesetTrial(SQLModel, table=True):
    """A draft that decides for a part of the customers (canary), or beside the rules in force for nobody (shadow)."""

    __tablename__ = "ruleset_trial"
    __table_args__ = _args()
    number: int = _big(primary_key=True)
    kind: str = _text()
    """canary | shadow"""
    hash: str = _text()
    base_hash: str = _text()
    percent: int = _big()
    guards: str = _text()
    status: str = _text()
    """running | promoted | rolled_back | stopped"""
    reason: str = _text()
    figures: str = _text()
    """JSON: what the guards saw last, or what the shadow counted."""
    author: str = _text()
    message: str = _text()
    started_us: int = _big()
    ended_us: int | None = _big(nullable=True)


class MerchantRules(SQLModel, table=True):
    """A merchant's own rules, which refine the platform's. The newest number holds; older ones are its history."""

    __tablename__ = "merchant_rules"
    __table_args__ = _args()
    merchant_id: str = _text(primary_key=True)
    mode: str = _text(primary_key=True)
    number: int = _big(primary_key=True)
    hash: str = _text()
    body: str = _text()
    """JSON; an empty list of rules takes the overlay away."""
    author: str = _text()
    created_us: int = _big()


class RateHistory(SQLModel, table=True):
    """Every agreed mid rate as it was first seen: what quotes are checked against, and the chart."""

    __tablename__ = "rate_history"
    __table_args__ = _args()
    base: str = _text(primary_key=True)
    quote: str = _text(primary_key=True)
    as_of_us: int = _big(primary_key=True)
    rate: str = _text()
    """An exact fraction: ``5409/1000``."""
    sources: str = _text()
    """JSON: names of the sources that agreed, the winner first."""
    seen_us: int = _big()
