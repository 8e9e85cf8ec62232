"""A deposit whose block fell away and did not come back: what it brought is taken back by compensating entries.

Inside its unit, one per deposit. Seen: only the payment waits again. Provisional: the rest of the lot goes, what was
spent of it becomes debt. Credited for good (the chain broke its word): the rest of the lot goes, what is missing becomes
the customer's debt and the merchant's receivable, and a person looks. In suspense: the suspense is undone. A wallet that
spent what never came is frozen; it opens by itself when the deposit is mined again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from orchestrator.database.unit import Changes, Lock, Row, View, account_lock, row_lock
from orchestrator.ledger.accounts import debt_state, top_up_locks
from orchestrator.ledger.alerts import tell_negative
from orchestrator.ledger.chart import Account
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.deposit_credit import NotFinal, generation_fact
from orchestrator.payments.deposit_recipes import Booked, suspense_orphaned
from orchestrator.payments.payment import Fact, Status
from orchestrator.payments.pricing import Price
from orchestrator.payments.sightings import deposit_object
from orchestrator.payments.story import Story, money_body, usd_body
from rates.money import WALLET_USD, Asset, Money

_USD = str(WALLET_USD)
IN_SUSPENSE: Final = frozenset({"unallocated", "refund_planned", "ignored"})
SENT_BACK: Final = frozenset({"refunding", "refunded"})
_BY_PAYMENT: Final = ("merchant_id", "payment_id")
_BY_SUBJECT: Final = ("merchant_id", "subject")


def reversal_locks(row: Row) -> list[Lock]:
    merchant, mode, wallet = row["merchant_id"], row["mode"], row["wallet_id"]
    locks = [
        row_lock("deposit", merchant, row["id"]),
        row_lock("wallet", merchant, wallet),
        account_lock(merchant, mode, Account.WALLET_PROVISIONAL.value, wallet, _USD),
        *top_up_locks(merchant, mode, wallet),
    ]
    if row["lot_id"] is not None:
        locks.append(row_lock("lot", merchant, row["lot_id"]))
    if row["status"] in IN_SUSPENSE:
        locks.append(Lock("review", _BY_SUBJECT, (merchant, row["id"])))
    if row["attempt_id"] is not None:
        locks += [
            row_lock("attempt", merchant, row["attempt_id"]),
            row_lock("payment", merchant, row["payment_id"]),
            row_lock("checkout_session", merchant, row["session_id"]),
            Lock("deposit", _BY_PAYMENT, (merchant, row["payment_id"])),
            Lock("attempt", _BY_PAYMENT, (merchant, row["payment_id"])),
        ]
    return locks


@dataclass(slots=True)
class DepositReversal:
    view: View
    changes: Changes
    merchant_id: str
    deposit_id: str

    def run(self) -> dict[str, Any]:
        """Take it back. Raises NotFinal where its block came back meanwhile, or it was done already."""
        deposit = self.view.one("deposit", self.merchant_id, self.deposit_id)
        assert deposit is not None, "deposits are never deleted"
        if deposit["fallen_us"] is None:
            raise NotFinal(f"{deposit['id']} stands in the chain")
        status = deposit["status"]
        if status in SENT_BACK:
            return self._leave(deposit)
        total = Money(deposit["units"], Asset.parse(deposit["asset"]))
        froze = False
        if status == "provisional":
            froze = self._take_provisional(deposit)
        elif status == "credited":
            froze = self._take_final(deposit)
        elif status in IN_SUSPENSE:
            self.changes.post(
                suspense_orphaned(
                    generation_fact(deposit), deposit["id"], total, deposit["network"], deposit["payment_id"]
                )
            )
            self._resolve_reviews(deposit)
            self.changes.update("deposit", (self.merchant_id, deposit["id"]), refunding_units=0)
        changed = {
            "status": "orphaned", "fallen_us": None, "provisional_units": 0, "credited_units": 0, "lot_id": None,
            "froze_wallet": 1 if froze else deposit["froze_wallet"], "updated_us": self.view.now_us,
        }  # fmt: skip
        self.changes.update("deposit", (self.merchant_id, deposit["id"]), **changed)
        body = orjson.dumps(deposit_object({**deposit, **changed})).decode()
        self.changes.emit("deposit.orphaned", deposit["id"], body, self.merchant_id)
        if deposit["attempt_id"] is not None:
            self._take_from_payment(deposit)
        return {"result": "orphaned", "was": status}

    def _leave(self, deposit: Row) -> dict[str, Any]:
        """Book nothing: it went back already, so that it must not be credited should it be mined again. A person looks."""
        self.changes.update("deposit", (self.merchant_id, deposit["id"]), fallen_us=None, updated_us=self.view.now_us)
        ask_a_person(
            self.view, self.changes, self.merchant_id, deposit["mode"], reason="refunded_deposit_orphaned",
            subject=deposit["id"], payment_id=deposit["payment_id"], evidence=deposit_object(deposit),
        )  # fmt: skip
        return {"result": "left", "was": deposit["status"]}

    # --- the wallet -----------------------------------------------------------------------------------------------

    def _take_provisional(self, deposit: Row) -> bool:
        lot = self._lot(deposit)
        assert lot is not None, "provisional credit has its lot"
        unspent = Money(lot["remaining_units"], WALLET_USD)
        booked = self._booked(deposit)
        self.changes.post(booked.provisional_orphaned(unspent))
        self.changes.update("lot", (self.merchant_id, lot["id"]), remaining_units=0, open=0)
        return self._freeze(deposit, booked.received.principal.units - unspent.units)

    def _take_final(self, deposit: Row) -> bool:
        lot = self._lot(deposit)
        free = 0 if lot is None else lot["remaining_units"] - lot["held_units"] - lot["frozen_units"]
        booked = self._booked(deposit)
        self.changes.post(booked.final_orphaned(Money(free, WALLET_USD)))
        if lot is not None:
            left = lot["remaining_units"] - free
            self.changes.update("lot", (self.merchant_id, lot["id"]), remaining_units=left, open=1 if left else 0)
        missing = booked.received.principal.units - free
        ask_a_person(
            self.view, self.changes, self.merchant_id, deposit["mode"], reason="credited_deposit_orphaned",
            subject=deposit["id"], payment_id=deposit["payment_id"],
            evidence={**deposit_object(deposit), "taken_back": usd_body(free), "owed": usd_body(missing)},
        )  # fmt: skip
        body = {
            "wallet": deposit["wallet_id"], "amount": usd_body(deposit["credited_units"]), "owed": usd_body(missing),
            "received": money_body(booked.received.total), "payment": deposit["payment_id"], "source": deposit["id"],
            "reason": "deposit_orphaned",
        }  # fmt: skip
        self.changes.emit(
            "wallet.credit_reversed", deposit["wallet_id"], orjson.dumps(body).decode(), self.merchant_id
        )  # fmt: skip
        return self._freeze(deposit, missing)

    def _freeze(self, deposit: Row, missing: int) -> bool:
        """Stop a wallet that spent what never came; tell of its debt. Say whether this froze it."""
        if not missing:
            return False
        wallet = self.view.one("wallet", self.merchant_id, deposit["wallet_id"])
        assert wallet is not None, "an address has its wallet"
        debt = debt_state(self.view, self.merchant_id, deposit["mode"], deposit["wallet_id"]).debt.units
        if not debt:
            tell_negative(self.changes, wallet, missing)
        if wallet["status"] != "active":
            return False
        self.changes.update("wallet", (self.merchant_id, wallet["id"]), status="frozen")
        return True

    def _lot(self, deposit: Row) -> Row | None:
        return None if deposit["lot_id"] is None else self.view.one("lot", self.merchant_id, deposit["lot_id"])

    def _booked(self, deposit: Row) -> Booked:
        received = Price.from_json(orjson.loads(deposit["lines"])).received()
        return Booked(
            generation_fact(deposit), deposit["network"], deposit["wallet_id"], deposit["payment_id"], received
        )

    def _resolve_reviews(self, deposit: Row) -> None:
        for review in self.view.many("review", _BY_SUBJECT, (self.merchant_id, deposit["id"])):
            if review["status"] == "open":
                self.changes.update(
                    "review", (self.merchant_id, review["id"]), status="resolved", resolved_us=self.view.now_us
                )  # fmt: skip

    # --- the payment ----------------------------------------------------------------------------------------------

    def _take_from_payment(self, deposit: Row) -> None:
        attempt = self.view.one("attempt", self.merchant_id, deposit["attempt_id"])
        payment = self.view.one("payment", self.merchant_id, deposit["payment_id"])
        session = self.view.one("checkout_session", self.merchant_id, deposit["session_id"])
        assert attempt is not None, "a deposit's attempt stays"
        assert payment is not None, "an attempt has its payment"
        assert session is not None, "a payment has its session"
        attempts = self.view.many("attempt", _BY_PAYMENT, (self.merchant_id, payment["id"]))
        others = [row for row in attempts if row["id"] != attempt["id"]]
        story = Story(payment, self.changes, self.view.now_us)
        story.credited(-deposit["credited_units"])
        paid_otherwise = any(row["status"] == AttemptStatus.SUCCEEDED for row in others)
        if self._unsettles(deposit, story.status) and not paid_otherwise:
            self._tell(story, deposit, session)
        story.write()
        self._reopen(deposit, attempt, others)

    def _unsettles(self, deposit: Row, status: Status) -> bool:
        """Say whether the payment stands where it does because of this deposit."""
        if deposit["status"] == "credited":
            return True
        return status is (Status.REVIEW if deposit["status"] in IN_SUSPENSE else Status.PROCESSING)

    def _tell(self, story: Story, deposit: Row, session: Row) -> None:
        rows = self.view.many("deposit", _BY_PAYMENT, (self.merchant_id, deposit["payment_id"]))
        standing = [row for row in rows if row["id"] != deposit["id"] and row["fallen_us"] is None]
        left = any(row["status"] == "credited" for row in standing)
        told = {"attempt_id": deposit["attempt_id"], "deposit": deposit["id"]}
        story.tell(Fact.PART_ORPHANED if left else Fact.ORPHANED, **told)
        if not left and any(row["status"] in {"detected", "provisional"} for row in standing):
            story.tell(Fact.PENDING, **told)
        if session["status"] == "complete":
            # It waits for money again; the worker that expires sessions ends it when its time is over.
            self.changes.update("checkout_session", (self.merchant_id, session["id"]), status="open")
        elif session["status"] == "expired" and story.status in {Status.AWAITING_PAYMENT, Status.PARTIALLY_PAID}:
            story.tell(Fact.SESSION_EXPIRED)
            if left:  # what stays was credited when it came: nothing more is to be posted
                story.tell(Fact.CREDITED, units=0)

    def _reopen(self, deposit: Row, attempt: Row, others: list[Row]) -> None:
        """The address waits for money again."""
        changed: Row = {"open_at_rail": 1, "updated_us": self.view.now_us}
        if deposit["status"] == "credited":
            changed["received_units"] = attempt["received_units"] - deposit["units"]
        if attempt["status"] in {AttemptStatus.SUCCEEDED, AttemptStatus.PENDING}:
            busy = any(row["status"] in IN_FLIGHT for row in others)
            status = AttemptStatus.SUPERSEDED if busy else AttemptStatus.REQUIRES_ACTION
            changed["status"] = status.value
        self.changes.update("attempt", (self.merchant_id, attempt["id"]), **changed)
