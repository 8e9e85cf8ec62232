"""Chains held against the books: what lies on every deposit address, what we know came there, and what the journal says of it.

Three ways, as for other rails: the chain's own balances x our rows (deposits, the inbox, what we sent on) x the journal. All
addresses are looked at in the newest block. One that differs there is judged at a block that the chain itself calls final
(EVM: finalized, TRON: solidified) and that the scanner has read: what differs there is a break. Where no node answers for such a
block it is asked again in the newest one, once all blocks of the first look were read, and only the same difference twice is a
break. The report says which of these it was. No money moves by it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy import exists, select

from adapters.base import ChainScanFailed, ChainToken, RailAdapter, ScansChain
from adapters.final_balances import ReadsFinalBalances
from orchestrator.clock import Clock, rfc3339
from orchestrator.database import tables
from orchestrator.database.reads import Reads
from orchestrator.database.tables import table_of
from orchestrator.database.unit import Row
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy
from orchestrator.ledger.chart import Account
from orchestrator.payments.chain_balances import ChainBalances, Difference
from orchestrator.payments.sightings import Network
from orchestrator.reconciliation.matching import Break
from orchestrator.reconciliation.reports import AccountReport, Standing
from rates.money import Asset, Money

BATCH: Final = 1_000
"""Addresses by one question."""
RUN_S_MAX: Final = 600
NEWEST: Final = "newest"
"""Nothing differed in the newest block: there was nothing to judge."""
TWICE_NEWEST: Final = "newest_twice"
CATCH_UP_TRIES: Final = 4
CATCH_UP_S_MAX: Final = 2.0
"""A command waits for the answer: what a slow scanner has not read by then waits for the next time."""
BOOKED: Final = frozenset(
    {"provisional", "credited", "unallocated", "refund_planned", "refunding", "refunded", "ignored"}
)
"""Deposits that stand in the journal, in a wallet, in suspense or sent back; what was only seen, or is dust, does not yet."""
IN_THE_INBOX: Final = frozenset({"unallocated", "refund_planned"})
_READ: Final = ("id", "merchant_id", "status", "asset", "units", "credited_units", "tx_hash", "ordinal", "block_us")
Rails = Mapping[tuple[str, str], RailAdapter]
_log = structlog.get_logger("reconciliation")


@dataclass(slots=True)
class _Looked:
    """What one walk over all addresses showed, raw, by token contract."""

    found: Counter[bytes] = field(default_factory=Counter)
    known: Counter[bytes] = field(default_factory=Counter)
    certain: list[Difference] = field(default_factory=list)
    at: dict[str, Any] = field(default_factory=dict)
    """The block of the verdict, and what makes it one."""
    waiting: int = 0
    """Addresses of which nobody can say now: a transaction of ours is on its way, or a block is not read yet."""


@dataclass(frozen=True, slots=True)
class ChainDesk:
    writer: Writer
    reads: Reads
    rails: Rails
    clock: Clock
    forgetful: Collection[tuple[str, str]] = ()
    """Simulated chains: they begin anew when they are started, so they are asked only where they are named."""

    def accounts(self, rail: str | None = None, account: str | None = None) -> list[tuple[str, str]]:
        """Return the chains that are watched: of one rail, or all."""
        return [
            place for place, adapter in self.rails.items()
            if isinstance(adapter, ScansChain) and rail in (None, place[0]) and account in (None, place[1])
            and (rail is not None or place not in self.forgetful)
        ]  # fmt: skip

    async def run(self, rail: str, account: str) -> AccountReport:
        """Look at every address of a chain; return how it stands. Raises Busy where no node answers."""
        adapter = self.rails[rail, account]
        assert isinstance(adapter, ScansChain), "accounts() names those that do"
        network = Network.of(adapter.account, adapter)
        looks = ChainBalances(adapter, adapter, self.writer, self.reads)
        try:
            async with asyncio.timeout(RUN_S_MAX):
                looked = await self._walk(network, adapter, looks)
        except (ChainScanFailed, TimeoutError) as error:
            raise Busy("chain_did_not_answer", f"{rail}/{account}: {str(error)[:200]}") from None
        for difference in looked.certain:
            await looks.tell(network, difference)
        return await self._report(network, adapter, looked)

    async def run_once(self) -> int:
        """Reconcile every chain; return how many have breaks. For the daily worker."""
        broken = 0
        for place in self.accounts():
            try:
                report = await self.run(*place)
            except Busy as error:
                _log.warning("chain_not_reconciled", rail=place[0], account=place[1], error=str(error))
                continue
            broken += not report.ok
            _log.log(20 if report.ok else 40, "chain_reconciled", rail=place[0], account=place[1],
                     deposits=report.lines, breaks=len(report.breaks), waiting=report.waiting)  # fmt: skip
        return broken

    # --- chain x rows ---------------------------------------------------------------------------------------------------

    async def _walk(self, network: Network, scanner: ScansChain, looks: ChainBalances) -> _Looked:
        looked, suspects = _Looked(at={"block": (await scanner.head()).latest, "finality": NEWEST}), list[Difference]()
        addresses = await self._addresses(network)
        for start in range(0, len(addresses), BATCH):
            for token in scanner.tokens:
                suspects += await _compare(network, scanner, looks, token, addresses[start : start + BATCH], looked)
        if not suspects:
            return looked
        latest = (await scanner.head()).latest
        parts = [
            mine[start : start + BATCH]
            for token in scanner.tokens
            for mine in [[one for one in suspects if one.token.contract == token.contract]]
            for start in range(0, len(mine), BATCH)
        ]
        try:
            verdict = await self._final_verdict(network, scanner, looks, parts)
        except ChainScanFailed as failed:
            _log.warning("no_final_balances", network=network.name, error=str(failed)[:200])
            verdict = await self._newest_verdict(network, scanner, looks, parts, latest)
        looked.certain, looked.at = verdict.certain, verdict.at
        looked.waiting += len(suspects) - len(verdict.certain)
        return looked

    async def _final_verdict(
        self, network: Network, scanner: ScansChain, looks: ChainBalances, parts: list[list[Difference]]
    ) -> _Looked:
        """Judge addresses at a final block. Raises ChainScanFailed where no node answers for one."""
        if not isinstance(scanner, ReadsFinalBalances):
            raise ChainScanFailed(f"{network.name} shows nothing that is final")
        verdict, blocks = _Looked(), list[int]()
        for part in parts:
            token, addresses = part[0].token, [one.address for one in part]
            final = await scanner.final_balances(token, addresses)
            blocks.append(final.block)
            if not await self._has_read(network, scanner, final.block):
                continue
            known, moving = await looks.known(network, token, addresses, final.block)
            verdict.certain += [
                Difference(address, token, found, known[address])
                for address, found in zip(addresses, final.units, strict=True)
                if found != known[address] and address not in moving
            ]
        if blocks:
            verdict.at = {"block": min(blocks), "finality": scanner.final_word}
        return verdict

    async def _newest_verdict(
        self, network: Network, scanner: ScansChain, looks: ChainBalances, parts: list[list[Difference]], latest: int
    ) -> _Looked:
        """Judge addresses by two looks at the newest block."""
        verdict = _Looked(at={"block": latest, "finality": TWICE_NEWEST})
        if not await self._has_read(network, scanner, latest):
            return verdict
        for part in parts:
            again = await _compare(network, scanner, looks, part[0].token, [one.address for one in part], _Looked())
            still = {one.address: one.raw for one in again}
            verdict.certain += [one for one in part if still.get(one.address) == one.raw]
        return verdict

    async def _addresses(self, network: Network) -> list[bytes]:
        table = table_of(tables.DepositAddress)
        rows = await self.reads.all(
            select(table.c.address)
            .where(table.c.mode == network.account.mode.value, table.c.family == network.family)
            .order_by(table.c.address_index)
        )
        return [bytes(row["address"]) for row in rows]

    async def _has_read(self, network: Network, scanner: ScansChain, block: int) -> bool:
        """Wait until the scanner has read every block up to one; False: it did not get there."""
        table = table_of(tables.ChainCursor)
        for _ in range(CATCH_UP_TRIES):
            cursor = await self.reads.one(select(table.c.number).where(table.c.network == network.name))
            if cursor is not None and cursor["number"] >= block:
                return True
            await asyncio.sleep(min(CATCH_UP_S_MAX, scanner.block_seconds))
        return False

    # --- rows x journal -------------------------------------------------------------------------------------------------

    async def _report(self, network: Network, scanner: ScansChain, looked: _Looked) -> AccountReport:
        deposits, accounts = table_of(tables.Deposit), table_of(tables.Account)
        ours, reviews = table_of(tables.ChainTransaction), table_of(tables.Review)
        addresses = set(await self._addresses(network))
        async with self.reads.snapshot() as view:
            rows = await view.all(
                select(*(deposits.c[name] for name in _READ)).where(deposits.c.network == network.name)
            )
            held = await view.all(
                select(accounts.c.asset, accounts.c.balance).where(
                    accounts.c.code.in_((Account.CHAIN_FINAL.value, Account.CHAIN_UNCONFIRMED.value)),
                    accounts.c.subject == network.name, accounts.c.mode == network.account.mode.value,
                )
            )  # fmt: skip
            sent = await view.all(select(ours.c.asset, ours.c.units, ours.c.sender, ours.c.contract).where(
                ours.c.network == network.name, ours.c.status == "final", ours.c.contract.is_not(None)))  # fmt: skip
            unasked = await view.all(
                select(deposits.c.id).where(
                    deposits.c.network == network.name, deposits.c.status.in_(IN_THE_INBOX),
                    ~exists().where(reviews.c.merchant_id == deposits.c.merchant_id, reviews.c.subject == deposits.c.id),
                )
            )  # fmt: skip
        books, booked = Counter[str](), Counter[str]()
        for row in held:
            books[row["asset"]] += row["balance"]
        for row in rows:
            booked[row["asset"]] += row["units"] * (row["status"] in BOOKED)
        for row in sent:
            booked[row["asset"]] -= row["units"] * (bytes(row["sender"]) in addresses)
        breaks = [_address_break(scanner, one, self.clock) for one in looked.certain]
        lost = {one["id"] for one in unasked}
        breaks += [found for row in rows if (found := _deposit_break(row, lost))]
        standings = [_standing(token, books, booked, looked) for token in scanner.tokens]
        settled = sum(row["status"] in BOOKED - {"provisional"} for row in rows)
        open_ = sum(row["status"] in {"detected", "provisional"} for row in rows)
        return AccountReport(network.account.rail, network.account.account, network.account.mode.value, len(rows), settled,
                             open_ + looked.waiting, breaks, standings, self.clock.now_us(), looked.at)  # fmt: skip


async def _compare(
    network: Network, scanner: ScansChain, looks: ChainBalances, token: ChainToken, addresses: Sequence[bytes],
    looked: _Looked,
) -> list[Difference]:  # fmt: skip
    """Ask for one token on some addresses, add up what is there and known, and return what differs."""
    if not addresses:
        return []
    there = await scanner.balances(token, addresses)
    known, moving = await looks.known(network, token, addresses)
    differences = []
    for address, found in zip(addresses, there, strict=True):
        looked.found[token.contract] += found
        looked.known[token.contract] += known[address]
        if address in moving:
            looked.waiting += found != known[address]
        elif found != known[address]:
            differences.append(Difference(address, token, found, known[address]))
    return differences


def _standing(token: ChainToken, books: Counter[str], booked: Counter[str], looked: _Looked) -> Standing:
    """Add one token up, in units of the books; parts of a unit (tokens with more decimals) are left out on both sides."""
    asset, unit = str(token.asset), 10 ** max(0, token.decimals - token.asset.scale)
    found, known = looked.found[token.contract] // unit, looked.known[token.contract] // unit
    broken = sum(-one.raw for one in looked.certain if one.token.contract == token.contract) // unit
    return Standing(asset, books[asset], found, known - found - broken, known - booked[asset])


def _address_break(scanner: ScansChain, one: Difference, clock: Clock) -> dict[str, Any]:
    scale = 10**one.token.decimals
    whole, part = divmod(abs(one.raw), scale)
    text = f"{whole}.{part:0{one.token.decimals}}".rstrip("0").rstrip(".")
    kind = Break.MISSING_HERE if one.raw > 0 else Break.MISSING_THERE
    return {
        "type": kind.value, "line": None, "kind": "address", "word": None, "amount": text if one.raw > 0 else f"-{text}",
        "currency": one.token.asset.code, "object": scanner.show_address(one.address), "merchant": None,
        "reference": None, "money": None, "at": rfc3339(clock.now_us()),
    }  # fmt: skip


def _deposit_break(row: Row, unasked: Collection[str]) -> dict[str, Any] | None:
    """Return what is wrong with one deposit: it is credited once, or listed for a person."""
    if row["id"] in unasked:
        type_ = Break.MISSING_HERE
    elif (row["status"] == "credited") != (row["credited_units"] > 0):
        type_ = Break.AMOUNT
    else:
        return None
    return {
        "type": type_.value, "line": f"{row['tx_hash']}:{row['ordinal']}", "kind": "deposit", "word": row["status"],
        "amount": Money(row["units"], Asset.parse(row["asset"])).decimal(), "currency": row["asset"].partition("/")[0],
        "object": row["id"], "merchant": row["merchant_id"], "reference": None, "money": row["tx_hash"],
        "at": rfc3339(row["block_us"]),
    }  # fmt: skip
