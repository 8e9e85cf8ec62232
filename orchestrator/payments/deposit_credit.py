"""A deposit that is deep enough becomes credit. Inside its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from orchestrator.database.unit import Changes, Row, View
from orchestrator.payments.attempt import AttemptStatus
from orchestrator.payments.confirmation import complete_session
from orchestrator.payments.crediting import MoneyAt, credit_wallet, is_claimed, put_in_suspense
from orchestrator.payments.payment import Fact, Status
from orchestrator.payments.pricing import Price, prorate
from orchestrator.payments.sightings import Network, deposit_object
from orchestrator.payments.story import Story, money_body
from rates.money import MoneyError


class NotFinal(Exception):
    """The deposit is not (or no longer) deep enough in the chain: nothing was written, it waits on."""


@dataclass(slots=True)
class DepositCredit:
    """One deposit, its place in the chain, and the payment that it belongs to, if any."""

    view: View
    changes: Changes
    network: Network
    money: MoneyAt
    arrival: Price | str

    def run(self) -> dict[str, Any]:
        """Credit it, or hold it in suspense. Raises NotFinal."""
        deposit = self.view.one("deposit", self.money.merchant_id, self.money.object_id)
        assert deposit is not None, "deposits are never deleted"
        self._assert_final(deposit)
        if is_claimed(self.view, self.money):  # credited before a reorganization that brought it back
            self._close(deposit, "credited", deposit["credited_units"], "deposit.confirmed")
            return {"result": "known_money"}
        attempt = self._attempt(deposit)
        priced = self._price(deposit, attempt)
        if isinstance(priced, str):
            put_in_suspense(self.view, self.changes, self.money, priced, deposit=deposit["id"])
            self._close(deposit, "unallocated", 0, "deposit.unallocated")
            if attempt is not None:
                story = self._story(deposit)
                story.tell(Fact.REVIEW, attempt_id=attempt["id"], reason=priced, deposit=deposit["id"])
                story.write()
            return {"result": "review", "reason": priced}
        credited = credit_wallet(self.view, self.changes, self.money, priced)
        self._close(deposit, "credited", credited, "deposit.confirmed")
        if attempt is not None:
            self._pay(deposit, attempt, credited)
        return {"result": "credited", "credited_units": credited}

    def _assert_final(self, deposit: Row) -> None:
        cursor = self.view.one("chain_cursor", self.network.name)
        header = self.view.one("chain_header", self.network.name, deposit["block_number"])
        if deposit["status"] != "detected" or cursor is None or header is None:
            raise NotFinal(f"{deposit['id']} is {deposit['status']}")
        depth = cursor["number"] - deposit["block_number"] + 1
        if depth < self.network.confirmations or header["hash"] != deposit["block_hash"]:
            raise NotFinal(f"{deposit['id']} is {depth} of {self.network.confirmations} blocks deep")

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

    def _close(self, deposit: Row, status: str, credited: int, event: str) -> None:
        changed = {"status": status, "credited_units": credited, "updated_us": self.view.now_us}
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
