"""Reading usage events: tight, by hand, because thousands come in a request. Pure.

    {"id": "...", "wallet": "wal_...", "model": "gpt-5", "tokens": {"input": 12, "output": 3}, "at": "...", "hold": "hold_..."}
    {"producer": "gateway-7", "epoch": 1, "sequence": 42, "wallet": ..., ...}

An event names itself by ``id`` (and ``source``, where ids are unique per source only, as in CloudEvents), or by its place
in a producer's gapless sequence. It has ``tokens`` of a ``model``, or an ``amount``. What cannot be read is said per event.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import orjson

from orchestrator.clock import DAY_US, from_us, to_us
from orchestrator.metering.event_id import day_of_id, is_event_id
from orchestrator.metering.price_content import MODEL_CHARS_MAX
from orchestrator.metering.rating import QUANTITY_MAX, TOKEN_TYPES

EVENTS_MAX: Final = 5000
SEQUENCE_MAX: Final = 10**15
EPOCH_MAX: Final = 10**15

_FIELDS: Final = frozenset(
    {"id", "source", "producer", "epoch", "sequence", "wallet", "model", "tokens", "amount", "at", "hold"}
)
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,80}")
_AMOUNT: Final = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,18}))?")
_AT_CHARS_MAX: Final = 40
_EVERY_TYPE: Final = frozenset(TOKEN_TYPES)


class Malformed(Exception):
    """Not an event: the text says what to mend. Nothing of it is stored."""


class UsageInput:
    """One event as it was sent. ``at_us`` is None where the sender leaves the time to us."""

    __slots__ = ("amount", "at_us", "day", "epoch", "event_id", "fingerprint", "hold", "model", "producer", "sequence",
                 "source", "tokens", "tokens_json", "wallet")  # fmt: skip

    source: str
    """Of the stored row: "" | ``src:...`` | ``seq:producer/epoch``."""
    event_id: str
    """Of the stored row: the id, or the sequence in digits that sort."""
    day: int
    """Of the id's own time; 0 where it has none, and for sequences (they take the day on which they arrive)."""
    producer: str | None
    epoch: int
    sequence: int
    wallet: str
    model: str
    tokens: Mapping[str, int]
    """Quantities above zero by type."""
    tokens_json: str
    amount: int | None
    """In 10**-18 dollar."""
    at_us: int | None
    hold: str | None
    fingerprint: str

    def named(self) -> dict[str, Any]:
        """Return what the answer calls the event by."""
        if self.producer is None:
            return {"id": self.event_id}
        return {"producer": self.producer, "epoch": self.epoch, "sequence": self.sequence}


def read_event(raw: Any) -> UsageInput:
    """Return one event. Raises Malformed."""
    if type(raw) is not dict:
        raise Malformed("an event is a JSON object")
    if not raw.keys() <= _FIELDS:
        unknown = ", ".join(sorted(str(name)[:40] for name in raw.keys() - _FIELDS))
        raise Malformed(f"unknown field: {unknown}")
    event = UsageInput()
    _read_identity(event, raw)
    wallet, model, hold, at = raw.get("wallet"), raw.get("model"), raw.get("hold"), raw.get("at")
    if type(wallet) is not str or not _is_name(wallet):
        raise Malformed("wallet: a wallet's id is needed")
    if hold is not None and (type(hold) is not str or not _is_name(hold)):
        raise Malformed("hold: not a hold's id")
    if model is None:
        model = ""
    elif type(model) is not str or not _is_model(model):
        raise Malformed("model: not a model's name")
    event.wallet, event.model, event.hold = wallet, model, hold
    event.at_us = None if at is None else _time(at)
    _read_quantity(event, raw)
    # No part can hold the character that parts them, so no two meanings make one text.
    meaning = f"{wallet}\0{model}\0{event.tokens_json}\0{event.amount}\0{event.at_us}\0{hold or ''}"
    event.fingerprint = blake2b(meaning.encode(), digest_size=12).hexdigest()
    return event


@lru_cache(maxsize=4096)
def _is_name(text: str) -> bool:
    """Say whether it can be an id of ours; the same wallets come again and again."""
    return _NAME.fullmatch(text) is not None


@lru_cache(maxsize=1024)
def _is_model(text: str) -> bool:
    return 0 < len(text) <= MODEL_CHARS_MAX and text.isprintable()


def _read_identity(event: UsageInput, raw: Mapping[str, Any]) -> None:
    id_, source, producer = raw.get("id"), raw.get("source"), raw.get("producer")
    event.producer, event.epoch, event.sequence = None, 0, 0
    if producer is None:
        if type(id_) is not str or not is_event_id(id_):
            raise Malformed("id: 1 to 128 visible ASCII characters, or producer and sequence instead")
        if "sequence" in raw or "epoch" in raw:
            raise Malformed("sequence and epoch belong to a producer")
        if source is None:
            event.source = ""
        elif type(source) is str and is_event_id(source):
            event.source = f"src:{source}"
        else:
            raise Malformed("source: 1 to 128 visible ASCII characters")
        event.event_id, event.day = id_, day_of_id(id_)
        return
    sequence, epoch = raw.get("sequence"), raw.get("epoch", 0)
    if id_ is not None or source is not None:
        raise Malformed("an event has an id, or a producer and a sequence: not both")
    if type(producer) is not str or not _is_name(producer):
        raise Malformed("producer: 1 to 80 letters, digits and _.:-")
    if type(sequence) is not int or not 1 <= sequence <= SEQUENCE_MAX:
        raise Malformed("sequence: a whole number from 1")
    if type(epoch) is not int or not 0 <= epoch <= EPOCH_MAX:
        raise Malformed("epoch: a whole number from 0")
    event.producer, event.epoch, event.sequence = producer, epoch, sequence
    event.source, event.event_id, event.day = f"seq:{producer}/{epoch}", f"{sequence:016}", 0


def _read_quantity(event: UsageInput, raw: Mapping[str, Any]) -> None:
    tokens, amount = raw.get("tokens"), raw.get("amount")
    if (tokens is None) == (amount is None):
        raise Malformed("tokens of a model, or an amount: one of the two")
    if tokens is None:
        event.tokens, event.tokens_json, event.amount = {}, "", _amount(amount)
        return
    if not event.model:
        raise Malformed("model: tokens are priced by their model")
    if type(tokens) is not dict or not tokens:
        raise Malformed("tokens: an object of token type and number")
    if not tokens.keys() <= _EVERY_TYPE:
        name = min(tokens.keys() - _EVERY_TYPE)
        raise Malformed(f"tokens/{name[:40]}: no such token type; there are {', '.join(TOKEN_TYPES)}")
    for name, quantity in tokens.items():
        if type(quantity) is not int or not 0 <= quantity <= QUANTITY_MAX:
            raise Malformed(f"tokens/{name}: a whole number from 0 to {QUANTITY_MAX}")
    if 0 in tokens.values():
        tokens = {name: quantity for name, quantity in tokens.items() if quantity}
    event.tokens, event.amount = tokens, None
    event.tokens_json = orjson.dumps(tokens, option=orjson.OPT_SORT_KEYS).decode()


def _amount(given: Any) -> int:
    if type(given) is dict:
        if given.keys() != {"amount", "currency"} or given["currency"] != "USD":
            raise Malformed('amount: {"amount": "0.01", "currency": "USD"}, or the decimal string alone')
        given = given["amount"]
    found = _AMOUNT.fullmatch(given) if type(given) is str else None
    if found is None:
        raise Malformed('amount: dollars as a decimal string such as "0.0125", with at most 18 decimals')
    return int(found[1] + (found[2] or "").ljust(18, "0"))


def _time(given: Any) -> int:
    if type(given) is not str or len(given) > _AT_CHARS_MAX:
        raise Malformed("at: a time such as 2026-11-23T12:00:00Z (RFC 3339)")
    try:
        moment = datetime.fromisoformat(given)
    except ValueError:
        raise Malformed("at: a time such as 2026-11-23T12:00:00Z (RFC 3339)") from None
    if moment.tzinfo is None:
        raise Malformed("at: the time needs its zone, such as Z")
    return to_us(moment)


def period_of(at_us: int) -> str:
    """Return the month of a time, UTC, such as ``2026-11``."""
    return period_of_day(at_us // DAY_US)


@lru_cache(maxsize=1024)
def period_of_day(day: int) -> str:
    return f"{from_us(day * DAY_US):%Y-%m}"
