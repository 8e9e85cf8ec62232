"""Taking usage: rated before the unit, charged in it, answered after its commit.

Every request is in one unit (small ones share it, see ``together``): event rows, rating remainder, charges, roll-ups and the
producer's watermark are written together or not at all, so sending a request again is always safe and needs no Idempotency-Key.

What happens once, and by what:

- ``id`` with a time in it (UUIDv7, ULID, either behind a prefix): its row, kept under the day of that time.
- ``producer``, ``epoch`` and ``sequence``: the producer's watermark. Below it: duplicate. Above it: ``sequence_gap`` with the
  sequence that is expected; nothing is stored. Sequences begin at 1; a producer that lost its place takes a new epoch.
- any other ``id``: its row, under day 0.

The same id with another meaning is refused (``id_reused``) and changes nothing. A rejection is a result that lasts: the event
is never charged later, whatever changes; it is sent again under a new id. That holds for a wallet that is not there, too: its
row is kept under the id that was named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from orchestrator.clock import Clock
from orchestrator.database.writer import OutcomeUnclear, Writer
from orchestrator.errors import Busy
from orchestrator.metering.charging import DayTurned, Rated
from orchestrator.metering.price_book import Book, PriceBook
from orchestrator.metering.rating import PriceMissing, cost_of_amount
from orchestrator.metering.together import Together
from orchestrator.metering.usage_input import EVENTS_MAX, UsageInput

FUTURE_US_MAX: Final = 5 * 60 * 1_000_000
"""How far a sender's clock may be ahead in ``at``."""
IN_FLIGHT_MAX: Final = 50_000
"""Events of all requests that wait for their commit."""
TRIES_MAX: Final = 4

REASONS: Final = {
    "unknown_wallet": "There is no such wallet.",
    "unknown_model": "The price book in force at `at` has no such model.",
    "price_missing": "The model has no price for one of the token types.",
    "insufficient_balance": "The wallet and its overdraft did not cover it.",
    "wallet_frozen": "The wallet was frozen.",
    "wallet_closed": "The wallet was closed.",
    "unknown_hold": "There is no such hold of this wallet.",
    "at_in_future": "`at` was more than five minutes ahead.",
    "amount_too_large": "One event costs less than a billion dollars.",
    "id_reused": "The id was used for another event; nothing was stored.",
    "sequence_gap": "Not the producer's next sequence, which `expected` names; nothing was stored.",
    "invalid_event": "It could not be read (`detail`); nothing was stored.",
}
"""Why an event is rejected: stable words."""


class Metering:
    """Takes usage events."""

    def __init__(self, writer: Writer, prices: PriceBook, clock: Clock) -> None:
        self._together = Together(writer, clock)
        self._prices = prices
        self._clock = clock
        self._in_flight = 0

    async def record(self, merchant_id: str, mode: str, events: Sequence[UsageInput]) -> dict[str, Any]:
        """Charge events; return ``{"results": [one per event, in order], "wallets": {id: {"available"}}}``.

        Raises Busy: nothing was written.
        """
        if not events:
            return {"results": [], "wallets": {}}
        assert len(events) <= EVENTS_MAX, "the door counts them"
        if self._in_flight and self._in_flight + len(events) > IN_FLIGHT_MAX:
            raise Busy("usage_queue_full", "too many events are waiting; nothing was written: try again in a second")
        self._in_flight += len(events)
        try:
            return await self._record(merchant_id, mode, events)
        finally:
            self._in_flight -= len(events)

    async def _record(self, merchant_id: str, mode: str, events: Sequence[UsageInput]) -> dict[str, Any]:
        now_us = self._clock.now_us()
        book = await self._prices.book(merchant_id, mode)
        rated = [_rated(book, event, now_us) for event in events]
        if any(one.reason in {"unknown_model", "price_missing"} for one in rated):
            # Another process may have made a version a moment ago: ask before a rejection that lasts.
            book = await self._prices.book(merchant_id, mode, fresh=True)
            rated = [_rated(book, event, now_us) for event in events]
        for _ in range(TRIES_MAX):
            try:
                return dict(await self._together.charge(merchant_id, mode, rated))
            except (DayTurned, OutcomeUnclear):
                continue  # the rows themselves make it once
        raise Busy("usage_not_taken", "the database does not say whether it stored this: send the same again")


def _rated(book: Book, event: UsageInput, now_us: int) -> Rated:
    at_us = event.at_us
    rated = Rated(event, now_us if at_us is None else at_us)
    if at_us is not None and at_us > now_us + FUTURE_US_MAX:
        rated.reason = "at_in_future"
    elif event.amount is not None:
        rated.cost = cost_of_amount(event.amount)
    else:
        version = book.in_force(rated.at_us)
        rates = None if version is None else version.rates(event.model)
        if version is None or rates is None:
            rated.reason = "unknown_model"
            return rated
        rated.version = version.id
        try:
            rated.cost = rates.cost(event.tokens)
        except PriceMissing:
            rated.reason = "price_missing"
    return rated
