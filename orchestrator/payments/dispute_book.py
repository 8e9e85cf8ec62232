"""What a statement about a dispute does to the books, inside the flush. No network here.

The state is the rail's word; money moves only by what it says of the funds. Whatever order the two come in, the end is
the same: lost and withdrawn is clawed back once, returned gives back exactly what was taken.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from adapters.operations import DisputeEvent, DisputeState, Funds
from orchestrator.clock import to_us
from orchestrator.database.unit import Changes, Row, View
from orchestrator.ids import new_id
from orchestrator.ledger import dispute_recipes as recipes
from orchestrator.ledger.accounts import debt_state
from orchestrator.ledger.alerts import tell_debt
from orchestrator.ledger.dispute_recipes import Borne, Disputed
from orchestrator.ledger.merchant_side import side_of
from orchestrator.ledger.purse import OPEN_LOTS
from orchestrator.payments.crediting import ask_a_person, holding_of
from orchestrator.payments.dispute_events import ENDED, TWICE_RETURNED, TWICE_WITHDRAWN, announce, close_reviews
from orchestrator.payments.dispute_terms import BY_DISPUTE, BY_RAIL, DisputeAt, fresh, step, who_bears, worth
from orchestrator.payments.payment import Fact
from orchestrator.payments.pricing import Price
from orchestrator.payments.refund_terms import free_of
from orchestrator.payments.story import Story, money_body
from rates.money import Asset, Money


@dataclass(slots=True)
class DisputeBook:
    view: View
    changes: Changes
    at: DisputeAt
    capture: Row
    story: Story
    returned: Collection[str]
    """Fee lines that we give back where a dispute is lost."""
    row: Row
    before: Row | None
    lots: dict[str, Row]
    touched: dict[str, dict[str, int]] = field(default_factory=dict)
    facts: int = 0

    @classmethod
    def open(cls, view: View, changes: Changes, at: DisputeAt, event: DisputeEvent, returned: Collection[str]) -> Self:
        known = view.many("dispute", BY_RAIL, (at.rail, at.account, at.mode, at.rail_dispute_id))
        return cls._of(view, changes, at, returned, known[0] if known else None, event)

    @classmethod
    def again(cls, view: View, changes: Changes, at: DisputeAt, returned: Collection[str]) -> Self | None:
        """Open a dispute that is known, without a word of the rail; None where nothing more can come of it."""
        known = view.many("dispute", BY_RAIL, (at.rail, at.account, at.mode, at.rail_dispute_id))
        if not known or (DisputeState(known[0]["state"]) in ENDED and not known[0]["above_units"]):
            return None
        return cls._of(view, changes, at, returned, known[0], None)

    @classmethod
    def _of(
        cls, view: View, changes: Changes, at: DisputeAt, returned: Collection[str], before: Row | None,
        event: DisputeEvent | None,
    ) -> Self:  # fmt: skip
        capture = view.one("capture", at.merchant_id, at.capture_id)
        payment = view.one("payment", at.merchant_id, at.payment_id)
        assert capture is not None, "captures are never deleted"
        assert payment is not None, "a capture has its payment"
        if before is None:
            assert event is not None, "a new dispute begins with a word of the rail"
            row = fresh(at, event, capture, view.now_us)
        else:
            row = dict(before)
        lots = {lot["id"]: dict(lot) for lot in view.many("lot", OPEN_LOTS, (at.merchant_id, at.wallet_id, 1))}
        facts = len(view.many("dispute_fact", BY_DISPUTE, (at.merchant_id, at.dispute_id)))
        story = Story(payment, changes, view.now_us)
        return cls(view, changes, at, dict(capture), story, returned, row, before, lots, facts=facts)

    # --- one statement ------------------------------------------------------------------------------------------------

    def apply(self, event: DisputeEvent) -> str:
        """Take what the rail said; return what came of it."""
        opened = self.before is None or (bool(self.before["inquiry"]) and not event.inquiry)
        self._learn(event)
        if event.funds is Funds.WITHDRAWN:
            self._withdraw(event.amount)
        elif event.funds is Funds.RETURNED:
            self._return(event.amount)
        if self._credited and not self.row["inquiry"]:
            if opened:
                self.story.tell(Fact.DISPUTED, dispute=self.at.dispute_id, at_us=to_us(event.occurred_at))
            self.freeze()
            self._settle()
        self._tell(event, opened=opened)
        self._write()
        return str(self.row["state"])

    @property
    def _credited(self) -> bool:
        return bool(self.capture["status"] == "credited" and self.capture["lines"])

    @property
    def state(self) -> DisputeState:
        return DisputeState(self.row["state"])

    def _learn(self, event: DisputeEvent) -> None:
        """Take over the rail's word. A word that comes late takes nothing back: see ``step``."""
        stands, comes = step(self.state, bool(self.row["inquiry"])), step(event.state, event.inquiry)
        if comes > stands or (comes == stands and to_us(event.occurred_at) >= self._ended_us()):
            self.row["state"] = event.state.value
        if not event.inquiry:
            self.row["inquiry"] = 0
        if event.answer_by is not None:
            self.row["answer_by_us"] = to_us(event.answer_by)
        self.row["reason"] = event.reason or self.row["reason"]
        body = {
            "event": event.event_id, "funds": event.funds.value, "amount": money_body(event.amount),
            "reason": event.reason, "inquiry": event.inquiry,
        }  # fmt: skip
        self.fact(event.state.value, at_us=to_us(event.occurred_at), **body)

    def _ended_us(self) -> int:
        """When it ended by what was said last of that, at the rail; 0 where it has not."""
        said = self.view.many("dispute_fact", BY_DISPUTE, (self.at.merchant_id, self.at.dispute_id))
        return max((fact["at_us"] for fact in said if fact["kind"] in ENDED), default=0)

    def fact(self, kind: str, *, at_us: int | None = None, **body: Any) -> None:
        """Write down one thing that was said or done."""
        self.facts += 1
        self.changes.insert(
            "dispute_fact", merchant_id=self.at.merchant_id, dispute_id=self.at.dispute_id, number=self.facts,
            kind=kind, state=self.row["state"], body=orjson.dumps(body).decode(),
            at_us=self.view.now_us if at_us is None else at_us, recorded_us=self.view.now_us,
        )  # fmt: skip

    def _room(self) -> int:
        gone = sum(self.capture[f"{part}_units"] for part in ("refunding", "refunded", "withdrawn"))
        return max(0, int(self.capture["units"] - gone))

    @property
    def _standing(self) -> int:
        """How much oftener the rail took the money than it gave it back, by what we heard: 1 = it holds it now.

        Other numbers pass where words overtake each other; only the way to 1 and back moves money, whatever their order.
        """
        return int(self.row["withdrawals"] - self.row["returns"])

    def take_over(self) -> int:
        """Let the dispute have what a refund was to give back and did not; return how much, in the money's own asset.

        The payer's bank took it all while the refund was under way: what was above then is the dispute's now, so that
        the payer does not keep the credit as well.
        """
        units = min(self.row["above_units"], self._room()) if self._credited else 0
        if not units:
            return 0
        local = Money(units, Asset.parse(self.row["asset"]))
        fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:late:{self.row['above_units']}"
        self.row["above_units"] -= units
        self.row["withdrawn_units"] += units
        self.capture["withdrawn_units"] += units
        self.changes.post(recipes.no_longer_above(fact, local, self.at.payment_id))
        if self.state is DisputeState.LOST:
            self._claw_back(local)
        else:
            self.freeze()
        self.fact("withdrawn_late", amount=money_body(local))
        self._write()
        return units

    # --- the rail's funds -----------------------------------------------------------------------------------------------

    def _withdraw(self, amount: Money) -> None:
        stood = self._standing
        self.row["withdrawals"] += 1
        if stood > 0:  # its return is told later (a second chargeback overtook it), or a person finds out
            self._ask(TWICE_WITHDRAWN, said=money_body(amount))
            return
        if stood < 0:  # it was given back already, and we heard of that first: nothing stands
            close_reviews(self.view, self.changes, self.row, {TWICE_RETURNED})
            return
        local = Money(max(0, min(amount.units, self._room())), amount.asset)
        self.row["withdrawn_units"] = local.units
        self.capture["withdrawn_units"] += local.units
        fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:withdrawn"
        holding = holding_of(self.at.rail, self.at.account)
        if local.units:
            self.changes.post(
                self._entries(fact).withdrawn(local, holding)
                if self._credited
                else recipes.out_of_suspense(fact, local, holding, self.at.capture_id, self.at.payment_id)
            )
        over = amount - local
        if over.units > 0:
            self.row["above_units"] = over.units
            self.changes.post(recipes.withdrawn_above(fact, over, holding, self.at.payment_id))
            self._ask("dispute_above_captured", above=money_body(over), said=money_body(amount))

    def _return(self, amount: Money) -> None:
        local, above = (Money(self.row[name], amount.asset) for name in ("withdrawn_units", "above_units"))
        stood = self._standing
        self.row["returns"] += 1
        if stood > 1:  # and it was withdrawn again since, as we heard before
            close_reviews(self.view, self.changes, self.row, {TWICE_WITHDRAWN})
            return
        if stood < 1:  # that it was withdrawn is said later, or stands in the rail's report
            if stood < 0:
                self._ask(TWICE_RETURNED, said=money_body(amount))
            return
        if amount != local + above:
            self._ask("dispute_amount_differs", withdrawn=money_body(local + above), returned=money_body(amount))
        fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:returned"
        holding = holding_of(self.at.rail, self.at.account)
        if above.units:
            self.changes.post(recipes.returned_above(fact, above, holding, self.at.payment_id))
        if self._credited:
            after_loss = bool(self.row["clawed_units"])
            if local.units:
                self.changes.post(self._entries(fact).returned(local, holding, after_loss=after_loss))
            if after_loss:
                self._give_back(fact)
        elif local.units:
            self.changes.post(recipes.into_suspense(fact, local, holding, self.at.capture_id, self.at.payment_id))
        self.row["withdrawn_units"] = self.row["above_units"] = 0
        self.capture["withdrawn_units"] -= local.units

    # --- the customer's credit ------------------------------------------------------------------------------------------

    def freeze(self) -> int:
        """Set aside what is left of the payment's own lot, as far as the dispute goes; return how much more that was."""
        return 0 if self.state in ENDED or self.row["inquiry"] else self._freeze(self.row["units"])

    def _freeze(self, upto: int) -> int:
        parts: dict[str, int] = dict(orjson.loads(self.row["frozen"]))
        more = 0
        for lot in self.lots.values():
            if lot["kind"] != "paid" or lot["payment_id"] != self.at.payment_id:
                continue
            part = min(max(0, free_of(lot)), upto - sum(parts.values()))
            if part > 0:
                self._lot(lot["id"], frozen_units=part)
                parts[lot["id"]] = parts.get(lot["id"], 0) + part
                more += part
        if more:
            self.row["frozen"] = orjson.dumps(list(parts.items())).decode()
            fact = f"{self.at.dispute_id}:frozen:{self.facts}:{sum(parts.values())}"
            self.changes.post(self._entries(fact).frozen(more))
        return more

    def _settle(self) -> None:
        """Do what state and funds together ask for."""
        if self.state is DisputeState.LOST and self.row["withdrawn_units"] and not self.row["clawed_units"]:
            self._claw_back(Money(self.row["withdrawn_units"], Asset.parse(self.row["asset"])))
        elif self.state in {DisputeState.WON, DisputeState.CLOSED} and not self.row["clawed_units"]:
            self._thaw()
            if self.story.status.value in {"disputed", "clawed_back"}:
                self._ended()

    def _thaw(self) -> None:
        parts = orjson.loads(self.row["frozen"])
        for lot_id, units in parts:
            self._lot(lot_id, frozen_units=-units)
        if parts:
            units = sum(units for _, units in parts)
            self.changes.post(self._entries(f"{self.at.dispute_id}:thawed:{self.facts}").thawed(units))
        self.row["frozen"] = "[]"

    def _claw_back(self, local: Money) -> None:
        value, fees = worth(Price.from_json(orjson.loads(self.capture["lines"])), local, self.returned)
        frozen: list[tuple[str, int]] = orjson.loads(self.row["frozen"])
        side = side_of(self.view, self.at.merchant_id, self.at.mode)
        free = {
            lot["id"]: max(0, free_of(lot))
            for lot in sorted(self.lots.values(), key=self._turn)
            if lot["kind"] == "paid"
        }
        taken = who_bears(value, fees, frozen, free, {"reserve": side.reserve, "available": side.available})
        for lot_id, units in frozen:
            self._lot(lot_id, frozen_units=-units, remaining_units=-taken.frozen.get(lot_id, 0))
        for lot_id, units in taken.lots.items():
            self._lot(lot_id, remaining_units=-units)
        thawed = sum(units for _, units in frozen) - sum(taken.frozen.values())
        if thawed:
            self.changes.post(self._entries(f"{self.at.dispute_id}:thawed:{self.facts}").thawed(thawed))
        self.row["frozen"] = "[]"
        borne = Borne(sum(taken.frozen.values()), sum(taken.lots.values()), taken.parts)
        self._tell_loss(borne)
        fact = f"{self.at.dispute_id}:{self.row['withdrawals']}:lost:{self.facts}"
        if self.row["clawed_units"]:
            fact = f"{fact}:{self.row['withdrawn_units']}"
        self.changes.post(self._entries(fact).lost(local, borne))
        self._allocate(taken.rows())
        self.row["clawed_units"] += borne.total

    def _tell_loss(self, borne: Borne) -> None:
        tell_debt(self.view, self.changes, self.at.merchant_id, self.at.wallet_id, borne.merchant)
        self.story.tell(Fact.CLAWED_BACK, dispute=self.at.dispute_id, units=borne.total, merchant=borne.merchant)

    def _turn(self, lot: Row) -> tuple[bool, int, str]:
        """The payment's own credit first (nothing was frozen where the loss was the first word), then oldest first."""
        return lot["payment_id"] != self.at.payment_id, lot["created_us"], lot["id"]

    def _give_back(self, fact: str) -> None:
        borne, debt = self._turn_round()
        self.changes.post(self._entries(fact).won_after_lost(borne, debt))
        self._ended()

    def _turn_round(self) -> tuple[Borne, int]:
        """Turn the allocation round, row by row; return what it was, and the customer's debt."""
        standing: dict[tuple[str, str], int] = {}
        for row in self.view.many("dispute_allocation", BY_DISPUTE, (self.at.merchant_id, self.at.dispute_id)):
            key = (row["source"], row["subject"])
            standing[key] = standing.get(key, 0) + row["units"]
        lots = {subject: units for (source, subject), units in standing.items() if source == "lot" and units}
        parts = {source: units for (source, _), units in standing.items() if source != "lot" and units}
        for lot_id, units in lots.items():
            self._lot(lot_id, remaining_units=units)
        borne = Borne(0, sum(lots.values()), parts)
        debt = debt_state(self.view, self.at.merchant_id, self.at.mode, self.at.wallet_id).debt.units
        repaid = borne.merchant - min(borne.merchant, debt)
        if repaid:
            self.changes.insert(
                "lot", merchant_id=self.at.merchant_id, id=new_id("lot"), mode=self.at.mode,
                wallet_id=self.at.wallet_id, kind="paid", source=self.at.dispute_id, payment_id=self.at.payment_id,
                units=repaid, remaining_units=repaid, created_us=self.view.now_us,
            )  # fmt: skip
        self._allocate([(source, subject, -units) for (source, subject), units in standing.items() if units])
        self.row["clawed_units"] = 0
        return borne, debt

    def _ended(self) -> None:
        self.story.tell(Fact.DISPUTE_ENDED, dispute=self.at.dispute_id)
        payment = self.story.row
        if payment["refunding_units"]:
            self.story.tell(Fact.REFUND_ASKED, dispute=self.at.dispute_id)
        elif payment["refunded_units"]:
            whole = payment["refunded_units"] >= payment["credited_units"]
            self.story.tell(Fact.REFUNDED if whole else Fact.PART_REFUNDED, dispute=self.at.dispute_id)

    # --- writing ------------------------------------------------------------------------------------------------------

    def _allocate(self, rows: list[tuple[str, str, int]]) -> None:
        number = len(self.view.many("dispute_allocation", BY_DISPUTE, (self.at.merchant_id, self.at.dispute_id)))
        for offset, (source, subject, units) in enumerate(rows, start=1):
            self.changes.insert(
                "dispute_allocation", merchant_id=self.at.merchant_id, dispute_id=self.at.dispute_id,
                number=number + offset, source=source, subject=subject, units=units, created_us=self.view.now_us,
            )  # fmt: skip

    def _lot(self, lot_id: str, **by: int) -> None:
        lot = self.lots.get(lot_id)
        if lot is None:  # all of it was taken: it is closed, and locked by its own key
            found = self.view.one("lot", self.at.merchant_id, lot_id)
            assert found is not None, "lots are never deleted"
            lot = self.lots[lot_id] = dict(found)
        for name, units in by.items():
            lot[name] += units
        self.touched[lot_id] = {name: lot[name] for name in ("remaining_units", "frozen_units")}

    def _ask(self, reason: str, **evidence: Any) -> None:
        ask_a_person(
            self.view, self.changes, self.at.merchant_id, self.at.mode, reason=reason, subject=self.at.dispute_id,
            payment_id=self.at.payment_id, evidence=evidence,
        )  # fmt: skip

    def _tell(self, event: DisputeEvent, *, opened: bool) -> None:
        if opened:
            self._ask("dispute_opened", disputed=money_body(event.amount), why=event.reason, inquiry=event.inquiry,
                      rail=event.rail)  # fmt: skip
        if self.state in ENDED:
            close_reviews(self.view, self.changes, self.row, {"dispute_opened", "dispute_deadline"})
        announce(self.changes, self.before, self.row, opened=opened)

    def _write(self) -> None:
        merchant = self.at.merchant_id
        self.row["updated_us"] = self.view.now_us
        if self.before is None:
            self.changes.insert("dispute", **self.row)
        else:
            changed = {name: value for name, value in self.row.items() if self.before[name] != value}
            self.changes.update("dispute", (merchant, self.at.dispute_id), **changed)
        for lot_id, columns in self.touched.items():
            self.changes.update("lot", (merchant, lot_id), **columns, open=1 if columns["remaining_units"] else 0)
        self.changes.update("capture", (merchant, self.at.capture_id), withdrawn_units=self.capture["withdrawn_units"])
        self.story.write()

    def refreeze(self) -> int:
        """Freeze what a hold has released since; return how much."""
        more = self.freeze()
        if more:
            self.fact("frozen", units=more)
            self._write()
        return more

    def _entries(self, fact: str) -> Disputed:
        return Disputed(fact, self.at.wallet_id, self.at.payment_id)
