"""Checkout sessions: create, look, choose an offer, expire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from pydantic import ConfigDict, Field, model_validator
from sqlalchemy import select

from orchestrator.api.callers import SESSION_SCOPE
from orchestrator.api.endpoint import Answer, Auth, Context, Endpoint
from orchestrator.api.fields import Body, CountryText, CurrencyText, MoneyBody, Shown, check_currency
from orchestrator.clock import rfc3339
from orchestrator.database.tables import CheckoutSession, Customer, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.client_secret import client_secret, page_url
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import Offer, offers_shown
from orchestrator.payments.story import usd_body
from orchestrator.payments.wallets import find_wallet
from orchestrator.routing.countries import country_hint, is_country
from orchestrator.services import Services
from rates.money import WALLET_USD

Url = Annotated[str, Field(pattern=r"^https?://[^\s/?#]+[^\s]*$", max_length=2000)]
MethodText = Annotated[str, Field(pattern=r"^[a-z0-9_]{2,40}$", examples=["pix"])]
Metadata = dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=500)]]
Reference = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]


def check_country(code: str, pointer: str) -> None:
    """Raise Invalid for two letters that are no country."""
    if not is_country(code):
        hint = country_hint(code)
        text = f"{code} is no ISO 3166-1 country" + (f": {hint}" if hint else "")
        raise Invalid("country_unknown", text, pointer=pointer)


class CustomerBody(Body):
    """The merchant's own name for a customer, and where the customer is."""

    reference: Reference
    country: CountryText
    email: str | None = Field(default=None, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")

    def ref(self, merchant_id: str, mode: str, *, pointer: str = "/customer") -> CustomerRef:
        """Return it as payments know it. Raises Invalid for a country that is none."""
        check_country(self.country, f"{pointer}/country")
        return CustomerRef(merchant_id, mode, self.reference, self.country, self.email)


class CreateSession(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "customer": {"reference": "alice", "country": "BR"},
                    "amount": {"amount": "20.00", "currency": "USD"},
                    "success_url": "https://shop.example/done",
                }
            ]
        }
    )

    customer: CustomerBody | None = None
    wallet: str | None = Field(default=None, pattern=r"^wal_[0-9a-f]{32}$", description="Instead of `customer`.")
    amount: MoneyBody = Field(description="What shall reach the wallet, in USD.")
    methods: list[MethodText] | None = Field(
        default=None,
        min_length=1,
        max_length=50,
        description="Only these methods (`usdt` stands for all of that token).",
    )
    currency: CurrencyText | None = Field(
        default=None,
        description="What the buyer asks to be charged in; a method that cannot charge it takes what is usual there.",
    )
    risk: Literal["low", "medium", "high"] | None = Field(
        default=None, description="How you see this buyer: routing rules may ask for it."
    )
    locale: str = Field(
        default="", pattern=r"^([a-z]{2,3}([-_][A-Za-z0-9]{2,8})*)?$", description="Of the hosted page."
    )
    success_url: Url | None = None
    cancel_url: Url | None = None
    metadata: Metadata = Field(default_factory=dict, max_length=20)
    save_method: bool = Field(
        default=False,
        description="Let the customer save the method on the rail's page, for auto top-ups; rails that cannot ignore it.",
    )
    expires_in: int | None = Field(default=None, gt=0, description="Seconds.")

    @model_validator(mode="after")
    def _whose(self) -> CreateSession:
        if (self.customer is None) == (self.wallet is None):
            raise ValueError("send either customer or wallet")
        return self


class SelectOffer(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"offer": "off_0199f3a0c0de7d0f8a3b5c7d9e1f2a3b"}]})

    offer: str = Field(pattern=r"^off_[0-9a-f]{32}$")
    client_secret: str | None = Field(
        default=None, max_length=300, description="Of the session, where a page sends no Authorization header."
    )


class LineShown(Shown):
    type: str
    amount: str
    currency: str


class OfferShown(Shown):
    id: str
    method: str
    rail: str
    price: dict[str, str]
    lines: list[LineShown] = Field(description="They add up to the price, always.")
    quote: dict[str, Any] | None = Field(description="The locked rate; null where dollars are charged.")
    expected_seconds: int


class SessionShown(Shown):
    id: str
    url: str = Field(description="The hosted page: send the customer there.")
    client_secret: str
    status: str = Field(description="open | complete | expired")
    expires_at: str
    amount: dict[str, str]
    customer: str
    wallet: str
    country: str
    offers: list[OfferShown]
    decision: str
    payment: str | None
    suggested_offer: str | None = Field(description="After a decline: what the rules say comes next.")
    metadata: dict[str, str] = Field(description="The merchant's own; empty for who came with the client_secret.")
    livemode: bool
    created_at: str


class SelectedShown(Shown):
    payment: str
    attempt: str
    status: str
    next_action: dict[str, Any]
    decline: dict[str, Any] | None = None
    suggested_offer: str | None = None


def session_shown(services: Services, row: Row, offers: list[Offer] | None = None) -> dict[str, Any]:
    """Return a session as the API shows it. ``offers``: those that it stores, where they are at hand."""
    secret = client_secret(services.secrets.server, row["id"])
    return {
        "id": row["id"],
        "url": page_url(services.settings.service.public_url, row["id"], secret),
        "client_secret": secret,
        "status": row["status"],
        "expires_at": rfc3339(row["expires_us"]),
        "amount": usd_body(row["amount_units"]),
        "customer": row["customer_id"],
        "wallet": row["wallet_id"],
        "country": row["country"],
        "offers": offers_shown(row) if offers is None else [offer.shown() for offer in offers],
        "decision": row["decision_id"],
        "payment": row["payment_id"],
        "suggested_offer": row["suggested_offer"],
        "metadata": orjson.loads(row["metadata_json"]),
        "livemode": row["mode"] == "live",
        "created_at": rfc3339(row["created_us"]),
    }


async def create_session(context: Context[Services], body: CreateSession) -> Answer:
    services = context.services
    if body.currency is not None:
        check_currency(body.currency, "/currency")
    repeated = "Idempotency-Key" in context.request.headers
    new = NewSession(
        customer=await _customer(context, body),
        amount=body.amount.money(WALLET_USD, pointer="/amount"),
        methods=known_methods(services, body.methods),
        currency=body.currency,
        risk=body.risk,
        locale=body.locale,
        success_url=body.success_url,
        cancel_url=body.cancel_url,
        metadata=body.metadata,
        expires_in_s=body.expires_in,
        save_method=body.save_method,
        session_id=context.resource_id if repeated else None,
    )
    made = await services.checkout.make(new)
    return Answer(session_shown(services, made.row, made.offers))


async def _customer(context: Context[Services], body: CreateSession) -> CustomerRef:
    if body.customer is not None:
        return body.customer.ref(context.merchant_id, context.mode)
    assert body.wallet is not None, "the model asks for one of the two"
    reads = context.services.reads
    wallet = await find_wallet(reads, context.merchant_id, context.mode, body.wallet)
    table = table_of(Customer)
    reference = wallet["customer_reference"]
    row = await reads.one(
        select(table).where(
            table.c.merchant_id == context.merchant_id, table.c.mode == context.mode, table.c.reference == reference
        )
    )
    assert row is not None, "a wallet has its customer"
    return CustomerRef(context.merchant_id, context.mode, reference, row["country"], row["email"])


def known_methods(services: Services, asked: list[str] | None, *, pointer: str | None = None) -> frozenset[str] | None:
    """Return the methods that were asked for. Raises Invalid where no rail offers one."""
    if asked is None:
        return None
    known = set(services.routing.catalogue.words())
    for index, method in enumerate(asked):
        if method not in known:
            text = f"no rail here offers {method!r}; offered: {', '.join(sorted(known))}"
            raise Invalid("method_unknown", text, pointer=pointer or f"/methods/{index}")
    return frozenset(asked)


async def _find(context: Context[Services]) -> Row:
    table = table_of(CheckoutSession)
    row = await context.services.reads.one(
        select(table).where(
            table.c.merchant_id == context.merchant_id, table.c.id == context.path["id"], table.c.mode == context.mode
        )
    )
    if row is None:
        raise NotFound("session_not_found", f"there is no checkout session {context.path['id']}")
    return row


async def get_session(context: Context[Services]) -> Answer:
    shown = session_shown(context.services, await _find(context))
    if SESSION_SCOPE in context.caller.scopes:  # a buyer's page: what the merchant noted is not for it
        shown["metadata"] = {}
    return Answer(shown)


async def select_offer(context: Context[Services], body: SelectOffer) -> Answer:
    selection = context.services.selection
    return Answer(await selection.select(context.merchant_id, context.mode, context.path["id"], body.offer))


async def expire_session(context: Context[Services]) -> Answer:
    row = await _find(context)
    services = context.services
    expired = await services.checkout.expire(context.merchant_id, context.mode, row["id"])
    if expired["status"] == "complete":
        raise Conflict("session_complete", "this checkout session is paid: it cannot expire any more")
    if expired["payment_id"] is not None:
        await services.expiry.closing.close_expired(context.merchant_id, expired["payment_id"])
    return Answer(session_shown(services, expired))


ENDPOINTS = (
    Endpoint("POST", "/v1/checkout/sessions", create_session, summary="Create a checkout session", tag="Checkout",
             body=CreateSession, answer=SessionShown, status=201, creates="cs", refusals=(403, 404)),
    Endpoint("GET", "/v1/checkout/sessions/{id}", get_session, summary="Look at a checkout session", tag="Checkout",
             auth=Auth.SESSION, scopes=("read", "session"), answer=SessionShown),
    Endpoint("POST", "/v1/checkout/sessions/{id}/select", select_offer, summary="Choose an offer", tag="Checkout",
             auth=Auth.SESSION, scopes=("write", "session"), body=SelectOffer, answer=SelectedShown, refusals=(409,)),
    Endpoint("POST", "/v1/checkout/sessions/{id}/expire", expire_session, summary="Expire a checkout session",
             tag="Checkout", answer=SessionShown, refusals=(409,)),
)  # fmt: skip
