"""Pricing a past period again with another version: first the differences, then, on somebody's word, the correcting entries.

The difference is exact (USD/22): what the events would have cost less what they did, both without rounding. Posting adds it to
the wallet's carried remainder, so that afterwards, too, the sum of all charges is the sum of all costs, rounded down.

A higher price is charged, into debt where the wallet does not cover it: it was used. A lower one comes back: first off the
wallet's debt (as usage into debt, reversed), the rest as a compensation lot, which can be spent and never be paid out: what
was used may have been free credit, and free credit must not turn into money (rule 1 of the money rules).

Each wallet's correction is one unit under a key of its own; what crashed half-way is posted on. A period is corrected once:
one that overlaps it is refused, because its differences would count the same events again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Rerating, UsageEvent, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.ids import new_id
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import credit, debit, entry
from orchestrator.ledger.purse import Purse, purse_locks
from orchestrator.ledger.shown import usd_text
from orchestrator.metering.price_book import Book, PriceBook, Version
from orchestrator.metering.rating import PriceMissing, charge, show_cost
from rates.money import WALLET_USD, Money

KIND: Final = "rerate"
_OF_MERCHANT: Final = ("merchant_id",)


@dataclass(slots=True)
class _Sum:
    events: int = 0
    before: int = 0
    after: int = 0


class Reratings:
    """Makes reports and posts them."""

    def __init__(self, writer: Writer, reads: Reads, prices: PriceBook) -> None:
        self._writer = writer
        self._reads = reads
        self._prices = prices

    async def report(
        self, merchant_id: str, mode: str, *, rerating_id: str, from_us: int, to_us: int, version: str
    ) -> dict[str, Any]:
        """Compare accepted events of [from, to) by their ``at`` with a version; store and return the report.

        Events with an amount have no price and stay out; those that the version cannot price are counted, and stay as they are.
        Raises Invalid, NotFound.
        """
        if from_us >= to_us:
            raise Invalid("range_is_empty", "`to` is later than `from`", pointer="/to")
        wanted = await self._prices.version(merchant_id, mode, version)
        book = await self._prices.book(merchant_id, mode)
        sums: dict[tuple[str, str], _Sum] = {}
        unpriced = 0
        event = table_of(UsageEvent)
        columns = (event.c.wallet_id, event.c.model, event.c.tokens, event.c.price_version)
        query = select(*columns).where(
            event.c.merchant_id == merchant_id, event.c.mode == mode, event.c.status == "accepted",
            event.c.tokens != "", event.c.at_us >= from_us, event.c.at_us < to_us,
        )  # fmt: skip
        async with self._reads.snapshot() as snapshot:
            async for rows in snapshot.stream(query):
                for row in rows:
                    unpriced += not _compare(sums, book, wanted, row)
        return await self._store(
            {
                "merchant_id": merchant_id, "id": rerating_id, "mode": mode, "from_us": from_us, "to_us": to_us,
                "price_version": wanted.id, "report": _report_json(sums, unpriced), "status": "reported",
            }
        )  # fmt: skip

    async def _store(self, row: Row) -> dict[str, Any]:
        key = (row["merchant_id"], row["id"])

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            there = view.one("rerating", *key)
            if there is None:
                changes.insert("rerating", **row, created_us=view.now_us)
            return {"row": there or {**row, "created_us": view.now_us}}

        unit = Unit(row["merchant_id"], row["mode"], None, (row_lock("rerating", *key),), decide)
        return rerating_shown((await self._writer.submit(unit)).answer["row"])

    async def find(self, merchant_id: str, mode: str, rerating_id: str) -> Row:
        """Return a stored report. Raises NotFound."""
        table = table_of(Rerating)
        row = await self._reads.one(
            select(table).where(table.c.merchant_id == merchant_id, table.c.id == rerating_id, table.c.mode == mode)
        )
        if row is None:
            raise NotFound("rerating_not_found", f"there is no rerating {rerating_id}")
        return row

    async def post(self, merchant_id: str, mode: str, rerating_id: str) -> dict[str, Any]:
        """Post the correcting entries of a report; return it with them. Safe to repeat. Raises NotFound, Conflict."""
        row = await self.find(merchant_id, mode, rerating_id)
        await self._claim(row)
        posted = {}
        for wallet_id, difference in orjson.loads(row["report"])["wallets"].items():
            answer = (await self._writer.submit(correction(row, wallet_id, int(difference)))).answer
            posted[wallet_id] = usd_text(answer["units"])
        await self._mark(row, "posted")
        return rerating_shown({**row, "status": "posted"}) | {"posted": posted}

    async def _claim(self, row: Row) -> None:
        """Say that this report is being posted. Raises Conflict where another one has corrected some of its period."""
        merchant_id = row["merchant_id"]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            for other in view.many("rerating", _OF_MERCHANT, (merchant_id,)):
                if (
                    other["id"] != row["id"]
                    and other["mode"] == row["mode"]
                    and other["status"] != "reported"
                    and other["from_us"] < row["to_us"]
                    and row["from_us"] < other["to_us"]
                ):
                    raise Conflict("period_was_rerated", f"{other['id']} has corrected some of this period already")
                if other["id"] == row["id"] and other["status"] == "reported":
                    changes.update("rerating", (merchant_id, row["id"]), status="posting")
            return {}

        # The merchant's row keeps two reports that overlap from being claimed at once.
        locks = (row_lock("merchant", merchant_id), Lock("rerating", _OF_MERCHANT, (merchant_id,)))
        await self._writer.submit(Unit(merchant_id, row["mode"], None, locks, decide))

    async def _mark(self, row: Row, status: str) -> None:
        key = (row["merchant_id"], row["id"])

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.update("rerating", key, status=status)
            return {}

        await self._writer.submit(Unit(key[0], row["mode"], None, (row_lock("rerating", *key),), decide))


def correction(rerating: Row, wallet_id: str, difference: int) -> Unit:
    """Return the unit that corrects one wallet by a difference in USD/22; once for ever."""
    merchant_id, mode, fact = rerating["merchant_id"], rerating["mode"], f"{rerating['id']}/{wallet_id}"

    def decide(view: View, changes: Changes) -> Mapping[str, Any]:
        purse = Purse.open(view, merchant_id, mode, wallet_id)
        units, purse.rating_remainder = charge(purse.rating_remainder, difference)
        debt = purse.debt
        if units > 0:
            purse.charge(units, must=True)
        purse.write(changes, kind=KIND, fact=fact)
        if units < 0:
            _give_back(view, changes, rerating, wallet_id, -units, debt)
        return {"units": units}

    return Unit(merchant_id, mode, f"{KIND}:{fact}", purse_locks(merchant_id, mode, wallet_id), decide)


def _give_back(view: View, changes: Changes, rerating: Row, wallet_id: str, units: int, debt: int) -> None:
    repaid = min(units, debt)
    rest = Money(units - repaid, WALLET_USD)
    off_debt = Money(repaid, WALLET_USD)
    fact = f"{rerating['id']}/{wallet_id}"
    changes.post(
        entry(
            KIND,
            fact,
            debit(Account.MERCHANT_UNFUNDED, off_debt),
            credit(Account.WALLET_DEBT, off_debt, wallet_id),
            debit(Account.PROMO_FUNDING, rest),
            credit(Account.WALLET_PROMO, rest, wallet_id),
        )
    )
    if rest.units:
        changes.insert(
            "lot",
            merchant_id=rerating["merchant_id"],
            id=new_id("lot"),
            mode=rerating["mode"],
            wallet_id=wallet_id,
            kind="compensation",
            source=fact,
            payment_id=None,
            units=rest.units,
            remaining_units=rest.units,
            created_us=view.now_us,
        )


def _compare(sums: dict[tuple[str, str], _Sum], book: Book, wanted: Version, row: Row) -> bool:
    """Add one event to the sums; say whether the version prices it."""
    old = book.named(row["price_version"])
    assert old is not None, "versions are never deleted"
    tokens = orjson.loads(row["tokens"])
    was, now = old.rates(row["model"]), wanted.rates(row["model"])
    assert was is not None, "it was rated with it"
    if now is None:
        return False
    try:
        after = now.cost(tokens)
    except PriceMissing:
        return False
    one = sums.setdefault((row["wallet_id"], row["model"]), _Sum())
    one.events += 1
    one.before += was.cost(tokens)
    one.after += after
    return True


def _report_json(sums: Mapping[tuple[str, str], _Sum], unpriced: int) -> str:
    wallets: dict[str, int] = {}
    lines = []
    for (wallet, model), one in sorted(sums.items()):
        wallets[wallet] = wallets.get(wallet, 0) + one.after - one.before
        lines.append([wallet, model, one.events, str(one.before), str(one.after)])
    different = {wallet: str(difference) for wallet, difference in wallets.items() if difference}
    return orjson.dumps({"lines": lines, "wallets": different, "unpriced": unpriced}).decode()


def rerating_shown(row: Row) -> dict[str, Any]:
    """Return a report as the API shows it: dollars, exact to the last digit."""
    report = orjson.loads(row["report"])
    return {
        "id": row["id"],
        "from": rfc3339(row["from_us"]),
        "to": rfc3339(row["to_us"]),
        "version": row["price_version"],
        "status": row["status"],
        "lines": [
            {
                "wallet": wallet,
                "model": model,
                "events": events,
                "before": show_cost(int(before)),
                "after": show_cost(int(after)),
                "difference": show_cost(int(after) - int(before)),
            }
            for wallet, model, events, before, after in report["lines"]
        ],
        "wallets": {wallet: show_cost(int(difference)) for wallet, difference in report["wallets"].items()},
        "unpriced_events": report["unpriced"],
        "created_at": rfc3339(row["created_us"]),
    }
