"""Death at every boundary between a write and a call, each alone and then in pairs: every payment ends as if nobody had died.

The story of one payment: chosen, paid, credited, refunded in part, disputed, lost, reconciled. Who died is started again and
whoever had asked asks again, under the same ids, as clients and rails do.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from adapters.operations import DisputeState, RefundState
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import offers_of
from orchestrator.payments.refund_book import RefundWanted
from rates.money import WALLET_USD, Money
from tests.simulation.faults import Died
from tests.simulation.house import MERCHANT, MODE
from tests.simulation.life import Life, life
from tests.simulation.verdict import verdict

PAIRS = 60
LOOKS_MAX = 30
Outcome = tuple[str, int, int, int]


class Story:
    """One payment of one customer, and a process that dies at given boundaries, counted from the last start."""

    def __init__(self, lived: Life, number: int) -> None:
        self.house = lived.house
        self.bank = lived.house.banks["alpha"]
        self.customer = CustomerRef(MERCHANT, MODE, f"customer {number}", "DE")
        self.refund = f"ref_of_story_{number}"
        self.session: Row = {}
        self.attempt = ""

    async def live(self, *deaths: int) -> int:
        """Take every step, dying at each of ``deaths``; return how many boundaries were passed."""
        waiting, before = list(deaths), len(self.house.fuse.passed)
        self.house.fuse.left = waiting.pop(0) if waiting else 0
        for step in (self.comes, self.chooses, self.pays, self.hears, self.asks_back, self.gets_back, self.disputes,
                     self.loses, self.reconciles):  # fmt: skip
            while True:
                try:
                    await self.house.fuse.until_death(step())
                    break
                except Died:
                    await self.house.end()
                    await self.house.begin()
                    self.house.fuse.left = waiting.pop(0) if waiting else 0
        self.house.fuse.left = 0
        return len(self.house.fuse.passed) - before

    async def comes(self) -> None:
        wanted = NewSession(self.customer, Money(40 * 10**9, WALLET_USD))
        self.session = await self.house.services.checkout.create(wanted)

    async def chooses(self) -> None:
        chosen = await self.house.services.selection.select(
            MERCHANT, MODE, self.session["id"], offers_of(self.session)[0].id
        )
        self.attempt = chosen["attempt"]

    async def pays(self) -> None:
        """Once we know where to send the buyer: whose answer was lost is asked about."""
        for _ in range(LOOKS_MAX):
            (row,) = await self.house.rows(tables.Attempt, id=self.attempt)
            if row["next_action"]:
                break
            self.house.clock.pass_by(seconds=5)
            await self.house.services.watch.run_once()
        if self.bank.pages[self.attempt].status == "open":
            self.bank.pay(self.attempt)

    async def hears(self) -> None:
        """Webhooks until they are taken, and the worker that reads them."""
        while self.bank.outgoing:
            await self.house.deliver(self.bank, self.bank.outgoing[0])
            self.bank.outgoing.pop(0)
        await self.house.services.inbox.run_once()

    async def asks_back(self) -> None:
        (payment,) = await self.house.rows(tables.Payment, session_id=self.session["id"])
        wanted = RefundWanted(
            self.refund, MERCHANT, MODE, payment["id"], 15 * 10**9, "asked", "source", False, "key:test"
        )
        await self.house.services.refunds.request(wanted)

    async def gets_back(self) -> None:
        for _ in range(LOOKS_MAX):
            if self.refund in self.bank.refunds:
                break
            self.house.clock.pass_by(seconds=5)
            await self.house.workers()["refunds"]()
        if self.bank.refunds[self.refund].state is RefundState.PENDING:
            self.bank.move_refund(self.refund, fails=False)
        await self.hears()

    async def disputes(self) -> None:
        money = self._money()
        if money.dispute is None:
            self.bank.open_dispute(money.money_id)
        await self.hears()

    async def loses(self) -> None:
        dispute = self.bank.disputes[str(self._money().dispute)]
        if dispute.state is DisputeState.NEEDS_ANSWER:
            self.bank.decide_dispute(dispute.id, won=False)
        await self.hears()

    async def reconciles(self) -> None:
        await self.house.services.reconciliation.run("alpha", "main")

    async def outcome(self) -> Outcome:
        (payment,) = await self.house.rows(tables.Payment, session_id=self.session["id"])
        (dispute,) = await self.house.rows(tables.Dispute, payment_id=payment["id"])
        return payment["status"], payment["credited_units"], payment["refunded_units"], dispute["clawed_units"]

    def _money(self) -> Any:
        (money,) = [one for one in self.bank.taken.values() if one.attempt_id == self.attempt]
        return money


@pytest.fixture
async def lived(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Life]:
    async with life(sqlite_url, tmp_path, 0, 0, steady_rates=True) as made:
        made.house.faults.on = False
        yield made


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.soak)])
async def test_death_at_a_boundary_changes_nothing_of_how_a_payment_ends(lived: Life, stride: int) -> None:
    undisturbed = Story(lived, 0)
    boundaries = await undisturbed.live()
    wanted = await undisturbed.outcome()
    names = set(lived.house.fuse.passed)
    assert {"before Writer.submit", "after Bank.create_payment", "after Bank.refund_payment"} <= names
    assert boundaries > 40
    deaths = range(1, boundaries + 1, stride)
    for number in deaths:
        story = Story(lived, number)
        await story.live(number)
        assert await story.outcome() == wanted, f"died {lived.house.fuse.passed[-1]}, boundary {number}"
    assert lived.house.lives == len(deaths) + 1
    await lived.rest()
    assert await verdict(lived.house) == []


@pytest.mark.soak
async def test_two_deaths_in_one_payment_change_nothing_either(lived: Life) -> None:
    random = Random(f"pairs {os.environ.get('SEED', '1')}")  # noqa: S311  # which pairs is the seed's to say
    undisturbed = Story(lived, 0)
    boundaries = await undisturbed.live()
    wanted = await undisturbed.outcome()
    for number in range(1, PAIRS + 1):
        story, deaths = Story(lived, number), (random.randint(1, boundaries), random.randint(1, boundaries // 2))
        await story.live(*deaths)
        assert await story.outcome() == wanted, f"died at {deaths}"
    await lived.rest()
    assert await verdict(lived.house) == []
