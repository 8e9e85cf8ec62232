"""Auto top-ups: a wallet's standing order, and what one look at it decides. Every decision is made under lock.

The order's row is the only memory. ``session_id`` names the charge in flight and is written before anything else
happens; the session, its one attempt and the money go the way of every payment. One look is one of three:

- nothing in flight, and the balance has fallen: claim (a new session id, the day's sum, a lease);
- in flight, but no attempt yet (we died): decide again, and go on with the same session or let it go;
- in flight with an attempt: paid -> done; refused -> back off; not known yet -> wait, and never charge again meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, assert_never

import orjson

from orchestrator.clock import DAY_US, rfc3339
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, account_lock, row_lock
from orchestrator.events.catalog import EventType, emit
from orchestrator.ledger.chart import Account
from orchestrator.payments.attempt import IN_FLIGHT, AttemptStatus
from orchestrator.payments.begin import payment_of_session
from orchestrator.payments.mandates import MandateStatus
from orchestrator.payments.payment import Status
from orchestrator.payments.story import usd_body
from rates.money import WALLET_USD

LEASE_US: Final = 90 * 1_000_000
"""Longer than routing, storing and the longest call to a rail: who holds it goes on, others leave the order alone."""
FOLLOW_US: Final = 15 * 1_000_000
"""Until the next look at a charge whose end is not known, or at a page that waits for the buyer."""
RETRY_US: Final = 300 * 1_000_000
"""After something that is nobody's refusal: no rate, a rail that is down."""
BACKOFF_US: Final = 3600 * 1_000_000
BACKOFF_US_MAX: Final = 24 * BACKOFF_US
DECLINES_MAX: Final = 5
"""In a row; then the order is switched off."""
AVAILABLE: Final = (Account.WALLET_PAID, Account.WALLET_PROMO, Account.WALLET_PROVISIONAL)
"""What a wallet can spend, overdraft not counted."""
_USD: Final = str(WALLET_USD)


class Refusal(StrEnum):
    """How it goes on after a charge could not begin."""

    SOON = "soon"
    """Nobody refused anything: no rate, no rail, something changed meanwhile."""
    TOMORROW = "tomorrow"
    """The day's limit of attempts or amount."""
    COUNTS = "counts"
    """Like a decline."""


WantsBuyer = Callable[[Row], bool]
"""Says of a declined attempt whether the bank wants to see the buyer."""


def backoff_us(declines: int) -> int:
    """Return how long to wait after so many declines in a row: an hour, doubling, a day at most."""
    doublings = max(0, min(declines - 1, 10))
    return min(BACKOFF_US << doublings, BACKOFF_US_MAX)


@dataclass(frozen=True, slots=True)
class Seen:
    """A standing order as it was read; all that matters is read again under lock."""

    merchant_id: str
    mode: str
    wallet_id: str
    session_id: str | None
    mandate_id: str | None
    lease_us: int | None = None
    """``next_try_us`` as the caller left it: its own lease does not hold it up."""

    @property
    def key(self) -> tuple[str, str]:
        return (self.merchant_id, self.wallet_id)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one order. ``new_session_id`` is used if a charge begins."""

    seen: Seen
    new_session_id: str
    page_url: Callable[[str], str]
    wants_buyer: WantsBuyer
    refused_with: tuple[str, Refusal] | None = None
    """The session could not be made, or its charge not be begun: for this reason, and so it goes on."""

    def unit(self) -> Unit:
        """Return the unit. It answers {act: none | charge | expire}: charge with {order, mandate}, expire with {session}."""
        seen = self.seen
        locks: list[Lock] = [row_lock("auto_topup", *seen.key), row_lock("wallet", *seen.key)]
        locks += [account_lock(seen.merchant_id, seen.mode, code.value, seen.wallet_id, _USD) for code in AVAILABLE]
        if seen.mandate_id is not None:
            locks.append(row_lock("mandate", seen.merchant_id, seen.mandate_id))
        if seen.session_id is not None:
            payment_id = payment_of_session(seen.session_id)
            locks += [
                row_lock("checkout_session", seen.merchant_id, seen.session_id),
                row_lock("payment", seen.merchant_id, payment_id),
                Lock("attempt", ("merchant_id", "payment_id"), (seen.merchant_id, payment_id)),
            ]
        return Unit(seen.merchant_id, seen.mode, None, locks, self._decide)

    def _decide(self, view: View, changes: Changes) -> Mapping[str, Any]:
        seen = self.seen
        order = view.one("auto_topup", *seen.key)
        if order is None or (order["session_id"], order["mandate_id"]) != (seen.session_id, seen.mandate_id):
            return {"act": "none"}  # somebody was here since it was read
        if order["next_try_us"] > view.now_us and order["next_try_us"] != seen.lease_us:
            return {"act": "none"}
        scene = _Scene(view, changes, order, self.page_url, self.wants_buyer)
        answer = self._look(scene)
        scene.write()
        return answer

    def _look(self, scene: _Scene) -> Mapping[str, Any]:
        session_id, merchant = self.seen.session_id, self.seen.merchant_id
        if session_id is None:
            return scene.begin(self.new_session_id)
        payment_id = payment_of_session(session_id)
        attempts = scene.view.many("attempt", ("merchant_id", "payment_id"), (merchant, payment_id))
        if attempts:
            return scene.follow(attempts)
        if self.refused_with is not None:
            return scene.not_begun(*self.refused_with)
        return scene.begin(session_id)


@dataclass(slots=True)
class _Scene:
    """One standing order inside the flush."""

    view: View
    changes: Changes
    order: Row
    page_url: Callable[[str], str]
    wants_buyer: WantsBuyer
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return (self.order["merchant_id"], self.order["wallet_id"])

    @property
    def now_us(self) -> int:
        return self.view.now_us

    # --- before the rail ----------------------------------------------------------------------------------------------

    def begin(self, session_id: str) -> Mapping[str, Any]:
        """Claim a charge, or let one go that was claimed and has not begun."""
        order, mandate = self.order, self._mandate()
        claimed = order["session_id"] is not None
        if mandate is None or not order["enabled"] or not self._wallet_is_active() or not self._is_low():
            if claimed:
                return self._let_go(self.now_us)
            if mandate is None:  # else it would be looked at in every round
                self._update(next_try_us=self.now_us + RETRY_US)
            return {"act": "none"}
        today = self.now_us // DAY_US
        spent = order["day_units"] if order["day"] == today else 0
        if claimed and order["day"] == today:
            spent = max(0, spent - order["flight_units"])  # this very charge
        if claimed and order["flight_units"] != order["amount_units"]:
            return self._let_go(self.now_us)  # its session, if there is one, asks for the old amount
        if spent + order["amount_units"] > order["daily_max_units"]:
            tomorrow_us = (today + 1) * DAY_US
            self._failed("daily_max", tomorrow_us)
            if claimed:
                return self._let_go(tomorrow_us)
            self._update(next_try_us=tomorrow_us)
            return {"act": "none"}
        lease_us = self.now_us + LEASE_US
        self._update(
            session_id=session_id,
            flight_units=order["amount_units"],
            day=today,
            day_units=spent + order["amount_units"],
            next_try_us=lease_us,
            waits_for_buyer=0,
        )
        return {"act": "charge", "order": {**order, **self.columns}, "mandate": mandate}

    def not_begun(self, reason: str, refusal: Refusal) -> Mapping[str, Any]:
        """Let a charge go that was refused before any rail heard of it."""
        match refusal:
            case Refusal.COUNTS:
                return self._give_back(reason, self.order["declines"] + 1, stop=False)
            case Refusal.TOMORROW:
                tomorrow_us = (self.now_us // DAY_US + 1) * DAY_US
                self._failed(reason, tomorrow_us)
                return self._let_go(tomorrow_us)
            case Refusal.SOON:
                return self._let_go(self.now_us + RETRY_US)
            case _:
                assert_never(refusal)

    def _mandate(self) -> Row | None:
        if self.order["mandate_id"] is None:
            return None
        mandate = self.view.one("mandate", self.order["merchant_id"], self.order["mandate_id"])
        return mandate if mandate is not None and mandate["status"] == MandateStatus.ACTIVE.value else None

    def _wallet_is_active(self) -> bool:
        wallet = self.view.one("wallet", *self.key)
        return wallet is not None and wallet["status"] == "active"

    def _is_low(self) -> bool:
        merchant, wallet = self.key
        mode = self.order["mode"]
        available = -sum(self.view.balance(merchant, mode, code.value, wallet, _USD) for code in AVAILABLE)
        return bool(available < self.order["below_units"])

    # --- after the rail -----------------------------------------------------------------------------------------------

    def follow(self, attempts: Sequence[Row]) -> Mapping[str, Any]:
        """See what became of the charge."""
        session_id = self.order["session_id"]
        payment = self.view.one("payment", self.key[0], payment_of_session(session_id))
        session = self.view.one("checkout_session", self.key[0], session_id)
        assert payment is not None, "an attempt has its payment"
        assert session is not None, "a payment has its session"
        unknown = any(attempt["status"] in IN_FLIGHT or attempt["open_at_rail"] for attempt in attempts)
        if unknown or payment["status"] == Status.REVIEW.value:
            return self._wait()  # money may have moved: no second charge until it is known
        if payment["credited_units"] > 0:
            self._update(session_id=None, flight_units=0, declines=0, waits_for_buyer=0, next_try_us=self.now_us)
            return {"act": "none"}
        if self.order["waits_for_buyer"]:
            if session["status"] == "open" and session["expires_us"] > self.now_us:
                return self._wait()
            return self._let_go(self.now_us + backoff_us(self.order["declines"]))
        return self._refused(max(attempts, key=lambda attempt: str(attempt["id"])), session)

    def _wait(self) -> Mapping[str, Any]:
        self._update(next_try_us=self.now_us + FOLLOW_US)
        return {"act": "none"}

    def _refused(self, attempt: Row, session: Row) -> Mapping[str, Any]:
        """The rail took nothing: wait for the buyer, try again later, or stop."""
        status = AttemptStatus(attempt["status"])
        if status is AttemptStatus.NOT_SENT:
            return self._let_go(self.now_us + RETRY_US)
        declines = self.order["declines"] + 1
        decline = orjson.loads(attempt["decline"]) if attempt["decline"] else None
        reason = status.value if decline is None else decline["code"]
        if self.wants_buyer(attempt) and declines < DECLINES_MAX:
            self._update(declines=declines, waits_for_buyer=1, next_try_us=self.now_us + FOLLOW_US)
            shown = {
                **self._shown(reason, declines),
                "checkout_session": session["id"],
                "url": self.page_url(session["id"]),
                "expires_at": rfc3339(session["expires_us"]),
            }
            emit(self.changes, EventType.AUTO_TOPUP_ACTION_REQUIRED, self.key[1], shown)
            return {"act": "none"}
        return self._give_back(reason, declines, stop=status is AttemptStatus.DECLINED_HARD)

    def _give_back(self, reason: str, declines: int, *, stop: bool) -> Mapping[str, Any]:
        """Count a refusal: back off, or switch the order off. A hard decline is never tried again by itself."""
        next_us = self.now_us + backoff_us(declines)
        answer = self._let_go(next_us, declines=declines)
        if stop or declines >= DECLINES_MAX:
            self._update(enabled=0)
            emit(self.changes, EventType.AUTO_TOPUP_STOPPED, self.key[1], self._shown(reason, declines))
        else:
            self._failed(reason, next_us, declines)
        return answer

    def _let_go(self, next_try_us: int, **columns: int) -> Mapping[str, Any]:
        """Nothing is in flight any more, and what the day was charged with is given back."""
        session_id = self.order["session_id"]
        day_units = max(0, self.order["day_units"] - self.order["flight_units"])
        self._update(
            session_id=None, flight_units=0, day_units=day_units, waits_for_buyer=0, next_try_us=next_try_us, **columns
        )
        return {"act": "expire", "session": session_id}

    def _failed(self, reason: str, next_try_us: int, declines: int | None = None) -> None:
        shown = {**self._shown(reason, declines), "next_try_at": rfc3339(next_try_us)}
        emit(self.changes, EventType.AUTO_TOPUP_FAILED, self.key[1], shown)

    def _shown(self, reason: str, declines: int | None = None) -> dict[str, Any]:
        return {
            "wallet": self.key[1],
            "mandate": self.order["mandate_id"],
            "amount": usd_body(self.order["amount_units"]),
            "reason": reason,
            "declines": self.order["declines"] if declines is None else declines,
        }

    def _update(self, **columns: Any) -> None:
        self.columns.update(columns)

    def write(self) -> None:
        if self.columns:
            self.changes.update("auto_topup", self.key, updated_us=self.now_us, **self.columns)
