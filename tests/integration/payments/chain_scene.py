"""A chain that a test writes block by block, forks and mends again, watched over a real database.

chain = ScriptedChain()
async with opened_chain(url, chain) as scene:
    address, attempt = await scene.awaiting("20")
    chain.mine(pay(address, attempt["units"]))
    chain.mine(count=2)
    await scene.look()
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from fractions import Fraction
from typing import Any

import orjson
from sqlalchemy import select

from adapters.base import (
    BlockHeader,
    BlockScan,
    CancelOutcome,
    Capability,
    ChainHead,
    ChainScanFailed,
    ChainToken,
    DepositAddress,
    FinalityRule,
    Flow,
    Mode,
    PaymentOrder,
    PaymentReference,
    PaymentStarted,
    RailAccount,
    RailEvent,
    RangeScan,
    SeenTransfer,
    TokenTransfer,
)
from adapters.final_balances import FinalBalances
from orchestrator.clock import Clock
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ids import new_id
from orchestrator.ledger.check import check
from orchestrator.payments.addresses import AddressBook
from orchestrator.payments.checkout import Checkout, CheckoutPolicy
from orchestrator.payments.closing import Closing
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.customer_age import KnownCustomers
from orchestrator.payments.deposits import Deposits
from orchestrator.payments.expiry import Expiry
from orchestrator.payments.finder import Finder
from orchestrator.payments.offers import Offer
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.payment import Fact, fold
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.pricing import FeeSchedule, Rate, price
from orchestrator.payments.selection import Selection
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.watch import SettlementWatch, WatchPolicy
from orchestrator.routing.health import HealthBoard
from orchestrator.workers.chain_watch import ChainWatch
from rates.build import market_from_config
from rates.money import WALLET_USD, Asset, Money
from rates.policy import MarketMode
from rates.spread import SpreadTable
from tests.integration.payments.scene import MERCHANT, MODE, SCREENING, NoRouter, SetClock, stored_session

RAIL, ACCOUNT, METHOD = "evm", "scripted", "usdt_evm"
USDT, ODD = Asset("USDT", 6), Asset("ODD", 6)
CONFIRMATIONS = 3
BLOCK_SECONDS = 10
LEASE_S = 30.0
FEES = FeeSchedule(0, Money.zero(WALLET_USD), Money(100_000_000, WALLET_USD), 100)
TOKENS = (ChainToken(USDT, b"\x01" * 20, 6, METHOD), ChainToken(ODD, b"\x02" * 20, 6, METHOD))
MARKET = {
    "sources": {"fixed": {"rates": {"USD-USDT": {"rate": "1", "as_of": "2026-11-20", "reason": "for tests"}}}},
    "minimum_sources": {"default": 1},
}


@dataclass(frozen=True)
class Paid:
    """One transaction: how much of which token goes to whom, log by log."""

    to: bytes
    units: Sequence[int]
    token: ChainToken = TOKENS[0]
    name: str = field(default_factory=lambda: new_id("tx"))

    def transfers(self) -> list[TokenTransfer]:
        tx_hash = "0x" + hashlib.sha256(self.name.encode()).hexdigest()
        return [
            TokenTransfer(tx_hash, place, self.token, b"\x0b" * 20, self.to, units, Money(units, self.token.asset), 0)
            for place, units in enumerate(self.units)
        ]


def pay(to: bytes, *units: int, token: ChainToken = TOKENS[0], name: str | None = None) -> Paid:
    return Paid(to, units, token, name or new_id("tx"))


@dataclass
class ScriptedChain:
    """Blocks that a test writes. A branch can be kept and put back."""

    clock: Clock = field(default_factory=SetClock)
    blocks: list[BlockScan] = field(default_factory=list)
    account: RailAccount = field(default_factory=lambda: RailAccount(RAIL, ACCOUNT, Mode.TEST, {}))
    chain: str = "eip155:1337"
    family: str = "evm"
    confirmations: int = CONFIRMATIONS
    tokens: Sequence[ChainToken] = TOKENS
    block_seconds: float = BLOCK_SECONDS
    resend_window_seconds: int = 3600
    finality: FinalityRule = field(default_factory=lambda: FinalityRule(CONFIRMATIONS))
    finalizes: bool = True
    """False: the chain calls nothing final any more."""
    lies_about_final: bool = False
    """The final block that it names is of another branch."""
    issued_without_a_log: dict[bytes, int] = field(default_factory=dict)
    """What a token's administrators put on (or took from) addresses, with no Transfer to see."""
    issued_at: int = 0
    """The block of that."""
    keeps_old_state: bool = False
    """True: it says what lay on an address at its final block."""
    second_node_agrees: bool = True
    hangs: bool = False
    """Calls never come back."""
    _salt: int = 0

    def __post_init__(self) -> None:
        self.mine(count=5)

    @property
    def capabilities(self) -> Sequence[Capability]:
        return (Capability(METHOD, Flow.DEPOSIT_ADDRESS, None, ("USDT",), 30),)

    # --- what a test writes -------------------------------------------------------------------------------------

    def mine(self, *paid: Paid, count: int = 1, at: datetime | None = None) -> None:
        """Add blocks; the first holds the transactions."""
        for number in range(count):
            transfers = [transfer for one in (paid if number == 0 else ()) for transfer in one.transfers()]
            parent = self.blocks[-1].header.hash if self.blocks else "0x" + "00" * 32
            height = len(self.blocks)
            digest = hashlib.sha256(f"{height}/{parent}/{self._salt}".encode()).hexdigest()
            header = BlockHeader(height, "0x" + digest, parent, at or self.clock.now())
            self.blocks.append(BlockScan(self.chain, header, tuple(transfers)))

    def drop(self, depth: int) -> list[BlockScan]:
        """Take the newest blocks away; what is mined now has other hashes. Returns the whole branch as it was."""
        branch = list(self.blocks)
        del self.blocks[-depth:]
        self._salt += 1
        return branch

    def put_back(self, branch: list[BlockScan]) -> None:
        self.blocks = list(branch)

    # --- the port -----------------------------------------------------------------------------------------------

    def supports_currency(self, currency: str) -> bool:
        return currency == USDT.code

    async def create_payment(self, order: PaymentOrder) -> PaymentStarted:
        assert order.deposit_address is not None
        if self.hangs:
            await asyncio.Event().wait()
        action = DepositAddress(
            order.deposit_address, "scripted", self.chain, "USDT", "0x01", order.amount, order.deposit_address, "uri"
        )
        return PaymentStarted(order.deposit_address, action)

    async def fetch_status(self, reference: PaymentReference) -> Sequence[RailEvent]:
        del reference
        return ()

    async def cancel_payment(self, reference: PaymentReference) -> CancelOutcome:
        del reference
        return CancelOutcome.CANNOT

    def derive_address(self, index: int) -> bytes:
        return hashlib.sha256(f"address {index}".encode()).digest()[:20]

    def show_address(self, address: bytes) -> str:
        return "0x" + address.hex()

    async def check(self) -> None:
        """There is nothing to check in a script."""

    async def head(self) -> ChainHead:
        latest = len(self.blocks) - 1
        final = max(0, latest - self.confirmations + 1) if self.finalizes else 0
        return ChainHead(latest, final, "0x" + "ff" * 32 if self.lies_about_final else self.blocks[final].header.hash)

    async def header(self, number: int) -> BlockHeader | None:
        return self.blocks[number].header if 0 <= number < len(self.blocks) else None

    async def scan_block(self, number: int, is_ours: Callable[[bytes], bool]) -> BlockScan | None:
        await asyncio.sleep(0)
        if not 0 <= number < len(self.blocks):
            return None
        scan = self.blocks[number]
        return replace(scan, transfers=tuple(t for t in scan.transfers if is_ours(t.recipient)))

    async def second_opinion(self, seen: SeenTransfer) -> bool:
        del seen
        await asyncio.sleep(0)
        return self.second_node_agrees

    @property
    def final_word(self) -> str:
        return "finalized"

    async def final_balances(self, token: ChainToken, addresses: Sequence[bytes]) -> FinalBalances:
        if not self.keeps_old_state:
            raise ChainScanFailed("missing trie node")
        block = (await self.head()).finalized
        paid = [
            one for scan in self.blocks[: block + 1] for one in scan.transfers if one.token.contract == token.contract
        ]
        more = self.issued_without_a_log if self.issued_at <= block else {}
        found = [sum(one.raw_value for one in paid if one.recipient == to) + more.get(to, 0) for to in addresses]
        return FinalBalances(found, block)

    async def balances(self, token: ChainToken, addresses: Sequence[bytes]) -> list[int]:
        await asyncio.sleep(0)
        paid = [one for block in self.blocks for one in block.transfers if one.token.contract == token.contract]
        more = self.issued_without_a_log
        return [sum(one.raw_value for one in paid if one.recipient == to) + more.get(to, 0) for to in addresses]

    async def scan_range(self, first: int, last: int, is_ours: Callable[[bytes], bool]) -> RangeScan:
        await asyncio.sleep(0)
        scans = [replace(one, transfers=tuple(t for t in one.transfers if is_ours(t.recipient)))
                 for one in self.blocks[first : last + 1]]  # fmt: skip
        held = tuple(one for one in scans if one.transfers or one.unknown)
        return RangeScan(first, scans[0].header.parent_hash, scans[-1].header, held)


@dataclass
class ChainScene:
    """The parts, and what a test does with them."""

    writer: Writer
    reads: Reads
    clock: SetClock
    chain: ScriptedChain
    pricer: Pricer
    deposits: Deposits
    watch: ChainWatch
    checkout: Checkout
    selection: Selection
    settlement: SettlementWatch
    expiry: Expiry

    async def awaiting(self, usd: str = "20", customer: str = "c") -> tuple[bytes, Row]:
        """A buyer who was shown an address; returns it with the attempt."""
        principal = Money.parse(usd, WALLET_USD)
        offer = Offer(
            id=new_id("off"), method=METHOD, rail=RAIL, account=ACCOUNT, flow=Flow.DEPOSIT_ADDRESS.value,
            price=price(principal, FEES, Rate(Fraction(1), 20), USDT),
            quote_id=None, quote=None, expected_seconds=30, on_decline={"soft": "next", "hard": "stop"},
        )  # fmt: skip
        session = await stored_session(self.writer, [offer], principal, customer)
        chosen = await self.selection.select(MERCHANT, MODE, session["id"], offer.id)
        self.clock.pass_by(seconds=1)  # ids of one moment have no order
        return bytes.fromhex(chosen["next_action"]["address"][2:]), await self.attempt(chosen["attempt"])

    async def look(self) -> int:
        return await self.watch.run_once()

    async def all(self, model: Any, **where: Any) -> list[Row]:
        table = table_of(model)
        query = select(table).order_by(*table.primary_key.columns)
        return await self.reads.all(query.where(*(table.c[name] == value for name, value in where.items())))

    async def attempt(self, attempt_id: str) -> Row:
        return (await self.all(tables.Attempt, id=attempt_id))[0]

    async def payment(self, attempt: Row) -> Row:
        return (await self.all(tables.Payment, id=attempt["payment_id"]))[0]

    async def deposit_states(self) -> list[tuple[int, str]]:
        rows = await self.all(tables.Deposit)
        return sorted((row["units"], row["status"]) for row in rows)

    async def credited(self) -> int:
        """USD/9 in wallets."""
        rows = await self.all(tables.Account, code="wallet:paid")
        return -sum(int(row["balance"]) for row in rows)

    async def assert_books(self) -> None:
        """The books are right by themselves, and hold exactly what stands in the chain."""
        report = await check(self.reads)
        assert report.ok, report.findings
        deposits = await self.all(tables.Deposit, network=self.watch.network.name)
        for code, statuses in (("chain:final", {"credited", "unallocated"}), ("chain:unconfirmed", {"provisional"})):
            for asset in {row["asset"] for row in deposits}:
                rows = await self.all(tables.Account, code=code, asset=asset, subject=self.watch.network.name)
                mine = [row["units"] for row in deposits if row["status"] in statuses and row["asset"] == asset]
                assert sum(int(row["balance"]) for row in rows) == sum(mine), (code, asset)
        debt = sum(int(row["balance"]) for row in await self.all(tables.Account, code="wallet:debt"))
        unfunded = -sum(int(row["balance"]) for row in await self.all(tables.Account, code="merchant:unfunded"))
        early = [row for row in await self.all(tables.Lot) if row["kind"] == "provisional" and row["open"]]
        spent_early = sum(row["provisional_units"] for row in await self.all(tables.Deposit))
        spent_early -= sum(row["remaining_units"] for row in early)
        assert unfunded == debt + spent_early

    async def assert_sound(self) -> None:
        """The books are right, and every deposit, payment and lot says the same. For wallets that spent nothing."""
        await self.assert_books()
        deposits = await self.all(tables.Deposit)
        assert sum(row["credited_units"] for row in deposits) == await self.credited()
        held = {row["subject"] for row in await self.all(tables.Review)}
        for row in deposits:
            assert (row["status"] == "credited") == (row["credited_units"] > 0), row
            assert row["status"] != "unallocated" or row["id"] in held
            assert (row["status"] == "provisional") == (row["provisional_units"] > 0), row
        await self.assert_payments()

    async def assert_payments(self) -> None:
        """Every payment stands where its facts lead, and was credited what its deposits were."""
        deposits = await self.all(tables.Deposit)
        for payment in await self.all(tables.Payment):
            facts = sorted(
                await self.all(tables.PaymentFact, payment_id=payment["id"]), key=lambda row: int(row["number"])
            )
            assert fold(Fact(row["kind"]) for row in facts).value == payment["status"]
            mine = [row for row in deposits if row["payment_id"] == payment["id"]]
            assert payment["credited_units"] == sum(row["credited_units"] for row in mine)

    def another_watch(self) -> ChainWatch:
        return ChainWatch(self.chain, self.chain, self.deposits, self.reads, HealthBoard(), LEASE_S)


@asynccontextmanager
async def opened_chain(
    url: str,
    chain: ScriptedChain | None = None,
    *,
    market: Mapping[str, Any] | None = None,
    lease_seconds: float = 0.0,
    looks: bool = True,
) -> AsyncIterator[ChainScene]:
    """Open everything; the watch has seen the chain's head once.

    ``lease_seconds`` 0: whoever comes next takes the chain over at once, as after a crash and a pause.
    """
    chain = chain or ScriptedChain()
    assert isinstance(chain.clock, SetClock)
    clock = chain.clock
    rates = market_from_config(market or MARKET, MarketMode.SANDBOX)
    await rates.refresh(clock.now())
    spreads = SpreadTable.from_config([{"corridor": "USD-*", "spread_bps": 20}])
    pricer = Pricer(rates, spreads, {FeeKey(RAIL, ACCOUNT, METHOD): FEES}, b"a secret of tests, long enough to sign")
    writer, reads = Writer(backend_for(url), clock), Reads(url)
    await writer.open()
    try:
        calls = RailCalls(
            writer, Confirmation(writer, Finder(reads), pricer, clock), {(RAIL, ACCOUNT): chain}, HealthBoard(), clock, 10**6
        )  # fmt: skip
        closing, sellers, policy = Closing(calls, reads), Sellers(writer, reads), CheckoutPolicy(1800, 300, 86_400)
        checkout = Checkout(writer, pricer, NoRouter(), clock, SCREENING, policy, sellers, KnownCustomers(reads))
        deposits = Deposits(writer, reads, AddressBook(reads), pricer, clock)
        scene = ChainScene(
            writer=writer,
            reads=reads,
            clock=clock,
            chain=chain,
            pricer=pricer,
            deposits=deposits,
            watch=ChainWatch(chain, chain, deposits, reads, HealthBoard(), lease_seconds),
            checkout=checkout,
            selection=Selection(calls, closing, reads, SCREENING, "https://pay.example", sellers),
            settlement=SettlementWatch(calls, reads, WatchPolicy(2.0, 3600.0)),
            expiry=Expiry(checkout, closing, reads),
        )
        if looks:
            await scene.look()
        yield scene
    finally:
        await writer.close()
        await reads.close()


def lines_of(attempt: Row) -> list[int]:
    """The locked price's lines in USD/9: principal, rail, network, platform, spread, rounding."""
    units: list[int] = orjson.loads(attempt["lines"])["usd"]
    return units
