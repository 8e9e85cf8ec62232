"""A deposit that is deep enough becomes credit: until its block is final, then for good. Inside its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.database.unit import Changes, Lock, Row, View, account_lock, row_lock
from orchestrator.ids import new_id
from orchestrator.ledger.accounts import debt_state
from orchestrator.ledger.chart import Account
from orchestrator.payments.attempt import AttemptStatus
from orchestrator.payments.confirmation import complete_session
from orchestrator.payments.crediting import MoneyAt, ask_a_person, claim, credit_locks, tell_credited
from orchestrator.payments.deposit_recipes import Booked, suspense
from orchestrator.payments.finality import Exposure, Place, blocks_due, is_final, refusal
from orchestrator.payments.payment import Fact, Status
from orchestrator.payments.pricing import Price, prorate
from orchestrator.payments.sightings import Network, deposit_object
from orchestrator.payments.story import Story, money_body
from rates.money import WALLET_USD, Money, MoneyError

_USD = str(WALLET_USD)
_BACKING = (Account.MERCHANT_AVAILABLE, Account.MERCHANT_RESERVE)
_OPEN_PROVISIONAL = ("merchant_id", "mode", "status")


class NotFinal(Exception):
    """The deposit is not (or no longer) deep enough in the chain, or a cap is full: nothing was written, it waits on."""


class ClaimedElsewhere(Exception):
    """The piece of money is another object's: the deposit stays as it is, and the log says so."""


def deposit_credit_locks(network: Network, row: Row, money: MoneyAt) -> list[Lock]:
    """Return what crediting one deposit looks at."""
    merchant, mode, wallet = row["merchant_id"], row["mode"], row["wallet_id"]
    locks = [
        row_lock("deposit", merchant, row["id"]),
        row_lock("chain_cursor", network.name),
        row_lock("chain_header", network.name, row["block_number"]),
        row_lock("wallet", merchant, wallet),
        Lock("deposit", _OPEN_PROVISIONAL, (merchant, mode, "provisional")),
        account_lock(merchant, mode, Account.WALLET_PROVISIONAL.value, wallet, _USD),
        *(account_lock(merchant, mode, account.value, "", _USD) for account in _BACKING),
        *credit_locks(merchant, mode, wallet, money.claim_key),
    ]
    if row["lot_id"] is not None:
        locks.append(row_lock("lot", merchant, row["lot_id"]))
    if row["attempt_id"] is not None:
        locks += [
            row_lock("attempt", merchant, row["attempt_id"]),
            row_lock("payment", merchant, row["payment_id"]),
            row_lock("checkout_session", merchant, row["session_id"]),
        ]
    return locks


def generation_fact(deposit: Row) -> str:
    """Name what happens to a deposit in its present life: it may be mined more than once."""
    return f"{deposit['id']}/{deposit['generation']}"


@dataclass(slots=True)
class DepositCredit:
    """One deposit, its place in the chain, and the payment that it belongs to, if any."""

    view: View
    changes: Changes
    network: Network
    money: MoneyAt
    arrival: Price | str
    chain_units: int
    """Provisional credit that is open on this chain, USD/9."""

    def run(self) -> dict[str, Any]:
        """Credit it for good, or provisionally, or hold it in suspense. Raises NotFinal."""
        deposit = self.view.one("deposit", self.money.merchant_id, self.money.object_id)
        assert deposit is not None, "deposits are never deleted"
        place = self._place(deposit)
        if deposit["status"] == "provisional":
            if not is_final(self.network.finality, place):
                raise NotFinal(f"{deposit['id']} is {place.depth} blocks deep")
            return self._make_final(deposit)
        if deposit["status"] != "detected":
            raise NotFinal(f"{deposit['id']} is {deposit['status']}")
        attempt = self._attempt(deposit)
        priced = self._price(deposit, attempt)
        if not is_final(self.network.finality, place):
            return self._provisional(deposit, place, priced)
        if isinstance(priced, str):
            return self._hold(deposit, attempt, priced)
        return self._credit(deposit, attempt, priced)

    def allot(self, deposit: Row) -> dict[str, Any]:
        """Credit a deposit that a person took out of suspense. Raises NotFinal where it still has no price."""
        if isinstance(self.arrival, str):
            raise NotFinal(self.arrival)
        return self._credit(deposit, None, self.arrival)

    # --- where it stands ------------------------------------------------------------------------------------------

    def _place(self, deposit: Row) -> Place:
        cursor = self.view.one("chain_cursor", self.network.name)
        header = self.view.one("chain_header", self.network.name, deposit["block_number"])
        if cursor is None or header is None or deposit["fallen_us"] is not None:
            raise NotFinal(f"{deposit['id']}: its block is not in the chain")
        if header["hash"] != deposit["block_hash"] or deposit["block_number"] > cursor["number"]:
            raise NotFinal(f"{deposit['id']}: its block is not in the chain")
        return Place(deposit["block_number"], cursor["number"], cursor["finalized_number"])

    def _attempt(self, deposit: Row) -> Row | None:
        if deposit["attempt_id"] is None:
            return None
        return self.view.one("attempt", deposit["merchant_id"], deposit["attempt_id"])

    def _price(self, deposit: Row, attempt: Row | None) -> Price | str:
        """The locked rate inside its window (by the block's time), the rate of arrival otherwise."""
        if attempt is None or deposit["block_us"] > attempt["quote_expires_us"]:
            return self.arrival
        try:
            locked = prorate(Price.from_json(orjson.loads(attempt["lines"])), self.money.total)
        except MoneyError:
            return "too_large"
        return locked if locked.principal.units > 0 else "below_minimum"

    # --- until it is final ----------------------------------------------------------------------------------------

    def _provisional(self, deposit: Row, place: Place, priced: Price | str) -> dict[str, Any]:
        if isinstance(priced, str) or deposit["generation"] > 0:
            raise NotFinal(f"{deposit['id']} waits until it is final")  # what fell away once is not trusted early
        units = priced.principal.units
        due = blocks_due(self.network.finality, units)
        if due is None or place.depth < due:
            raise NotFinal(f"{deposit['id']} is {place.depth} blocks deep")
        refused = self._refused(deposit, units)
        if refused is not None:
            raise NotFinal(f"{deposit['id']}: {refused}")
        booked = self._booked(deposit, priced, generation_fact(deposit))
        self.changes.post(booked.provisional())
        lot_id = self._new_lot("provisional", priced.principal)
        lines = orjson.dumps(priced.to_json()).decode()
        self._close(deposit, "deposit.provisional", status="provisional", provisional_units=units, lot_id=lot_id,
                    lines=lines)  # fmt: skip
        if deposit["attempt_id"] is not None:
            story = self._story(deposit)
            story.tell(Fact.PROVISIONAL, at_us=deposit["block_us"], attempt_id=deposit["attempt_id"], units=units)
            story.write()
        return {"result": "provisional", "provisional_units": units}

    def _refused(self, deposit: Row, units: int) -> str | None:
        merchant, mode = deposit["merchant_id"], deposit["mode"]
        wallet = self.view.one("wallet", merchant, deposit["wallet_id"])
        assert wallet is not None, "an address has its wallet"
        if wallet["status"] != "active":
            return "wallet_not_active"
        if debt_state(self.view, merchant, mode, deposit["wallet_id"]).debt.units:
            return "wallet_in_debt"  # only final money repays
        others = self.view.many("deposit", _OPEN_PROVISIONAL, (merchant, mode, "provisional"))
        exposure = Exposure(
            customer_units=sum(
                row["provisional_units"] for row in others if row["wallet_id"] == deposit["wallet_id"]
            ),
            merchant_units=sum(row["provisional_units"] for row in others),
            merchant_backing_units=sum(
                -self.view.balance(merchant, mode, account.value, "", _USD) for account in _BACKING
            ),
            chain_units=self.chain_units,
        )  # fmt: skip
        return refusal(self.network.finality, units, exposure)

    def _make_final(self, deposit: Row) -> dict[str, Any]:
        """Turn what is left of provisional credit into paid credit, and what was spent of it into earnings."""
        price = Price.from_json(orjson.loads(deposit["lines"]))
        lot = self.view.one("lot", deposit["merchant_id"], deposit["lot_id"])
        assert lot is not None, "provisional credit has its lot"
        unspent = Money(lot["remaining_units"], WALLET_USD)
        debt = debt_state(self.view, deposit["merchant_id"], deposit["mode"], deposit["wallet_id"])
        kind, fact = self._claim(deposit, "topup")
        made, paid = self._booked(deposit, price, fact).provisional_final(kind, unspent, debt)
        self.changes.post(made)
        self.changes.update(
            "lot", (deposit["merchant_id"], lot["id"]),
            kind="paid", remaining_units=paid.units, open=1 if paid.units else 0,
        )  # fmt: skip
        return self._credited(deposit, self._attempt(deposit), price, lot["id"], paid)

    # --- for good -------------------------------------------------------------------------------------------------

    def _credit(self, deposit: Row, attempt: Row | None, price: Price) -> dict[str, Any]:
        debt = debt_state(self.view, deposit["merchant_id"], deposit["mode"], deposit["wallet_id"])
        kind, fact = self._claim(deposit, "topup")
        made, paid = self._booked(deposit, price, fact).final(kind, debt)
        self.changes.post(made)
        lot_id = self._new_lot("paid", paid) if paid.units else None
        return self._credited(deposit, attempt, price, lot_id, paid)

    def _claim(self, deposit: Row, kind: str) -> tuple[str, str]:
        """Claim the money where that was not done yet; return kind and fact of the entry that follows."""
        found = self.view.one("money_claim", *self.money.claim_key)
        if found is not None:
            if found["object_id"] != self.money.object_id:
                raise ClaimedElsewhere(f"{self.money.rail_id} is {found['object_id']}, not {self.money.object_id}")
            return f"{kind}_again", generation_fact(deposit)
        claim(self.view, self.changes, self.money)
        return kind, str(deposit["id"])

    def _credited(
        self, deposit: Row, attempt: Row | None, price: Price, lot_id: str | None, paid: Money
    ) -> dict[str, Any]:
        units = price.principal.units
        tell_credited(self.view, self.changes, self.money, price, paid)
        lines = orjson.dumps(price.to_json()).decode()
        thawed = self._thaw(deposit, units - paid.units)
        self._close(deposit, "deposit.confirmed", status="credited", credited_units=units, provisional_units=0,
                    lot_id=lot_id, lines=lines, froze_wallet=0 if thawed else deposit["froze_wallet"])  # fmt: skip
        if attempt is not None:
            self._pay(deposit, attempt, units)
        return {"result": "credited", "credited_units": units}

    def _thaw(self, deposit: Row, repaid: int) -> bool:
        """Open a wallet again that was frozen because this deposit fell away, once nothing is owed any more."""
        if not deposit["froze_wallet"]:
            return False
        key = (deposit["merchant_id"], deposit["wallet_id"])
        wallet = self.view.one("wallet", *key)
        owed = debt_state(self.view, deposit["merchant_id"], deposit["mode"], deposit["wallet_id"]).debt.units - repaid
        if wallet is None or owed > 0:
            return False
        if wallet["status"] == "frozen":
            self.changes.update("wallet", key, status="active")
        return True

    def _hold(self, deposit: Row, attempt: Row | None, reason: str) -> dict[str, Any]:
        """Book money that cannot be placed, and ask a person."""
        kind, fact = self._claim(deposit, "suspense")
        self.changes.post(
            suspense(kind, fact, deposit["id"], self.money.total, self.network.name, deposit["payment_id"])
        )
        self._close(deposit, "deposit.unallocated", status="unallocated")
        self._ask(deposit, reason)
        if attempt is not None:
            story = self._story(deposit)
            story.tell(Fact.REVIEW, attempt_id=attempt["id"], reason=reason, deposit=deposit["id"])
            story.write()
        return {"result": "review", "reason": reason}

    def _ask(self, deposit: Row, reason: str) -> None:
        ask_a_person(
            self.view, self.changes, deposit["merchant_id"], deposit["mode"], reason=reason, subject=deposit["id"],
            payment_id=deposit["payment_id"],
            evidence={"received": money_body(self.money.total), "deposit": deposit["id"]},
        )  # fmt: skip

    # --- rows -----------------------------------------------------------------------------------------------------

    def _booked(self, deposit: Row, price: Price, fact: str) -> Booked:
        return Booked(fact, self.network.name, deposit["wallet_id"], deposit["payment_id"], price.received())

    def _new_lot(self, kind: str, principal: Money) -> str:
        lot_id = new_id("lot")
        money = self.money
        self.changes.insert(
            "lot",
            merchant_id=money.merchant_id,
            id=lot_id,
            mode=money.mode,
            wallet_id=money.wallet_id,
            kind=kind,
            source=money.object_id,
            payment_id=money.payment_id,
            units=principal.units,
            remaining_units=principal.units,
            created_us=self.view.now_us,
        )
        return lot_id

    def _close(self, deposit: Row, event: str, **columns: Any) -> None:
        changed = {**columns, "updated_us": self.view.now_us}
        self.changes.update("deposit", (deposit["merchant_id"], deposit["id"]), **changed)
        body = orjson.dumps(deposit_object({**deposit, **changed})).decode()
        self.changes.emit(event, deposit["id"], body, deposit["merchant_id"])

    def _story(self, deposit: Row) -> Story:
        payment = self.view.one("payment", deposit["merchant_id"], deposit["payment_id"])
        assert payment is not None, "an attempt has its payment"
        return Story(payment, self.changes, self.view.now_us)

    def _pay(self, deposit: Row, attempt: Row, credited: int) -> None:
        story = self._story(deposit)
        received = attempt["received_units"] + deposit["units"]
        whole = received >= attempt["units"]
        story.credited(credited)
        story.tell(
            Fact.CAPTURED if whole else Fact.PARTIAL, at_us=deposit["block_us"], attempt_id=attempt["id"],
            deposit=deposit["id"], received=money_body(self.money.total), units=credited,
        )  # fmt: skip
        if whole or story.status is Status.LATE_PAID:
            story.tell(Fact.SETTLED, at_us=deposit["block_us"], attempt_id=attempt["id"])
            story.tell(Fact.CREDITED, attempt_id=attempt["id"])
        story.write()
        key = (attempt["merchant_id"], attempt["id"])
        changed: Row = {"received_units": received, "updated_us": self.view.now_us}
        if whole:
            changed |= {"status": AttemptStatus.SUCCEEDED.value, "open_at_rail": 0}
            session = self.view.one("checkout_session", deposit["merchant_id"], deposit["session_id"])
            assert session is not None, "a payment has its session"
            complete_session(self.changes, session)
        self.changes.update("attempt", key, **changed)


def money_of(network: Network, row: Row, total: Money, holding: Any) -> MoneyAt:
    """Return a deposit as the crediting knows it: its id is of the chain, whatever account watches it."""
    return MoneyAt(
        merchant_id=row["merchant_id"],
        mode=row["mode"],
        rail=network.account.rail,
        account=network.account.account,
        kind="deposit",
        rail_id=f"{network.chain}:{row['tx_hash']}:{row['ordinal']}",
        object_id=row["id"],
        wallet_id=row["wallet_id"],
        payment_id=row["payment_id"],
        total=total,
        holding=holding,
    )
