"""One story: buyers, banks, a chain, a merchant and our own process that dies, all drawn from a seed; then everything comes to
rest, and ``verdict`` compares the books with what the banks and the chain say.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from adapters.operations import DisputeState, RefundState
from orchestrator.database import tables
from orchestrator.database.unit import Row
from orchestrator.errors import Refusal
from orchestrator.ids import new_id
from orchestrator.metering.usage_input import read_event
from orchestrator.payments.checkout import NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.offers import offers_of
from orchestrator.payments.refund_book import RefundWanted
from rates.money import WALLET_USD, Money
from tests.integration.payments.chain_scene import Paid, pay
from tests.simulation.bank import Bank
from tests.simulation.faults import Died
from tests.simulation.house import COUNTRIES, MERCHANT, MODE, House, house

STEPS = 24
"""For each payment of a story."""
REST_HOURS = (*[1] * 10, *[5] * 12)
"""Sessions last half an hour, a check is at most an hour away, a key is kept for a day, a person is asked after twenty checks
(one in each of these rounds): all has ended then."""


@dataclass
class Life:
    """Steps that a seed chooses from; each is one thing that somebody does."""

    seed: int
    house: House
    random: Random
    payments_max: int
    sessions: list[Row] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """The story so far, a line each."""
    mempool: list[Paid] = field(default_factory=list)
    addresses: list[tuple[bytes, int]] = field(default_factory=list)
    """Deposit addresses that buyers were shown, with what they were asked for."""
    done: Counter[str] = field(default_factory=Counter)

    # --- the story ----------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        steps: list[tuple[int, Callable[[], Awaitable[str | None]]]] = [
            (6, self.buyer_comes), (10, self.buyer_chooses), (14, self.buyer_acts), (14, self.bank_calls),
            (2, self.webhook_is_lost), (1, self.webhook_is_forged), (16, self.worker_works), (10, self.time_passes),
            (5, self.refund_is_asked), (5, self.bank_moves_refund), (3, self.dispute_begins), (4, self.dispute_moves),
            (4, self.customer_spends), (6, self.tokens_are_sent), (9, self.block_is_mined), (3, self.chain_forks),
            (2, self.session_is_expired), (1, self.bank_pays_out), (1, self.process_restarts),
        ]  # fmt: skip
        weights, what = [weight for weight, _ in steps], [step for _, step in steps]
        for _ in range(STEPS * self.payments_max):
            await self.take(self.random.choices(what, weights)[0])

    async def take(self, step: Callable[[], Awaitable[str | None]]) -> None:
        """Do one step; now and then our process dies in the middle of it and is started again."""
        if self.house.faults.on and self.random.random() < 0.08:
            self.house.fuse.left = self.random.randint(1, 10)
        name = step.__name__
        try:
            said = await self.house.fuse.until_death(step())
        except Refusal as refusal:
            said = f"refused: {refusal}"
        except Died:
            said = "we died"
        if said is not None:
            self.done[name] += 1
            self.told.append(f"{name}: {said}")
        if self.house.fuse.dead:
            self.house.faults.counts["our process: died"] += 1
            self.told.append("the process is started again")
            await self.house.end()
            await self.house.begin()
        self.house.fuse.left = 0

    async def rest(self) -> None:
        """No new faults, no new buyers: let everything end that has begun."""
        self.house.faults.on = False
        for hours in REST_HOURS:
            self.house.clock.pass_by(hours=hours)
            self._bank_ends_things()
            self._mine()
            for bank in self.house.banks.values():
                while bank.outgoing:
                    await self._delivered(bank, bank.outgoing.pop(0))
            for worker in self.house.workers().values():
                await worker()
            while await self.house.deliver_events():
                pass

    def _bank_ends_things(self) -> None:
        for bank in self.house.banks.values():
            for refund_id, refund in bank.refunds.items():
                if refund.state is RefundState.PENDING:
                    bank.move_refund(refund_id, fails=False)
            for dispute in bank.disputes.values():
                if dispute.state is DisputeState.NEEDS_ANSWER:
                    bank.decide_dispute(dispute.id, won=self.random.random() < 0.5)

    # --- buyers -------------------------------------------------------------------------------------------------------

    async def buyer_comes(self) -> str | None:
        if len(self.sessions) >= self.payments_max:
            return None
        country = self.random.choice(COUNTRIES)
        customer = CustomerRef(MERCHANT, MODE, f"customer {self.random.randint(1, 12)} {country}", country)
        amount = Money(self.random.randint(100, 6000) * 10**7, WALLET_USD)
        session = await self.house.services.checkout.create(NewSession(customer, amount))
        self.sessions.append(session)
        self._look_at_prices(session)
        return f"{session['id']} wants {amount.decimal()}"

    def _look_at_prices(self, session: Row) -> None:
        """A price is made of the rate that the sources agree on at that moment, or there is none."""
        for offer in offers_of(session):
            currency = offer.price.total.asset.code
            expected = self.house.rates.expected(currency)
            if offer.price.rate.mid != expected:
                made = f"{session['id']}: a price in {currency} at {offer.price.rate.mid}"
                self.house.rules_broken.append(f"{made}, the sources say {expected}")

    async def buyer_chooses(self) -> str | None:
        session = self._pick(self.sessions[-12:])
        if session is None:
            return None
        return await self.choose(session, self.random.choices((0, 1, 2), (5, 3, 4))[0])

    async def choose(self, session: Row, number: int) -> str:
        offers = offers_of(session)
        offer = offers[number % len(offers)]  # a rail that failed often is not offered
        chosen = await self.house.services.selection.select(MERCHANT, MODE, session["id"], offer.id)
        action = chosen["next_action"]
        if action["type"] == "deposit_address":
            (attempt,) = await self.house.rows(tables.Attempt, id=chosen["attempt"])
            address = bytes.fromhex(action["address"][2:])
            self.house.shown_addresses.add(address)
            self.addresses.append((address, attempt["units"]))
        return f"{session['id']} by {offer.rail}: {chosen['status']}"

    async def buyer_acts(self) -> str | None:
        bank = self._bank()
        attempt = self._pick([name for name, page in bank.pages.items() if page.status == "open"])
        if attempt is None:
            return None
        asked = bank.pages[attempt].order.amount
        how = self.random.choices(
            ("pays", "pays less", "pays more", "declined", "declined hard", "declined, page open", "lets it expire"),
            (60, 2, 2, 8, 4, 4, 4),
        )[0]
        match how:
            case "pays":
                bank.pay(attempt)
            case "pays less" | "pays more":
                bank.pay(attempt, Money(asked.units + (7 if how == "pays more" else -1), asked.asset))
            case "lets it expire":
                bank.expire(attempt)
            case _:
                bank.decline(attempt, hard=how == "declined hard", still_open="open" in how)
        return f"{attempt} at {bank.name} {how}"

    async def session_is_expired(self) -> str | None:
        session = self._pick(self.sessions[-12:])
        if session is None:
            return None
        row = await self.house.services.checkout.expire(MERCHANT, MODE, session["id"])
        return f"{session['id']} is {row['status']}"

    async def customer_spends(self) -> str | None:
        session = self._pick(self.sessions)
        if session is None:
            return None
        cents = self.random.randint(1, 3000)
        usage = {"id": new_id("use"), "wallet": session["wallet_id"], "amount": f"{cents // 100}.{cents % 100:02}"}
        answer = await self.house.services.metering.record(MERCHANT, MODE, [read_event(usage)])
        return f"{session['wallet_id']} {usage['amount']}: {answer['results'][0]['status']}"

    # --- banks --------------------------------------------------------------------------------------------------------

    async def bank_calls(self) -> str | None:
        """A webhook comes: not always the oldest, sometimes twice, and again later where we gave no answer."""
        bank = self._bank()
        if not bank.outgoing:
            return None
        body = bank.outgoing[self.random.randrange(len(bank.outgoing))]
        taken = await self._delivered(bank, body)
        if taken and self.random.random() < 0.8:  # the others come once more later
            bank.outgoing.remove(body)
        return f"{bank.name}: {body.decode()[:90]}"

    async def _delivered(self, bank: Bank, body: bytes) -> bool:
        taken = await self.house.deliver(bank, body)
        if taken:
            bank.was_taken(body)
        return taken

    async def webhook_is_lost(self) -> str | None:
        bank = self._bank()
        return bank.outgoing.pop(self.random.randrange(len(bank.outgoing))).decode()[:90] if bank.outgoing else None

    async def webhook_is_forged(self) -> str | None:
        bank = self._bank()
        if not bank.outgoing:
            return None
        await self.house.deliver(bank, bank.outgoing[-1], signature="forged")
        raise AssertionError("a forged webhook was taken")

    async def bank_moves_refund(self) -> str | None:
        bank = self._bank()
        waiting = [id_ for id_, refund in bank.refunds.items() if refund.state is RefundState.PENDING]
        through = [id_ for id_, refund in bank.refunds.items() if refund.state is RefundState.SUCCEEDED]
        comes_back = through and self.random.random() < 0.15
        refund = self._pick(through if comes_back else waiting)
        if refund is None:
            return None
        fails = bool(comes_back) or self.random.random() < 0.15
        bank.move_refund(refund, fails=fails)
        return f"{refund} {'fails' if fails else 'succeeds'}{' after all' if comes_back else ''}"

    async def dispute_begins(self) -> str | None:
        bank = self._bank()
        money = self._pick([one.money_id for one in bank.taken.values() if one.dispute is None and one.left > 0])
        if money is None:
            return None
        bank.open_dispute(money)
        return f"{money} at {bank.name}"

    async def dispute_moves(self) -> str | None:
        bank = self._bank()
        open_ = [one for one in bank.disputes.values() if one.state is DisputeState.NEEDS_ANSWER]
        dispute = self._pick(open_)
        if dispute is None:
            return None
        if self.random.random() < 0.4:
            known = await self.house.rows(tables.Dispute, rail_dispute_id=dispute.id)
            if not known:
                return None
            row = await self.house.services.disputes.accept(known[0])
            return f"{dispute.id} is {row['answered']}"
        won = dispute.answered != "accepted" and self.random.random() < 0.5
        bank.decide_dispute(dispute.id, won=won)
        return f"{dispute.id} is {'won' if won else 'lost'}"

    async def bank_pays_out(self) -> str | None:
        bank = self._bank()
        if bank.payouts and self.random.random() < 0.25:
            bank.send_back()
        else:
            bank.pay_out()
        return bank.name

    # --- the merchant -------------------------------------------------------------------------------------------------

    async def refund_is_asked(self) -> str | None:
        credited = [row for row in await self.house.rows(tables.Payment) if row["credited_units"] > 0]
        payment = self._pick(credited)
        if payment is None:
            return None
        units = None if self.random.random() < 0.4 else self.random.randint(1, max(1, payment["credited_units"]))
        wanted = RefundWanted(
            new_id("ref"), MERCHANT, MODE, payment["id"], units, reason="asked by the customer",
            destination=self.random.choice(("source", "source", "wallet")), forced=self.random.random() < 0.3, by="key:test",
        )  # fmt: skip
        row = await self.house.services.refunds.request(wanted)
        return f"{row['id']} of {payment['id']}: {units} is {row['status']}"

    # --- chain --------------------------------------------------------------------------------------------------------

    async def tokens_are_sent(self) -> str | None:
        address = self._pick(self.addresses)
        if address is None:
            return None
        to, asked = address
        units = self.random.choices((asked, asked - 1, asked + 1_000_000, asked // 2, 1), (70, 8, 8, 8, 6))[0]
        more = [asked] if self.random.random() < 0.1 else []
        self.mempool.append(pay(to, units, *more))
        return f"{[units, *more]} to {to.hex()}"

    async def block_is_mined(self) -> str | None:
        self._mine()
        return f"block {len(self.house.chain.blocks) - 1}"

    def _mine(self) -> None:
        self.house.clock.pass_by(seconds=10)
        self.house.chain.mine(*self.mempool)
        self.mempool.clear()

    async def chain_forks(self) -> str | None:
        """The newest blocks go; what was in them is mined again in another order, later, or (sometimes) never."""
        chain = self.house.chain
        depth = self.random.randint(1, 2)
        if len(chain.blocks) < 10:
            return None
        gone = chain.blocks[-depth:]
        chain.drop(depth)
        transfers: dict[str, list[Any]] = {}
        for block in gone:
            for transfer in block.transfers:
                transfers.setdefault(transfer.tx_hash, []).append(transfer)
        again = [group for group in transfers.values() if self.random.random() < 0.8]
        self.random.shuffle(again)
        for _ in range(depth):
            chain.mine()
        if again:
            block = chain.blocks.pop()
            moved = tuple(transfer for group in again for transfer in group)
            chain.blocks.append(type(block)(block.chain, block.header, moved))
        return f"{depth} blocks; {len(transfers) - len(again)} of {len(transfers)} transactions are gone"

    # --- ourselves ----------------------------------------------------------------------------------------------------

    async def worker_works(self) -> str | None:
        name = self.random.choices(
            ("inbox", "settlement", "chain", "refunds", "disputes", "dispute lists", "expiry", "reconciliation",
             "earnings", "credit expiry", "holds", "rates", "delivery"),
            (9, 8, 9, 5, 2, 1, 3, 1, 1, 1, 1, 4, 16),
        )[0]  # fmt: skip
        did = await self.house.workers()[name]()
        return f"{name}: {did}"

    async def time_passes(self) -> str | None:
        seconds = self.random.choices((2, 30, 400, 4000, 90_000), (40, 30, 15, 4, 1))[0]
        self.house.clock.pass_by(seconds=seconds)
        return f"{seconds} s"

    async def process_restarts(self) -> str | None:
        await self.house.end()
        await self.house.begin()
        return "by hand"

    # --- drawing ------------------------------------------------------------------------------------------------------

    def _bank(self) -> Bank:
        return self.house.banks[self.random.choice(("alpha", "beta"))]

    def _pick(self, among: Any) -> Any:
        return self.random.choice(among) if among else None


@asynccontextmanager
async def life(
    database: str, folder: Path, seed: int, payments: int, *, steady_rates: bool = False
) -> AsyncIterator[Life]:
    async with house(database, folder, seed, steady_rates=steady_rates) as built:
        yield Life(seed, built, Random(f"life {seed}"), payments)  # noqa: S311  # a seed is a story


def any_seed() -> int:
    return secrets.randbelow(1_000_000)
