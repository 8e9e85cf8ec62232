"""Random usage against a model of a few lines: ids, sequences, amounts, repeats, clocks, price versions. Short here; long in
``make soak``, from a seed that replays."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from orchestrator.clock import from_us
from orchestrator.metering.rating import COST_PER_UNIT, parse_price
from tests.integration.metering.desk import CENT, Desk, opened_desk
from tests.support.databases import Databases

START_CENTS = 3
MODELS = ("gpt", "odd", "nobody")


@dataclass
class Model:
    """What the service must answer."""

    prices: dict[str, dict[str, str]]
    markup_bps: int = 0
    units: dict[str, int] = field(default_factory=dict)
    carried: dict[str, int] = field(default_factory=dict)
    done: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By id: what was meant, what was answered."""
    following: dict[str, int] = field(default_factory=dict)

    def answer(self, event: dict[str, Any]) -> str:
        meaning = repr({name: event[name] for name in sorted(event) if name != "id"})
        if "producer" in event:
            expected = self.following.setdefault(event["producer"], 1)
            if event["sequence"] != expected:
                return "duplicate" if event["sequence"] < expected else "sequence_gap"
            self.following[event["producer"]] += 1
            return self.charge(event)
        known = self.done.get(event["id"])
        if known is None:
            said = self.charge(event)
            self.done[event["id"]] = (meaning, said)
            return said
        if known[0] != meaning:
            return "id_reused"
        return "duplicate" if known[1] == "accepted" else known[1]

    def charge(self, event: dict[str, Any]) -> str:
        wallet = event["wallet"]
        if wallet not in self.units:
            return "unknown_wallet"
        if event["model"] not in self.prices:
            return "unknown_model"
        prices = self.prices[event["model"]]
        if not event["tokens"].keys() <= prices.keys():
            return "price_missing"
        cost = sum(parse_price(prices[name]) * number for name, number in event["tokens"].items()) * (
            10_000 + self.markup_bps
        )
        units, carried = divmod(self.carried[wallet] + cost, COST_PER_UNIT)
        if units > self.units[wallet]:
            return "insufficient_balance"
        self.units[wallet] -= units
        self.carried[wallet] = carried
        return "accepted"


async def drive(desk: Desk, seed: int, *, batches: int, until_s: float = 0.0) -> int:
    choose = random.Random(seed)  # noqa: S311  # a test that replays, nothing secret
    prices = {
        "gpt": {"input": "0.00000015", "output": "0.0000006"},
        "odd": {"input": "0.0000000000333", "request": "0.001"},
    }
    model = Model(prices)
    await desk.price(prices)
    for _ in range(4):
        wallet = await desk.wallet(cents=START_CENTS)
        model.units[wallet], model.carried[wallet] = START_CENTS * CENT, 0
    wallets = [*model.units, "wal_nobody"]
    sent: list[dict[str, Any]] = []
    count = 0
    while count < batches or time.monotonic() < until_s:
        count += 1
        events = [_event(choose, desk, wallets, model, sent) for _ in range(choose.randint(1, 25))]
        answer = await desk.use(events)
        wanted = [model.answer(event) for event in events]
        said = [one.get("reason") or one["status"] for one in answer["results"]]
        assert said == wanted, (
            f"seed {seed}, batch {count}: {[pair for pair in zip(said, wanted, events, strict=True) if pair[0] != pair[1]]}"
        )
        if choose.random() < 0.1:
            model.markup_bps = choose.randint(-5000, 20_000)
            await desk.price(prices, markup_bps=model.markup_bps)
    for wallet, units in model.units.items():
        assert await desk.paid(wallet) == units
        assert (await desk.one_wallet(wallet))["rating_remainder"] == model.carried[wallet]
    await desk.assert_sound()
    return count


def _event(
    choose: random.Random, desk: Desk, wallets: list[str], model: Model, sent: list[dict[str, Any]]
) -> dict[str, Any]:
    if sent and choose.random() < 0.2:
        again = choose.choice(sent)
        return again if choose.random() < 0.7 else {**again, "wallet": choose.choice(wallets)}
    event: dict[str, Any] = {
        "wallet": choose.choice(wallets),
        "model": choose.choice(MODELS),
        "tokens": {choose.choice(("input", "output", "request")): choose.randint(1, 9) * 10 ** choose.randint(0, 4)},
    }
    if choose.random() < 0.3:
        event["producer"] = choose.choice("ab")
        event["sequence"] = max(1, model.following.get(event["producer"], 1) + choose.randint(-1, 1))
        return event
    event["id"] = str(UUID(int=choose.getrandbits(128), version=choose.choice((4, 4, 5))))
    if choose.random() < 0.5:
        event["id"] = f"use_{choose.randint(1, 2**41):012x}7{choose.getrandbits(12):03x}a{choose.getrandbits(60):015x}"
    if choose.random() < 0.2:
        event["at"] = from_us(desk.services.clock.now_us()).isoformat()
    sent.append(event)
    return event


async def test_random_usage_is_answered_as_the_model_says(migrated_database_url: str) -> None:
    async with opened_desk(migrated_database_url) as desk:
        await drive(desk, 7, batches=40)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_random_usage_for_a_long_time(
    kind: Any, databases: Databases, tmp_path: Path, soak_seconds: float, soak_seed: int
) -> None:
    url, remove = databases.migrated(kind, tmp_path)
    try:
        async with opened_desk(url) as desk:
            batches = await drive(desk, soak_seed, batches=1, until_s=time.monotonic() + soak_seconds / 2)
    finally:
        remove()
    assert batches > 10, f"seed {soak_seed}: {batches} batches on {kind} in {soak_seconds / 2} s"
