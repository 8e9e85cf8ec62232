"""Who lives through a storm: buyers who top up, a backend that charges and refunds. Each asks until it is answered.

What was answered, and what a buyer's own bank or wallet said, is written down: the books must say the same in the end.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import uuid4

import aiohttp

from tests.storm.place import ADMIN_TOKEN, Place

CALL: Final = aiohttp.ClientTimeout(total=8)
COUNTRIES: Final = ("DE", "BR", "NL", "PH", "VN", "NG")
CARDS: Final = ("4242424242424242", "4242424242424242", "4242424242424242", "4000000000000002")
SPEND: Final = Decimal("0.000123")
NOT_FOR_GOOD: Final = frozenset({408, 409, 425, 429})


class Refused(Exception):
    """The API said no, and meant it."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {body.get('code')}: {body.get('detail')}")
        self.code = str(body.get("code"))


@dataclass
class Client:
    """A reseller's backend: any process will do; the same request under the same key until there is an answer."""

    place: Place
    http: aiohttp.ClientSession
    random: Random
    key: str = ADMIN_TOKEN
    again: Counter[str] = field(default_factory=Counter)

    async def call(self, verb: str, path: str, body: Any = None) -> Any:
        key = str(uuid4())
        while True:
            door = self.random.choice(self.place.houses).door.url
            try:
                return await self._once(verb, door + path, body, key)
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.again[type(error).__name__] += 1
            await asyncio.sleep(self.random.uniform(0.05, 0.4))

    async def _once(self, verb: str, url: str, body: Any, key: str) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": key}
        async with self.http.request(verb, url, json=body, headers=headers) as response:
            answer = await response.json(content_type=None)
        if response.status >= 500 or (response.status in NOT_FOR_GOOD and answer.get("retryable")):
            raise aiohttp.ClientError(str(response.status))
        if response.status >= 400:
            raise Refused(response.status, answer)
        return answer


@dataclass
class TopUp:
    """One buyer's payment, and what the buyer knows of it."""

    session: str
    wallet: str
    amount: Decimal
    payments: set[str] = field(default_factory=set)
    paid: bool = False
    """The buyer's bank or wallet said so."""


@dataclass
class Traffic:
    """``topups`` are begun until ``calm``; then everybody ends what was begun."""

    place: Place
    client: Client
    random: Random
    topups: list[TopUp] = field(default_factory=list)
    spent: dict[str, Decimal] = field(default_factory=dict)
    """By wallet: usage and captures that were answered."""
    refunds: dict[str, str] = field(default_factory=dict)
    """Refund -> payment."""
    done: Counter[str] = field(default_factory=Counter)
    calm: asyncio.Event = field(default_factory=asyncio.Event)

    async def buyer(self, number: int) -> None:
        while not self.calm.is_set():
            country = self.random.choice(COUNTRIES)
            customer = {"reference": f"customer {number} {country}", "country": country}
            amount = Decimal(self.random.randrange(200, 5000)) / 100
            body = {"customer": customer, "amount": {"amount": str(amount), "currency": "USD"}}
            session = await self.client.call("POST", "/v1/checkout/sessions", body)
            topup = TopUp(session["id"], "", amount)
            self.topups.append(topup)
            await self._paid(topup, session)
            if topup.paid and self.random.random() < 0.25:
                await self._refunded(topup)

    async def _paid(self, topup: TopUp, session: Mapping[str, Any]) -> None:
        """Choose and pay; after a decline, once more by another card, another offer or not at all."""
        for offer in session["offers"][: 1 + (self.random.random() < 0.3)]:
            action = await self._chosen(topup, offer["id"])
            if action is None:
                continue
            if action["type"] == "deposit_address":
                account = offer["method"].partition("_")[2]
                sent = {"token": "USDT", "to": action["address"], "amount": action["amount"]["amount"]}
                await self._buyer_does(f"{self.place.sandbox_url}/{offer['rail']}/{account}/_control", {"pay": sent})
                topup.paid = True
                self.done["paid on a chain"] += 1
                return
            typed = {"card": self.random.choice(CARDS)} if offer["method"] == "card" else {"outcome": "paid"}
            said = await self._buyer_does(action["url"], typed)
            if said.get("status") in {"complete", "succeeded", "completed", "paid"}:
                topup.paid = True
                self.done["paid by " + offer["rail"]] += 1
                return
            self.done["a rail's page said " + str(said.get("status"))] += 1

    async def _chosen(self, topup: TopUp, offer: str) -> Mapping[str, Any] | None:
        """Select until it is known what to do; None where the offer does not stand any more."""
        while True:
            try:
                chosen = await self.client.call(
                    "POST", f"/v1/checkout/sessions/{topup.session}/select", {"offer": offer}
                )
            except Refused as refused:
                self.done["select: " + refused.code] += 1
                return None
            topup.payments.add(chosen["payment"])
            action: Mapping[str, Any] = chosen["next_action"]
            if action["type"] != "none":
                return action
            if chosen["status"] not in {"created", "processing", "outcome_unknown", "sent", "requires_action"}:
                self.done["select: " + chosen["status"]] += 1
                return None
            await asyncio.sleep(0.3)

    async def _buyer_does(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        headers = {"Accept": "application/json"}
        async with self.place.http.post(url, json=body, headers=headers) as response:
            said: Mapping[str, Any] = await response.json(content_type=None)
            assert response.status < 500, f"{url}: {said}"
            return said

    async def _refunded(self, topup: TopUp) -> None:
        """Ask for a part back, as soon as it is credited."""
        (payment,) = topup.payments if len(topup.payments) == 1 else (None,)
        if payment is None:
            return
        while (await self.client.call("GET", f"/v1/payments/{payment}"))["status"] != "credited":
            if self.calm.is_set():
                return
            await asyncio.sleep(0.5)
        part = (topup.amount / 4).quantize(Decimal("0.01"))
        body = {"amount": {"amount": str(part), "currency": "USD"}, "reason": "asked by the customer"}
        try:
            refund = await self.client.call("POST", f"/v1/payments/{payment}/refunds", body)
        except Refused as refused:
            self.done["refund: " + refused.code] += 1
            return
        self.refunds[refund["id"]] = payment
        self.done["refund asked"] += 1

    async def spender(self) -> None:
        """Charge wallets that have something: usage with an id of its own, or a hold that is captured."""
        while not self.calm.is_set():
            wallet = await self._some_wallet()
            if wallet is None:
                await asyncio.sleep(0.3)
                continue
            try:
                amount = await (self._use(wallet) if self.random.random() < 0.6 else self._hold(wallet))
            except Refused as refused:
                self.done["spend: " + refused.code] += 1
                await asyncio.sleep(0.2)
                continue
            self.spent[wallet] = self.spent.get(wallet, Decimal(0)) + amount
            self.done["spent"] += 1

    async def _some_wallet(self) -> str | None:
        paid = [topup for topup in self.topups if topup.paid]
        if not paid:
            return None
        topup = self.random.choice(paid)
        if not topup.wallet:
            (payment, *_) = sorted(topup.payments)
            topup.wallet = (await self.client.call("GET", f"/v1/payments/{payment}"))["wallet"]
        return topup.wallet

    async def _use(self, wallet: str) -> Decimal:
        event = {"id": f"use-{uuid4()}", "wallet": wallet, "model": "m", "amount": str(SPEND)}
        answer = await self.client.call("POST", "/v1/usage", {"events": [event]})
        status = answer["results"][0]["status"]
        if status not in {"accepted", "duplicate"}:
            self.done["usage: " + status] += 1
            return Decimal(0)
        return SPEND

    async def _hold(self, wallet: str) -> Decimal:
        money = {"amount": "0.05", "currency": "USD"}
        hold = await self.client.call("POST", "/v1/holds", {"wallet": wallet, "amount": money})
        taken = {"amount": str(SPEND * 7), "currency": "USD"}
        await self.client.call("POST", f"/v1/holds/{hold['id']}/capture", {"amount": taken})
        return SPEND * 7


async def opened_shop(place: Place, http: aiohttp.ClientSession, random: Random) -> Client:
    """Make a merchant with a key, and subscribe the reseller's server to everything."""
    admin = Client(place, http, random)
    merchant = await admin.call("POST", "/v1/merchants", {"name": "a shop in the storm"})
    made = await admin.call("POST", "/v1/keys", {"merchant": merchant["id"], "mode": "test"})
    client = Client(place, http, random, made["secret"])
    url = f"{place.proxies['reseller'].url}/crossrail"
    endpoint = await client.call("POST", "/v1/webhook_endpoints", {"url": url, "event_types": ["*"]})
    place.reseller.secret = endpoint["secret"]
    return client


async def lived(traffic: Traffic, buyers: int, spenders: int, seconds: float) -> None:
    """Let everybody live for so long; return when each has ended what was begun."""
    async with asyncio.TaskGroup() as group:
        for number in range(buyers):
            group.create_task(traffic.buyer(number))
        for _ in range(spenders):
            group.create_task(traffic.spender())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), seconds)
        traffic.calm.set()
