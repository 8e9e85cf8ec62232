"""Buyers of the demo: what each does with a browser or a wallet, over the public API and the simulators' pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp

from orchestrator.cli.console import Failure

PATIENCE_S = 25.0
GOOD_CARD: Mapping[str, Any] = {"card": "4242424242424242"}
DECLINED_CARD: Mapping[str, Any] = {"card": "4000000000000002"}
PAID: Mapping[str, Any] = {"outcome": "paid"}


@dataclass(frozen=True, slots=True)
class Buyer:
    """One story."""

    country: str
    story: str
    method: str
    """The first offer that this country should see."""
    amount: str = "20.00"
    pays: Mapping[str, Any] | None = None
    """What is typed on the rail's page; None: sends the tokens."""
    fault: tuple[str, Mapping[str, Any]] | None = None
    """(rail account, switches of its simulator), set just before."""
    declined_first: bool = False
    reorg_blocks: int = 0
    """So many of the chain's newest blocks are replaced after the transfer was seen; it is mined again in another."""


BUYERS = (
    Buyer("DE", "card", "card", pays=GOOD_CARD),
    Buyer("BR", "Pix", "pix", pays=PAID),
    Buyer("NL", "iDEAL", "ideal", pays=PAID),
    Buyer("PH", "GCash", "gcash", amount="12.50", pays=PAID),
    Buyer("VN", "USDT on TRON", "usdt_tron"),
    Buyer("NG", "USDT on BNB Smart Chain", "usdt_bsc", amount="50.00"),
    Buyer("FR", "card declined, next offer", "card", pays=DECLINED_CARD, declined_first=True),
    Buyer("GB", "every webhook three times", "card", pays=GOOD_CARD, fault=("stripe/main", {"duplicate_webhooks": 2})),
    Buyer("VN", "USDT, the chain reorganizes", "usdt_tron", reorg_blocks=3),
    Buyer("IT", "the rail's answer was lost", "card", pays=GOOD_CARD, fault=("stripe/main", {"drop_answer": 1})),
)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of one buyer."""

    buyer: Buyer
    rail: str
    method: str
    quoted: Mapping[str, str]
    credited: Mapping[str, str]
    seconds_to_credit: float
    state: str
    payment: str = ""

    @property
    def ok(self) -> bool:
        """Credited in full, by the method that the story wants."""
        in_full = float_free(self.credited["amount"]) == float_free(self.buyer.amount)
        as_told = self.buyer.declined_first or self.method == self.buyer.method
        return self.state == "credited" and in_full and as_told

    def to_json(self) -> dict[str, Any]:
        return {
            "country": self.buyer.country,
            "story": self.buyer.story,
            "rail": self.rail,
            "method": self.method,
            "quoted": dict(self.quoted),
            "credited": dict(self.credited),
            "seconds_to_credit": round(self.seconds_to_credit, 2),
            "state": self.state,
        }

    def row(self) -> tuple[str, ...]:
        quoted, credited = (f"{money['amount']} {money['currency']}" for money in (self.quoted, self.credited))
        seconds = f"{self.seconds_to_credit:.1f}"
        return (self.buyer.country, self.buyer.story, self.rail, self.method, quoted, credited, seconds, self.state)


def float_free(text: str) -> tuple[str, str]:
    """Compare amounts as text, whatever zeros they end with."""
    whole, _, part = text.partition(".")
    return whole, part.rstrip("0")


@dataclass(slots=True)
class Shop:
    """A reseller's backend, ten lines of which are real: session, link, wait."""

    http: aiohttp.ClientSession
    url: str
    key: str
    sandbox_url: str
    merchant: str

    @classmethod
    async def open(cls, http: aiohttp.ClientSession, url: str, admin_token: str, sandbox_url: str) -> Self:
        """Make a merchant and a test key."""
        shop = cls(http, url, admin_token, sandbox_url, "")
        merchant = await shop.call("POST", "/v1/merchants", {"name": "Demo reseller"})
        key = await shop.call("POST", "/v1/keys", {"merchant": merchant["id"], "mode": "test"})
        return cls(http, url, key["secret"], sandbox_url, merchant["id"])

    async def call(self, verb: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call the API. Raises Failure with the problem's own words."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with self.http.request(verb, self.url + path, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
            if response.status >= 400:
                raise Failure(f"{verb} {path}: {answer.get('code')}: {answer.get('detail')}")
            return answer

    async def subscribe(self, url: str) -> str:
        """Ask for every event at ``url``; return the secret that signs them."""
        endpoint = await self.call("POST", "/v1/webhook_endpoints", {"url": url, "event_types": ["*"]})
        secret: str = endpoint["secret"]
        return secret

    @staticmethod
    def customer_of(buyer: Buyer) -> tuple[str, str]:
        """Return how the reseller calls this buyer, and the country."""
        return f"demo-{buyer.country}-{buyer.story}", buyer.country

    async def play(self, buyer: Buyer) -> Played:
        """Take one buyer from session to credit."""
        if buyer.fault is not None:
            await self._switch(*buyer.fault)
        reference, country = self.customer_of(buyer)
        customer = {"reference": reference, "country": country}
        money = {"amount": buyer.amount, "currency": "USD"}
        session = await self.call("POST", "/v1/checkout/sessions", {"customer": customer, "amount": money})
        offer = session["offers"][0]
        action, payment = await self._select(session["id"], offer["id"])
        started = time.monotonic()
        await self._pay(offer, action, buyer.pays)
        if buyer.declined_first:
            offer, action = await self._fall_over(session)
            await self._pay(offer, action, None)
        if buyer.reorg_blocks:
            await self._wait(payment, lambda seen: seen["status"] == "processing")
            account = offer["method"].partition("_")[2]
            await self._control(f"{offer['rail']}/{account}", {"reorg": buyer.reorg_blocks, "requeue": True})
        final = await self._wait(payment, lambda seen: seen["status"] == "credited")
        seconds = time.monotonic() - started
        return Played(
            buyer, offer["rail"], offer["method"], offer["price"], final["credited"], seconds, final["status"], payment
        )

    async def _select(self, session: str, offer: str) -> tuple[Mapping[str, Any], str]:
        """Choose an offer; where the rail's answer was lost, wait until it is known what to do."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            chosen = await self.call("POST", f"/v1/checkout/sessions/{session}/select", {"offer": offer})
            if chosen["next_action"]["type"] != "none" or time.monotonic() > deadline:
                return chosen["next_action"], chosen["payment"]
            await asyncio.sleep(0.3)

    async def _fall_over(self, session: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """After a decline: take the offer that the session suggests."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = await self.call("GET", f"/v1/checkout/sessions/{session['id']}")
            if seen.get("suggested_offer"):
                break
            if time.monotonic() > deadline:
                raise Failure(f"{session['id']}: the decline never led to another offer")
            await asyncio.sleep(0.1)
        offer = next(one for one in session["offers"] if one["id"] == seen["suggested_offer"])
        action, _ = await self._select(session["id"], offer["id"])
        return offer, action

    async def _pay(self, offer: Mapping[str, Any], action: Mapping[str, Any], typed: Mapping[str, Any] | None) -> None:
        match action["type"]:
            case "redirect":
                headers = {"Accept": "application/json"}
                async with self.http.post(action["url"], json=typed, headers=headers) as response:
                    if response.status >= 500:
                        raise Failure(f"{action['url']}: {response.status} {await response.text()}")
            case "deposit_address":
                account = offer["method"].partition("_")[2]
                sent = {"token": "USDT", "to": action["address"], "amount": action["amount"]["amount"]}
                await self._control(f"{offer['rail']}/{account}", {"pay": sent})
            case other:
                raise Failure(f"{offer['method']}: nothing to do for the buyer ({other})")

    async def _switch(self, account: str, switches: Mapping[str, Any]) -> None:
        await self._control(account, switches)

    async def _control(self, account: str, body: Mapping[str, Any]) -> None:
        async with self.http.post(f"{self.sandbox_url}/{account}/_control", json=body) as response:
            if response.status >= 400:
                raise Failure(f"{account}/_control: {response.status} {await response.text()}")

    async def _wait(self, payment: str, until: Any) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            seen = await self.call("GET", f"/v1/payments/{payment}")
            if until(seen) or time.monotonic() > deadline:
                return seen
            await asyncio.sleep(0.1)
