"""From what was read to what the payment page says, in the buyer's language."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import segno
from markupsafe import Markup

from adapters.catalogue import methods
from orchestrator.clock import from_us
from orchestrator.papers import formatting as show
from orchestrator.payments.offers import Offer, offers_of
from orchestrator.payments.outcome import Rails
from orchestrator.web.locales import Language
from orchestrator.web.phase import CHANGING, CHOOSING, FINAL, WAITING, Phase, phase_of
from orchestrator.web.sight import Seen, Sight
from rates.money import WALLET_USD, Asset, Money, display_asset

NETWORKS: Final = {
    "tron": ("TRON", "TRC20"),
    "bsc": ("BNB Smart Chain", "BEP20"),
    "ethereum": ("Ethereum", "ERC20"),
}
"""Name and token standard: exchanges ask for one or the other."""
POLL_MS: Final = 1500
POLL_IDLE_MS: Final = 6000
HIGHLIGHTED: Final = 5
"""Characters at each end of an address that a buyer should compare."""


@dataclass(frozen=True, slots=True)
class OfferCard:
    id: str
    name: str
    hint: str
    price: str
    lines: tuple[tuple[str, str], ...]
    rate: str
    rate_as_of: str
    usually: str
    suggested: bool


@dataclass(frozen=True, slots=True)
class DepositPanel:
    address: str
    head: str
    middle: str
    tail: str
    network: str
    token: str
    amount: str
    """With its token, for reading."""
    amount_plain: str
    """Digits and a point, for copying."""
    minimum: str
    qr: Markup
    wallet_uri: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One transfer on its way."""

    amount: str
    count: int
    needed: int
    credited: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """Everything the template reads."""

    phase: Phase
    revision: str
    poll_ms: int
    amount: str
    merchant: str
    offers: tuple[OfferCard, ...]
    until: datetime
    until_text: str
    chosen: str
    """Name of the method that was chosen last."""
    chosen_price: str
    pay_url: str
    deposit: DepositPanel | None
    progress: tuple[Progress, ...]
    credited: str
    received: str
    missing: str
    decline: str
    """The rail's words, in English."""
    hint: str
    """What to do after a decline."""
    success_url: str
    cancel_url: str


def method_name(method: str, language: Language) -> str:
    token, network = _token(method)
    if token:
        return f"{token} · {NETWORKS.get(network, (network.title(), ''))[0]}"
    if language.has(f"method.{method}"):
        return language.text(f"method.{method}")
    known = methods().get(method)  # a name of its own is the same in every language
    return method.replace("_", " ").title() if known is None else known.name


def _hint(method: str, language: Language) -> str:
    token, network = _token(method)
    if token:
        _, standard = NETWORKS.get(network, ("", ""))
        return f"{standard} · {language.text('hint.token')}" if standard else language.text("hint.token")
    key = f"hint.{method}"
    return language.text(key) if language.has(key) else ""


def _token(method: str) -> tuple[str, str]:
    token, _, network = method.partition("_")
    return (token.upper(), network) if token in {"usdt", "usdc"} and network else ("", "")


def web_address(url: str | None) -> str:
    """Return an address that a browser may be sent to, or nothing: never ``javascript:``."""
    return url if url and urlsplit(url).scheme in {"http", "https"} else ""


def panel_of(sight: Sight, rails: Rails, language: Language) -> Panel:
    """Build the page of one session."""
    session, payment, attempt, action = sight.session, sight.payment, sight.attempt, sight.action
    offers = offers_of(session)
    phase = phase_of(
        session=session["status"],
        over=sight.over,
        payment=payment["status"] if payment else None,
        attempt=attempt["status"] if attempt else None,
        action=action["type"] if action else None,
    )
    chosen = next((offer for offer in offers if attempt and offer.id == attempt["offer_id"]), None)
    decline = orjson.loads(attempt["decline"]) if attempt and attempt["decline"] else None
    suggested = session["suggested_offer"] if phase in CHOOSING else None
    listed = _listed(phase, offers, chosen, decline, suggested)
    locale = language.locale
    on_chain = action is not None and action["type"] == "deposit_address" and phase in {Phase.DEPOSIT, Phase.PARTIAL}
    # What is on its way need not be sent again: only the rest is asked for, or nothing.
    due = _missing(sight) - _on_its_way(sight)
    until = from_us(session["expires_us"])
    return Panel(
        phase=phase,
        revision=_revision(phase, sight),
        poll_ms=0 if phase in FINAL else POLL_MS if phase in WAITING else POLL_IDLE_MS,
        amount=show.money(Money(session["amount_units"], WALLET_USD), locale),
        merchant=sight.merchant,
        offers=tuple(_card(offer, language, suggested) for offer in listed),
        until=until,
        until_text=show.moment_utc(until, locale),
        chosen=method_name(chosen.method, language) if chosen else "",
        chosen_price=show.money(chosen.price.total, locale) if chosen else "",
        pay_url=web_address(action.get("url")) if action else "",
        deposit=_deposit(action, chosen, rails, due, language)
        if on_chain and action and chosen and due.units > 0
        else None,
        progress=tuple(_progress(seen, language) for seen in sight.seen if seen.deposit["status"] != "orphaned"),
        credited=show.money(Money(payment["credited_units"], WALLET_USD), locale) if payment else "",
        received=_units(sight, "received", language),
        missing=_units(sight, "missing", language),
        decline=language.refusal(decline["message"]) if decline and phase is Phase.DECLINED else "",
        hint=_what_now(decline, chosen, suggested, offers, language),
        success_url=web_address(session["success_url"]),
        cancel_url=web_address(session["cancel_url"]),
    )


def _revision(phase: Phase, sight: Sight) -> str:
    """Name what the page shows: another name, another page."""
    parts = [
        phase.value,
        sight.session["status"],
        str(sight.session["suggested_offer"]),
        str(sight.payment["fact_count"] if sight.payment else 0),
        str((sight.attempt["id"], sight.attempt["status"]) if sight.attempt else ""),
        *(f"{seen.deposit['id']}:{seen.deposit['status']}:{seen.confirmations}" for seen in sight.seen),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _stops(decline: Mapping[str, Any] | None, chosen: Offer | None) -> bool:
    """Say whether the rule ends here after this decline: nobody is asked next."""
    return decline is not None and chosen is not None and chosen.on_decline.get(decline["severity"], "stop") == "stop"


def _listed(
    phase: Phase, offers: list[Offer], chosen: Offer | None, decline: Mapping[str, Any] | None, suggested: str | None
) -> list[Offer]:
    if phase is Phase.DECLINED and _stops(decline, chosen):
        return [
            offer for offer in offers if offer.id == suggested
        ]  # the same once more, where the bank wants to see him
    if phase in CHOOSING:
        return offers
    return [offer for offer in offers if offer != chosen] if phase in CHANGING else []


def _what_now(
    decline: Mapping[str, Any] | None, chosen: Offer | None, suggested: str | None, offers: list[Offer], words: Language
) -> str:
    if decline is None:
        return ""
    following = next((offer for offer in offers if offer.id == suggested), None)
    if following is not None and following == chosen:
        return words.text("declined.step_up", method=method_name(following.method, words))
    if following is not None:
        return words.text("declined.suggested", method=method_name(following.method, words))
    return words.text("declined.stop" if _stops(decline, chosen) else "declined.again")


def _card(offer: Offer, language: Language, suggested: str | None) -> OfferCard:
    locale = language.locale
    quote = offer.quote
    rate = as_of = ""
    if quote is not None:
        rate = language.text(
            "rate", rate=show.rate(quote["mid"], locale), currency=offer.price.total.asset.code
        )  # the mid: what the spread costs is a line of its own
        as_of = language.text("rate_as_of", date=show.day(datetime.fromisoformat(quote["as_of"]), locale))
    return OfferCard(
        id=offer.id,
        name=method_name(offer.method, language),
        hint=_hint(offer.method, language),
        price=show.money(offer.price.total, locale),
        lines=tuple(
            (language.text(f"line.{name}"), show.money(line, locale))
            for name, line in offer.price.local_lines()
            if line.units
        ),
        rate=rate,
        rate_as_of=as_of,
        usually=language.text("usually", time=show.span(offer.expected_seconds, locale)),
        suggested=offer.id == suggested,
    )


def _deposit(action: Mapping[str, Any], chosen: Offer, rails: Rails, due: Money, language: Language) -> DepositPanel:
    address = action["address"]
    adapter = rails.get((chosen.rail, chosen.account))
    least = next(
        (c.amount_min.get(due.asset.code) for c in adapter.capabilities if c.method == chosen.method), None
    ) if adapter else None  # fmt: skip
    return DepositPanel(
        address=address,
        head=address[:HIGHLIGHTED],
        middle=address[HIGHLIGHTED:-HIGHLIGHTED],
        tail=address[-HIGHLIGHTED:],
        network=action["network"],
        token=action["token"],
        amount=show.money(due, language.locale),
        amount_plain=due.decimal(2),
        minimum=show.money(least, language.locale) if least is not None else "",
        qr=qr_svg(action["qr"]),
        wallet_uri=action["wallet_uri"] if urlsplit(action["wallet_uri"]).scheme in {"ethereum", "tron"} else "",
    )


def qr_svg(text: str) -> Markup:
    """Return a QR code as SVG, black on white in either colour scheme."""
    svg = segno.make(text, error="m").svg_inline(border=3, omitsize=True, light="#fff", svgclass="qr", lineclass=None)
    return Markup(svg)  # noqa: S704  # segno's own drawing: the text is in it as dots only


def _progress(seen: Seen, language: Language) -> Progress:
    amount = Money(seen.deposit["units"], Asset.parse(seen.deposit["asset"]))
    credited = seen.deposit["status"] == "credited"  # provisional credit can be used, and is still being confirmed
    return Progress(show.money(amount, language.locale), seen.confirmations, seen.needed, credited)


def _on_its_way(sight: Sight) -> Money:
    """Return what was seen for the last attempt and is not credited yet."""
    attempt, asset = sight.attempt, _missing(sight).asset
    ours = [seen.deposit for seen in sight.seen if attempt is not None and seen.deposit["attempt_id"] == attempt["id"]]
    return Money(sum(row["units"] for row in ours if row["status"] in {"detected", "provisional"}), asset)


def _missing(sight: Sight) -> Money:
    attempt = sight.attempt
    if attempt is None:
        return Money.zero(display_asset("USD"))
    return Money(attempt["units"] - attempt["received_units"], Asset.parse(attempt["asset"]))


def _units(sight: Sight, which: str, language: Language) -> str:
    attempt = sight.attempt
    if attempt is None:
        return ""
    received = Money(attempt["received_units"], Asset.parse(attempt["asset"]))
    return show.money(received if which == "received" else _missing(sight), language.locale)
