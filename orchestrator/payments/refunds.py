"""Refunds: asked by a merchant, carried out by the rail, watched until they ended. What is booked: ``refund_book``.

    request      credit set aside, row created                  one unit
    send         row ``sent``, committed before the call        one unit, then the rail under our own id
    apply        succeeded, failed, or taken back later         one unit, once each

An answer that was lost leaves ``sent``: the rail is asked, and asked again under the same id while it keeps the key. No
step sends a second refund.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from sqlalchemy import Select, select

from adapters import operations
from adapters.base import OutcomeUnknown, RailAdapter, RailError
from adapters.operations import RefundEvent, RefundOrder, RefundRefused, RefundState
from orchestrator.clock import Clock, from_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Capture, Deposit, Payment, Refund, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Invalid, NotFound, Refusal
from orchestrator.ids import new_id
from orchestrator.payments.confirmation import NotOurs
from orchestrator.payments.dispute_yields import Returned, book_word, made_at_rail, submit_beside
from orchestrator.payments.refund_book import Book, MoneyRow, RefundWanted, lot_locks
from orchestrator.payments.refund_questions import LOST, questions_lock, withdraw
from orchestrator.payments.refund_terms import OPEN, Share
from orchestrator.payments.refund_words import FAILED, Stale, Word, word_of
from orchestrator.settings import DisputePolicy, RefundPolicy
from orchestrator.sweeps.refunds import ChainRefunds
from orchestrator.sweeps.refunds import RefundWanted as ChainWanted

CALL_S_MAX: Final = 40
CHECK_FIRST_US: Final = 2_000_000
WORDS_MAX: Final = 100
"""So many others may speak of a refund while one word is weighed."""
Rails = Mapping[tuple[str, str], RailAdapter]
_log = structlog.get_logger("refunds")


@dataclass(frozen=True, slots=True)
class Refunds:
    writer: Writer
    reads: Reads
    rails: Rails
    clock: Clock
    policy: RefundPolicy
    chain: ChainRefunds
    disputes: DisputePolicy

    # --- looking ----------------------------------------------------------------------------------------------------

    async def find(self, refund_id: str, merchant_id: str | None = None, mode: str | None = None) -> Row:
        """Return one refund, of any merchant where none is named. Raises NotFound."""
        table = table_of(Refund)
        query = select(table).where(table.c.id == refund_id)
        if merchant_id is not None:
            query = query.where(table.c.merchant_id == merchant_id, table.c.mode == mode)
        row = await self.reads.one(query)
        if row is None:
            raise NotFound("refund_not_found", f"there is no refund {refund_id}")
        return row

    async def _money(self, merchant_id: str, mode: str, payment_id: str) -> list[tuple[MoneyRow, Row]]:
        """Return the credited money of a payment, newest first. Raises NotFound."""
        payments = table_of(Payment)
        payment = await self.reads.one(
            select(payments).where(payments.c.merchant_id == merchant_id, payments.c.id == payment_id,
                                   payments.c.mode == mode)
        )  # fmt: skip
        if payment is None:
            raise NotFound("payment_not_found", f"there is no payment {payment_id}")
        found: list[tuple[MoneyRow, Row]] = []
        for name, table in (("capture", table_of(Capture)), ("deposit", table_of(Deposit))):
            query = select(table).where(table.c.merchant_id == merchant_id, table.c.payment_id == payment_id,
                                        table.c.status == "credited")  # fmt: skip
            found += [(_money_row(name, row, payment["wallet_id"]), row) for row in await self.reads.all(query)]
        return sorted(found, key=lambda pair: pair[0].id, reverse=True)

    # --- asked ------------------------------------------------------------------------------------------------------

    async def request(self, wanted: RefundWanted) -> Row:
        """Set the credit aside and ask the rail; return the refund as it stands then. Safe to repeat under the same id.

        Raises NotFound, Conflict (nothing was written), Invalid. A rail that does not answer is no error: it is asked
        again until the refund has ended.
        """
        try:
            return await self.find(wanted.id, wanted.merchant_id, wanted.mode)
        except NotFound:
            pass
        at = await self._chosen(wanted)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            book = Book.open(view, changes, at, self.policy.returned(at.rail))
            row = book.give_back(wanted) if wanted.destination == "wallet" else book.ask(wanted)
            return {"status": row["status"]}

        unit = Unit(wanted.merchant_id, wanted.mode, f"refund:{wanted.id}:asked", at.locks(), decide)
        await self.writer.submit(unit)
        row = await self.find(wanted.id)
        if row["status"] == "created":
            await self.send(row)
        return await self.find(wanted.id)

    async def _chosen(self, wanted: RefundWanted) -> MoneyRow:
        """Return the money that can bear the refund: the newest that can; the decision looks again under the lock."""
        money = await self._money(wanted.merchant_id, wanted.mode, wanted.payment_id)
        if not money:
            raise Conflict("payment_not_refundable", "no money of this payment is credited")
        fitting = [at for at, row in money if wanted.units is None or self._left(row) >= wanted.units]
        at = fitting[0] if fitting else money[0][0]
        if wanted.destination == "wallet":
            return at
        if at.on_chain != (wanted.destination == "address"):
            said = "money from a chain goes to an address that the customer confirmed: destination address"
            raise Invalid("destination_not_possible", said if at.on_chain else "this rail sends it back to its source",
                          pointer="/destination/type")  # fmt: skip
        if not at.on_chain and not isinstance(self.rails.get((at.rail, at.account)), operations.Refunds):
            raise Conflict("rail_cannot_refund", f"{at.rail} sends nothing back: destination wallet is possible")
        return at

    @staticmethod
    def _left(money: Row) -> int:
        whole = money["units"]
        gone = money["refunding_units"] + money["refunded_units"] + money["withdrawn_units"]
        return int(money["credited_units"] * (whole - gone) // whole)

    # --- sent -------------------------------------------------------------------------------------------------------

    async def send(self, refund: Row) -> None:
        """Ask the rail for a refund that was not sent yet, or whose call is known not to have reached it."""
        if not await self._mark_sent(refund):
            return
        await self.call(refund)

    async def call(self, refund: Row, *, again: bool = False) -> None:
        """Ask the rail. ``again``: an earlier call had no answer, so that whatever this one meets, it may have acted."""
        try:
            async with asyncio.timeout(CALL_S_MAX):
                event = await self._asked(refund)
        except RefundRefused as no:
            await self.fail(refund, f"{no.code}: {no}")
        except (OutcomeUnknown, TimeoutError) as error:
            self.say("refund_outcome_unknown", refund, error)
        except RailError as error:  # nothing happened there
            self.say("refund_not_sent", refund, error)
            if not again:
                await self._mark_not_sent(refund, str(error))
        except Refusal as error:  # of our own chain machine: nothing was sent
            self.say("refund_not_sent", refund, error)
            if isinstance(error, Conflict):
                await self.fail(refund, str(error))
            else:
                await self._mark_not_sent(refund, str(error))
        else:
            if event is not None:
                await self.apply(event)

    async def _asked(self, refund: Row) -> RefundEvent | None:
        if refund["destination"] == "address":
            await self.chain.begin(await self._transfer(refund))
            return None
        adapter = self.rails.get((refund["rail"], refund["account"]))
        assert isinstance(adapter, operations.Refunds), "it was one when the refund was asked for"
        return await adapter.refund_payment(await self.order(refund))

    async def ask(self, refund: Row) -> bool:
        """Ask the rail what became of a refund and take what it says; False where it says nothing. Raises RailError."""
        adapter = self.rails.get((refund["rail"], refund["account"]))
        if not isinstance(adapter, operations.Refunds):
            return False
        async with asyncio.timeout(CALL_S_MAX):
            event = await adapter.fetch_refund(await self.order(refund))
        if event is not None:
            await self.apply(event)
        return event is not None

    async def order(self, refund: Row) -> RefundOrder:
        table = table_of(Capture)
        capture = await self.reads.one(
            select(table).where(table.c.merchant_id == refund["merchant_id"], table.c.id == refund["money_id"])
        )
        assert capture is not None, "money is never deleted"
        return RefundOrder(
            refund_id=refund["id"], attempt_id=capture["attempt_id"], money_id=capture["money_id"],
            amount=Share.of_row(refund).local, created_at=from_us(refund["created_us"]),
            rail_reference=refund["rail_reference"],
        )  # fmt: skip

    async def _transfer(self, refund: Row) -> ChainWanted:
        table = table_of(Deposit)
        deposit = await self.reads.one(
            select(table).where(table.c.merchant_id == refund["merchant_id"], table.c.id == refund["money_id"])
        )
        assert deposit is not None, "money is never deleted"
        network = self.chain.machine.networks.get(deposit["network"])
        if network is None:
            raise Conflict("network_not_possible", f"nothing is sent on {deposit['network']}: configure `sweeps`")
        contract = next((key for key, token in network.tokens.items() if token.method == deposit["method"]), None)
        if contract is None:
            raise Conflict("token_not_watched", f"{deposit['method']} is no longer configured")
        return ChainWanted(refund["id"], refund["merchant_id"], refund["mode"], refund["wallet_id"], deposit["network"],
                           contract, Share.of_row(refund).local)  # fmt: skip

    async def _mark_sent(self, refund: Row) -> bool:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is None or row["status"] != "created":
                return {"mine": False}
            changes.update("refund", (row["merchant_id"], row["id"]), status="sent",
                           next_check_us=view.now_us + CHECK_FIRST_US, updated_us=view.now_us)  # fmt: skip
            return {"mine": True}

        return bool((await self.submit(refund, decide)).get("mine"))

    async def _mark_not_sent(self, refund: Row, why: str) -> None:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is not None and row["status"] == "sent":
                changes.update("refund", (row["merchant_id"], row["id"]), status="created", failure=why[:200],
                               updated_us=view.now_us)  # fmt: skip
            return {}

        await self.submit(refund, decide)

    async def submit(
        self, refund: Row, decide: Callable[[View, Changes], Mapping[str, Any]], *more: Lock
    ) -> Mapping[str, Any]:
        locks = (row_lock("refund", refund["merchant_id"], refund["id"]), *more)
        return (await self.writer.submit(Unit(refund["merchant_id"], refund["mode"], None, locks, decide))).answer

    # --- what the rail says -------------------------------------------------------------------------------------------

    async def apply(self, event: RefundEvent) -> str:
        """Take one statement about a refund; return what came of it. Raises NotOurs. The same again changes nothing."""
        refund = await self._of_event(event)
        if refund is None:
            return await self._made_at_rail(event)
        if (refund["rail"], refund["account"], refund["mode"]) != (event.rail, event.account, event.mode.value):
            raise NotOurs(f"{event.rail}/{event.account} {event.event_id}: {refund['id']} is of another account")
        if event.state is RefundState.PENDING:
            return await self._pending(refund, event)
        return await self.ended(refund, word_of(event))

    async def _of_event(self, event: RefundEvent) -> Row | None:
        table = table_of(Refund)
        mine = (table.c.rail == event.rail, table.c.account == event.account, table.c.mode == event.mode.value)
        query: Select[Any] = select(table).where(*mine, table.c.rail_reference == event.rail_reference)
        if event.refund_id is not None:
            found = await self.reads.one(select(table).where(table.c.id == event.refund_id))
            if found is not None:
                return found
            # Adyen gives a refund made in its dashboard a reference too, and that is not one of ours.
        return await self.reads.one(query)

    async def _pending(self, refund: Row, event: RefundEvent) -> str:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("refund", refund["merchant_id"], refund["id"])
            if row is not None and row["status"] in OPEN:
                found: dict[str, Any] = {} if row["status"] == "pending" else {"checks": 0}
                """From here on it is watched as one that is known: a person is asked if that does not end either."""
                changes.update("refund", (row["merchant_id"], row["id"]), status="pending", updated_us=view.now_us,
                               rail_reference=event.rail_reference or row["rail_reference"], **found)  # fmt: skip
                withdraw(view, changes, row, LOST)
            return {}

        await self.submit(refund, decide, questions_lock(refund))
        return "pending"

    async def fail(self, refund: Row, why: str) -> None:
        """End a refund that our own call shows to have failed; one that has ended already stays as it is."""
        await self.ended(refund, Word(FAILED, why=why))

    async def ended(self, refund: Row, word: Word) -> str:
        """Take a word about the end of a refund; the latest one of the rail stands, whatever was heard when."""
        taken = ""
        for _ in range(WORDS_MAX):
            row = await self.find(refund["id"])
            if not word.is_news_for(row):
                return taken or ("known" if row["status"] == word.outcome else "older")
            try:
                if row["status"] == word.outcome:
                    await self._later(row, word)  # a word in between, if one comes yet, is an older one
                else:
                    await self._turned(row, word)
            except Stale:
                continue
            taken = word.outcome
        raise RuntimeError(f"{refund['id']} does not hold still: its word is to be taken again")

    async def _turned(self, row: Row, word: Word) -> None:
        at = _at(row)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            now = view.one("refund", row["merchant_id"], row["id"])
            assert now is not None, "refunds are never deleted"
            if not word.weighed_alike(row, now):
                raise Stale
            book_word(view, changes, at, self._returned(at), now, word)
            return {"result": word.outcome}

        await submit_beside(self.writer, self.reads, at, self.locks(row), word.key_for(row), decide)

    def _returned(self, at: MoneyRow) -> Returned:
        return Returned(self.policy.returned(at.rail), self.disputes.returned(at.rail))

    async def _later(self, row: Row, word: Word) -> None:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            now = view.one("refund", row["merchant_id"], row["id"])
            if now is not None and now["status"] == word.outcome and word.is_news_for(now):
                changes.update("refund", (row["merchant_id"], row["id"]), ended_us=word.at_us)
            return {}

        await self.submit(row, decide)

    @staticmethod
    def locks(refund: Row) -> list[Lock]:
        """Return what the end of a refund locks."""
        own = row_lock("refund", refund["merchant_id"], refund["id"])
        return [*_at(refund).locks(), own, *lot_locks(refund), questions_lock(refund)]

    def never_happened(self, view: View, changes: Changes, refund: Row, why: str) -> None:
        """Fail, under ``locks``, a refund that a person could not find at the rail. Raises Conflict where it was found."""
        row = view.one("refund", refund["merchant_id"], refund["id"])
        assert row is not None, "refunds are never deleted"
        if row["status"] != "sent":
            raise Conflict("refund_was_found", f"{refund['id']} is {row['status']}: the rail knows it")
        at = _at(refund)
        Book.open(view, changes, at, self.policy.returned(at.rail)).fail(row, f"not at the rail: {why}", asks=False)

    async def _made_at_rail(self, event: RefundEvent) -> str:
        """Somebody made a refund in the vendor's dashboard: when it is through, it is a fact. Raises NotOurs."""
        table, payments = table_of(Capture), table_of(Payment)
        capture = await self.reads.one(
            select(table).where(table.c.rail == event.rail, table.c.account == event.account,
                                table.c.mode == event.mode.value, table.c.money_id == (event.money_id or ""))
        )  # fmt: skip
        if capture is None:
            raise NotOurs(f"{event.rail}/{event.account} {event.event_id}: no money {event.money_id!r} of ours")
        through = event.state is RefundState.SUCCEEDED
        if event.state is RefundState.PENDING or event.amount is None:
            return "noted"
        if capture["status"] != "credited" and not through:
            return "noted"
        if capture["status"] != "credited":
            raise NotOurs(f"{event.rail} {event.event_id}: {capture['id']} is in suspense; decide its review first")
        amount, word = event.amount, word_of(event)
        payment = await self.reads.one(
            select(payments).where(payments.c.merchant_id == capture["merchant_id"],
                                   payments.c.id == capture["payment_id"])
        )  # fmt: skip
        assert payment is not None, "a capture has its payment"
        at = _money_row("capture", capture, payment["wallet_id"])
        wanted = RefundWanted(new_id("ref"), at.merchant_id, at.mode, at.payment_id, None,
                              event.reason or "made at the rail", "source", forced=True, by="rail")  # fmt: skip

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            made_at_rail(view, changes, at, self._returned(at), wanted, amount, word)
            return {"refund": wanted.id}

        key = f"refund:rail:{event.rail}:{event.account}:{event.rail_reference}"
        done = await submit_beside(self.writer, self.reads, at, at.locks(), key, decide)
        if done.duplicate:  # another word of it made the row at the same time
            found = await self._of_event(event)
            assert found is not None, "the same key made its row"
            await self.ended(found, word)
        return "made_at_rail" if through else "noted"

    @staticmethod
    def say(what: str, refund: Row, error: BaseException) -> None:
        _log.warning(what, rail=refund["rail"], refund=refund["id"], error=type(error).__name__, text=str(error)[:200])


def _at(refund: Row) -> MoneyRow:
    name = "capture" if refund["money_id"].startswith("cap_") else "deposit"
    return MoneyRow(name, refund["merchant_id"], refund["mode"], refund["money_id"], refund["payment_id"],
                    refund["wallet_id"], refund["rail"], refund["account"])  # fmt: skip


def _money_row(table: str, row: Row, wallet_id: str) -> MoneyRow:
    return MoneyRow(table, row["merchant_id"], row["mode"], row["id"], row["payment_id"], wallet_id, row["rail"],
                    row["account"])  # fmt: skip
