"""One request's usage inside its unit: deduplicated, charged, rolled up. Pure: a decision over locked rows.

Each event's row holds its result, accepted or rejected, and is written with the charge; the charges of a wallet are one
entry of its flush (kind ``usage``), whose fact stands in the rows.

An event that names an open hold (or lease) captures it: all events of the request with that hold together are what it was
for, so they are never refused for money, and what is left of it is given back. A hold whose time was over is a plain debit of
the same. One that was captured or voided before changes nothing: the event is charged like any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from orchestrator.clock import DAY_US
from orchestrator.database.schema import PRIMARY_KEYS
from orchestrator.database.unit import Changes, Key, Lock, Row, View, row_lock
from orchestrator.errors import Busy, NotFound, Refusal
from orchestrator.ledger.holds import captured_shown
from orchestrator.ledger.purse import Allocation, Purse, purse_locks
from orchestrator.ledger.shown import usd_text
from orchestrator.metering.rating import CHARGE_UNITS_MAX, charge
from orchestrator.metering.usage_input import UsageInput, period_of, period_of_day

KIND: Final = "usage"
_UNKNOWN: Final = "unknown_wallet"
_EVENT_KEY: Final = PRIMARY_KEYS["usage_event"]


class DayTurned(Exception):
    """Midnight passed between the locks and the flush: lock the new day's roll-ups and try again."""


class Rated:
    """An event with what it costs, or why it is not charged."""

    __slots__ = ("at_us", "cost", "event", "period", "reason", "version")

    def __init__(self, event: UsageInput, at_us: int) -> None:
        self.event = event
        self.at_us = at_us
        self.period = period_of(at_us)
        self.cost = 0
        """USD/22."""
        self.version = ""
        self.reason = ""
        """Why it cannot be rated; "" where it can."""


class UsageBatch:
    """The events of one unit, and the rows that they need."""

    def __init__(self, merchant_id: str, mode: str, events: Iterable[Rated], now_us: int) -> None:
        self.merchant_id = merchant_id
        self.mode = mode
        self.events = list(events)
        self.day = now_us // DAY_US

    def locks(self) -> list[Lock]:
        merchant_id, mode = self.merchant_id, self.mode
        wallets: dict[str, None] = {}
        producers: dict[tuple[str, int], None] = {}
        rollups: dict[tuple[str, str, str], None] = {}
        ids: dict[tuple[int, str, str], None] = {}
        holds: dict[str, None] = {}
        for rated in self.events:
            event = rated.event
            wallets[event.wallet] = None
            rollups[event.wallet, event.model, rated.period] = None
            if event.producer is None:
                ids[event.day, event.source, event.event_id] = None
            else:
                producers[event.producer, event.epoch] = None
            if event.hold is not None:
                holds[event.hold] = None
        return [
            *(lock for wallet in wallets for lock in purse_locks(merchant_id, mode, wallet)),
            *(Lock("usage_event", _EVENT_KEY, (merchant_id, mode, *key)) for key in ids),
            *(row_lock("usage_producer", merchant_id, mode, *key) for key in producers),
            *(row_lock("usage_rollup", merchant_id, mode, wallet, self.day, *rest) for wallet, *rest in rollups),
            *(row_lock("hold", merchant_id, hold) for hold in holds),
            row_lock("statement_close", merchant_id, mode, period_of_day(self.day)),
        ]

    def decide(self, view: View, changes: Changes) -> dict[str, Any]:
        """Return ``{"results": [...], "wallets": {...}}``. Raises DayTurned, Busy."""
        if view.now_us // DAY_US != self.day:
            raise DayTurned
        if view.one("statement_close", self.merchant_id, self.mode, period_of_day(self.day)) is not None:
            raise Busy("period_is_closed", "this month is closed already: the server's clock has gone back")
        return _Deciding(self, view, changes).run()


class _Deciding:
    """The state of one run of a decision; a second run begins anew."""

    def __init__(self, batch: UsageBatch, view: View, changes: Changes) -> None:
        self.batch = batch
        self.view = view
        self.changes = changes
        self.own: dict[Key, Row] = {}
        self.purses: dict[str, Purse | None] = {}
        self.next: dict[tuple[str, int], int] = {}
        self.rollups: dict[tuple[str, str, str], list[Any]] = {}
        self.captures: dict[str, int] = {}
        """By the hold that is to be captured: USD/9."""
        self.period_now = period_of(view.now_us)

    def run(self) -> dict[str, Any]:
        one = self.one
        results = [one(rated) for rated in self.batch.events]
        self.changes.inserts.extend([("usage_event", row) for row in self.own.values()])
        for hold_id, units in self.captures.items():
            self._capture(hold_id, units)
        for purse in self.purses.values():
            if purse is not None:
                purse.write(self.changes, kind=KIND, fact=self.view.flush_id, merge=True)
        self._write_watermarks()
        self._write_rollups()
        shown = {
            wallet: {"available": usd_text(purse.available)}
            for wallet, purse in self.purses.items()
            if purse is not None
        }
        return {"results": results, "wallets": shown}

    def one(self, rated: Rated) -> dict[str, Any]:
        event = rated.event
        batch = self.batch
        if event.producer is None:
            key = (batch.merchant_id, batch.mode, event.day, event.source, event.event_id)
            row = self.own.get(key) or self.view.one("usage_event", *key)
            if row is not None:
                return _again(event, row)
            day = event.day
        else:
            place = self._place(event)
            if place is not None:
                return place
            day = batch.day
            key = (batch.merchant_id, batch.mode, day, event.source, event.event_id)
        units, reason = self._charged(rated)
        accepted = not reason
        row = self.own[key] = {
            "merchant_id": batch.merchant_id, "mode": batch.mode, "day": day, "source": event.source,
            "event_id": event.event_id, "wallet_id": event.wallet, "model": event.model, "tokens": event.tokens_json,
            "status": "accepted" if accepted else "rejected", "reason": reason, "units": units,
            "price_version": rated.version, "hold_id": event.hold, "fingerprint": event.fingerprint,
            "period": rated.period, "flush_id": self.view.flush_id if accepted else "", "at_us": rated.at_us,
            "recorded_us": self.view.now_us,
        }  # fmt: skip
        result = {"id": event.event_id} if event.producer is None else event.named()
        if not accepted:
            return result | {"status": "rejected", "reason": reason}
        self._roll_up(rated, units)
        result["status"] = "accepted"
        result["amount"] = usd_text(units)
        if rated.period != self.period_now:
            result["period"] = rated.period
        return result

    def _place(self, event: UsageInput) -> dict[str, Any] | None:
        """Move a producer's watermark by one; return the result where the event is not the next one."""
        producer = (event.producer or "", event.epoch)
        expected = self.next.get(producer)
        if expected is None:
            row = self.view.one("usage_producer", self.batch.merchant_id, self.batch.mode, *producer)
            expected = 1 if row is None else int(row["next_sequence"])
        if event.sequence == expected:
            self.next[producer] = expected + 1
            return None
        if event.sequence < expected:
            return {**event.named(), "status": "duplicate"}
        return {**event.named(), "status": "rejected", "reason": "sequence_gap", "expected": expected}

    def _charged(self, rated: Rated) -> tuple[int, str]:
        """Charge one event; return USD/9 and "", or 0 and why not. The remainder is carried only by what was charged."""
        event = rated.event
        try:
            purse = self.purses[event.wallet]
        except KeyError:
            purse = self.purses[event.wallet] = self._purse(event.wallet)
        if purse is None:
            return 0, _UNKNOWN
        if rated.reason:
            return 0, rated.reason
        units, remainder = charge(purse.rating_remainder, rated.cost)
        if units > CHARGE_UNITS_MAX:
            return 0, "amount_too_large"
        if event.hold is None:
            try:
                purse.charge(units)
            except Refusal as refusal:
                return 0, refusal.code
        else:
            reason = self._charge_hold(event.hold, purse, units)
            if reason:
                return 0, reason
        purse.rating_remainder = remainder
        return units, ""

    def _charge_hold(self, hold_id: str, purse: Purse, units: int) -> str:
        """Charge to a hold (when all events are known), or beside one that ended before; return why not."""
        hold = self.view.one("hold", self.batch.merchant_id, hold_id)
        if hold is None or hold["wallet_id"] != purse.wallet["id"] or hold["mode"] != self.batch.mode:
            return "unknown_hold"
        if hold["status"] in {"open", "expired"}:
            self.captures[hold_id] = self.captures.get(hold_id, 0) + units
            return ""
        try:
            purse.charge(units)
        except Refusal as refusal:
            return refusal.code
        return ""

    def _capture(self, hold_id: str, units: int) -> None:
        """End a hold with what its events cost; what it set aside and they did not use is given back."""
        now_us = self.view.now_us
        hold = self.view.one("hold", self.batch.merchant_id, hold_id)
        assert hold is not None, "it was found before"
        purse = self.purses[hold["wallet_id"]]
        assert purse is not None, "its wallet was charged"
        if hold["status"] == "open" and hold["expires_us"] > now_us:
            charged = purse.capture(Allocation.of(hold), units)
        else:
            if hold["status"] == "open":
                purse.release(Allocation.of(hold))
            charged = purse.charge(units, must=True)
        ended = {"status": "captured", "captured_units": units, "allocations": "[]", "updated_us": now_us}
        answer = orjson.dumps(captured_shown({**hold, **ended}, charged)).decode()
        self.changes.update("hold", (hold["merchant_id"], hold_id), **ended, answer=answer)

    def _purse(self, wallet_id: str) -> Purse | None:
        try:
            return Purse.open(self.view, self.batch.merchant_id, self.batch.mode, wallet_id)
        except NotFound:
            return None

    def _roll_up(self, rated: Rated, units: int) -> None:
        event = rated.event
        key = (event.wallet, event.model, rated.period)
        sums = self.rollups.get(key)
        if sums is None:
            sums = self.rollups[key] = [0, 0, {}]
        sums[0] += 1
        sums[1] += units
        tokens = sums[2]
        for name, quantity in event.tokens.items():
            tokens[name] = tokens.get(name, 0) + quantity

    def _write_watermarks(self) -> None:
        batch = self.batch
        for (producer, epoch), following in self.next.items():
            key = (batch.merchant_id, batch.mode, producer, epoch)
            columns = {"next_sequence": following, "updated_us": self.view.now_us}
            if self.view.one("usage_producer", *key) is None:
                names = ("merchant_id", "mode", "producer", "epoch")
                self.changes.insert("usage_producer", **dict(zip(names, key, strict=True)), **columns)
            else:
                self.changes.update("usage_producer", key, **columns)

    def _write_rollups(self) -> None:
        batch = self.batch
        for (wallet, model, period), (events, units, tokens) in self.rollups.items():
            key = (batch.merchant_id, batch.mode, wallet, batch.day, model, period)
            row = self.view.one("usage_rollup", *key)
            if row is None:
                names = ("merchant_id", "mode", "wallet_id", "day", "model", "period")
                self.changes.insert("usage_rollup", **dict(zip(names, key, strict=True)), events=events, units=units,
                                    tokens=_json(tokens))  # fmt: skip
                continue
            _add(tokens, orjson.loads(row["tokens"]).items())
            self.changes.update("usage_rollup", key, events=row["events"] + events, units=row["units"] + units,
                                tokens=_json(tokens))  # fmt: skip


def _add(sums: dict[str, int], more: Iterable[tuple[str, int]]) -> None:
    for name, quantity in more:
        sums[name] = sums.get(name, 0) + quantity


def _json(tokens: dict[str, int]) -> str:
    return orjson.dumps(tokens, option=orjson.OPT_SORT_KEYS).decode()


def _again(event: UsageInput, row: Row) -> dict[str, Any]:
    """Return the result of an event whose id is known: what was said then."""
    if row["fingerprint"] != event.fingerprint:
        return {"id": event.event_id, "status": "rejected", "reason": "id_reused"}
    if row["status"] == "rejected":
        return {"id": event.event_id, "status": "rejected", "reason": row["reason"], "repeated": True}
    return {"id": event.event_id, "status": "duplicate", "amount": usd_text(row["units"])}
