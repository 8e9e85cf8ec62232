"""The storm itself: deaths at random under load, then calm, then the books against what everybody knows."""

from __future__ import annotations

import asyncio
import time
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp

from tests.storm.place import House, Place, place
from tests.storm.traffic import CALL, Client, TopUp, Traffic, lived, opened_shop
from tests.support.postgres import PostgresServer
from tests.support.processes import CROSSRAIL

QUIET_SECONDS_MAX: Final = 150.0
ENDED: Final = frozenset({"credited", "declined", "canceled", "expired", "failed"})


@dataclass
class Report:
    """What happened, and every sentence that does not hold."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        happened = [f"    {times:7} {name}" for name, times in sorted(self.counts.items())]
        return [f"storm {self.seed}: {'WRONG' if self.wrong else 'right'}", *happened, *self.wrong]


async def storm(folder: Path, seed: int, seconds: float, postgres: PostgresServer | None) -> Report:
    """Let a storm rage for so long over two processes on PostgreSQL, or one on SQLite; say how the books stand after it."""
    random = Random(seed)  # noqa: S311  # a seed is a story
    report = Report(seed)
    async with place(folder, random, postgres) as here, aiohttp.ClientSession(timeout=CALL) as http:
        client = await opened_shop(here, http, random)
        traffic = Traffic(here, client, random)
        here.weather(bad=True)
        dying = asyncio.create_task(_deaths(here, random, report.counts))
        calm = asyncio.create_task(_calm_after(seconds, here, dying))
        try:
            await lived(traffic, buyers=5, spenders=3, seconds=seconds)
            await calm
        finally:  # a story that breaks leaves nobody behind who starts processes
            for task in (dying, calm):
                task.cancel()
            await asyncio.gather(dying, calm, return_exceptions=True)
        await _quiet(here, client, traffic, report)
        report.wrong += [sentence async for sentence in verdict(here, client, traffic)]
        if report.wrong:
            for house in here.houses:
                assert house.process is not None
                (folder / f"{house.name}.log").write_text("\n".join(house.process.output), "utf-8")
    report.counts += traffic.done + client.again
    report.counts["top-ups paid"] = sum(topup.paid for topup in traffic.topups)
    report.counts["top-ups begun"] = len(traffic.topups)
    report.counts["events heard"] = here.reseller.times
    for name, proxy in here.proxies.items():
        report.counts += Counter({f"wire of {name}: {kind}": times for kind, times in proxy.counts.items()})
    return report


async def _deaths(here: Place, random: Random, counts: Counter[str]) -> None:
    """Now and then something dies, and comes back."""
    while True:
        await asyncio.sleep(random.uniform(0.5, 4))
        victims: list[Callable[[], Any]] = [partial(_dies, house, random) for house in here.houses]
        names = [house.name for house in here.houses]
        if here.postgres is not None:
            victims.append(here.postgres_dies)
            names.append("postgres")
        which = random.randrange(len(victims))
        counts[f"died: {names[which]}"] += 1
        await victims[which]()


async def _dies(house: House, random: Random) -> None:
    await house.end()
    await asyncio.sleep(random.uniform(0, 1.5))
    await house.begin()


async def _calm_after(seconds: float, here: Place, dying: asyncio.Task[None]) -> None:
    await asyncio.sleep(seconds)
    here.weather(bad=False)
    dying.cancel()
    with suppress(asyncio.CancelledError):
        await dying
    for house in here.houses:
        if not house.stands:
            await house.end()
            await house.begin()


async def _quiet(here: Place, client: Client, traffic: Traffic, report: Report) -> None:
    """Wait until nothing is on its way: every paid top-up credited or in review, every refund ended, every event heard."""
    began = time.monotonic()
    waiting = ["not asked yet"]
    while waiting and time.monotonic() < began + QUIET_SECONDS_MAX:
        waiting = [sentence async for sentence in _under_way(here, client, traffic)]
        await asyncio.sleep(0.5)
    report.counts["seconds until quiet"] = int(time.monotonic() - began)
    report.wrong += [f"still under way: {one}" for one in waiting]


async def _under_way(here: Place, client: Client, traffic: Traffic) -> AsyncIterator[str]:
    for topup in traffic.topups:
        if topup.paid and not [one async for one in _credited(client, topup)]:
            yield f"{topup} is not credited"
            return
    for refund in traffic.refunds:
        status = (await client.call("GET", f"/v1/refunds/{refund}"))["status"]
        if status not in {"succeeded", "failed"}:
            yield f"{refund} is {status}"
            return
    async for event in _listed(client, "/v1/events"):
        if event["id"] not in here.reseller.heard:
            yield f"{event['id']} {event['type']} was not delivered"
            return


async def _credited(client: Client, topup: TopUp) -> AsyncIterator[Mapping[str, Any]]:
    for payment in sorted(topup.payments):
        seen = await client.call("GET", f"/v1/payments/{payment}")
        if Decimal(seen["credited"]["amount"]) > 0:
            yield seen


async def _listed(client: Client, path: str) -> AsyncIterator[Mapping[str, Any]]:
    after = ""
    while True:
        page = await client.call("GET", f"{path}?limit=100{after}")
        for one in page["data"]:
            yield one
        if not page.get("next_cursor"):
            return
        after = f"&after={page['next_cursor']}"


async def verdict(here: Place, client: Client, traffic: Traffic) -> AsyncIterator[str]:
    """Yield every sentence that does not hold, once all is quiet."""
    wanted: dict[str, Decimal] = {wallet: -spent for wallet, spent in traffic.spent.items()}
    for topup in traffic.topups:
        credited = [one async for one in _credited(client, topup)]
        if len(credited) > 1 or bool(credited) != topup.paid:
            yield f"{topup}: credited {len(credited)} times"
        for payment in credited:
            amount = Decimal(payment["credited"]["amount"])
            if amount != topup.amount:
                yield f"{topup}: credited {amount}"
            wanted[payment["wallet"]] = wanted.get(payment["wallet"], Decimal(0)) + amount
    for refund in traffic.refunds:
        seen = await client.call("GET", f"/v1/refunds/{refund}")
        if seen["status"] == "succeeded":
            payment = await client.call("GET", f"/v1/payments/{traffic.refunds[refund]}")
            wanted[payment["wallet"]] -= Decimal(seen["amount"]["amount"])
    for wallet, amount in wanted.items():
        balance = (await client.call("GET", f"/v1/wallets/{wallet}"))["balance"]
        has = sum(Decimal(balance[part]) for part in ("available", "held", "provisional")) - Decimal(balance["debt"])
        if has != amount:
            yield f"{wallet} has {has} ({balance}), and should have {amount}"
    if here.reseller.forged:
        yield f"{here.reseller.forged} events were not signed by us"
    async for sentence in _books(here, client):
        yield sentence


async def _books(here: Place, client: Client) -> AsyncIterator[str]:
    admin = Client(here, client.http, client.random)
    reconciled = await admin.call("POST", "/v1/reconciliations", {})
    if not reconciled["ok"]:
        yield f"reconciliation: {reconciled}"
    config = here.houses[0].config
    child = await asyncio.create_subprocess_exec(
        CROSSRAIL, "ledger", "check", "--json", "--config", config, stdout=PIPE, stderr=PIPE
    )
    out, err = await child.communicate()
    if child.returncode:
        yield f"ledger check: {out.decode()} {err.decode()}"


__all__ = ["Report", "storm"]
