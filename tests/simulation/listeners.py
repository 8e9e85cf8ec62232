"""Endpoints of the merchant that fail, and what they were told: checked by hand, as a receiver of Standard Webhooks does."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from orchestrator.database.unit import Row
from orchestrator.events.delivery import Job
from orchestrator.events.outcome import Outcome
from orchestrator.events.sender import signed_headers
from tests.integration.payments.scene import SetClock
from tests.simulation.faults import Faults

HOST = "https://merchant.example/"
CLOCK_S_MAX = 300


@dataclass
class Listener:
    """One endpoint of the merchant."""

    name: str
    ordered: bool
    secret: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """By the id of the event, in the order of their first arrival."""
    wrong: list[str] = field(default_factory=list)
    arrivals: int = 0

    def take(self, headers: Mapping[str, str], body: bytes, now_s: int) -> None:
        """Believe what is signed, and note what should not be."""
        id_, sent = headers["webhook-id"], headers["webhook-timestamp"]
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        digest = hmac.new(key, f"{id_}.{sent}.".encode() + body, hashlib.sha256).digest()
        if f"v1,{base64.b64encode(digest).decode()}" not in headers["webhook-signature"].split(" "):
            self.wrong.append(f"{self.name}: the signature of {id_} is wrong")
        if abs(now_s - int(sent)) > CLOCK_S_MAX:
            self.wrong.append(f"{self.name}: {id_} was signed at {sent}")
        if self.bodies.setdefault(id_, body) != body:
            self.wrong.append(f"{self.name}: {id_} came again and said something else")
        self.arrivals += 1

    def verdict(self, events: list[Row]) -> Iterator[str]:
        """Compare with the outbox, in its order."""
        yield from self.wrong
        wanted = {row["id"]: row for row in events}
        yield from (f"{self.name}: {id_} was never told: {wanted[id_]['type']}" for id_ in wanted.keys() - self.bodies)
        yield from (f"{self.name}: {id_} is not in the outbox" for id_ in self.bodies.keys() - wanted.keys())
        for id_ in self.bodies.keys() & wanted.keys():
            told, row = orjson.loads(self.bodies[id_]), wanted[id_]
            said = tuple(told[name] for name in ("type", "merchant", "object_id", "sequence"))
            kept = tuple(row[name] for name in ("type", "merchant_id", "object_id", "sequence"))
            if said != kept or told["data"]["object"] != orjson.loads(row["body"]):
                yield f"{self.name}: {id_} says something else than the outbox"
        if self.ordered and list(self.bodies) != [id_ for id_ in wanted if id_ in self.bodies]:
            yield f"{self.name}: events came in another order than they happened"


@dataclass
class Wire:
    """Stands where the service's sender stands: from a signed envelope to what the endpoint answered."""

    clock: SetClock
    faults: Faults
    listeners: Mapping[str, Listener]

    async def send(self, job: Job, event_id: str, body: bytes) -> Outcome:
        now_us = self.clock.now_us()
        listener = self.listeners[job.url.removeprefix(HOST)]
        headers = signed_headers(event_id, body, job.secrets, self.clock)
        fault = self.faults.of("delivery", f"{listener.name}/{event_id}", refused=0.12, silent=0.06, answer_lost=0.08)
        if fault == "refused":
            return Outcome(500, "answered 500", 1, now_us)
        if fault != "silent":
            listener.take(headers, body, int(self.clock.now().timestamp()))
        if fault is not None:
            return Outcome(None, "no answer", 1, now_us)
        return Outcome(200, "answered 200", 1, now_us)
