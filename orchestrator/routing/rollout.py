"""A draft on trial: who decides for a customer, and when the guards call it back. PURE."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson

from orchestrator.errors import Invalid

SURE: Final = 1.645
"""Standard deviations: a difference that chance alone makes one time in twenty does not call a draft back."""


@dataclass(frozen=True, slots=True)
class Guards:
    """How much worse a draft may do than the rules in force, before it is called back."""

    sample_min: int = 30
    """Ended payments that each side needs before anything is concluded."""
    settle_drop_percent: int = 5
    """Points by which the share of settled payments may fall."""
    credit_time_percent: int = 150
    """The middle time to credit may be at most this share of that of the rules in force."""
    error_rise_percent: int = 5
    """Points by which the share of calls may rise that gave no usable answer."""

    @classmethod
    def from_json(cls, stored: str) -> Guards:
        return cls(**orjson.loads(stored))

    def check(self) -> Guards:
        """Return itself. Raises Invalid where a guard could never hold, or never fail."""
        wrong = [one.name for one in fields(self) if getattr(self, one.name) < 1]
        if self.credit_time_percent < 100:
            wrong.append("credit_time_percent")
        if wrong:
            raise Invalid("guard_out_of_range", f"{wrong[0]}: at least 1, credit_time_percent at least 100")
        return self


@dataclass(frozen=True, slots=True)
class Arm:
    """What became of the customers of one side."""

    decided: int = 0
    """Payments that were begun."""
    ended: int = 0
    """Of those: settled, failed, expired or canceled by now."""
    settled: int = 0
    calls: int = 0
    errors: int = 0
    """Calls to rails that gave no usable answer."""
    credit_seconds: tuple[float, ...] = ()
    """For each credited payment, from its beginning."""

    @property
    def settle_rate(self) -> float | None:
        return self.settled / self.ended if self.ended else None

    @property
    def error_rate(self) -> float | None:
        return self.errors / self.calls if self.calls else None

    @property
    def credit_seconds_middle(self) -> float | None:
        ordered = sorted(self.credit_seconds)
        return ordered[len(ordered) // 2] if ordered else None

    def to_json(self) -> dict[str, Any]:
        middle = self.credit_seconds_middle
        return {
            "decided": self.decided,
            "ended": self.ended,
            "settled": self.settled,
            "settle_rate": None if self.settle_rate is None else round(self.settle_rate, 4),
            "calls": self.calls,
            "errors": self.errors,
            "error_rate": None if self.error_rate is None else round(self.error_rate, 4),
            "credit_seconds_middle": None if middle is None else round(middle, 1),
        }


def breach(guards: Guards, base: Arm, draft: Arm) -> str | None:
    """Return in words why the draft must be called back; None = it may go on."""
    lost = _share_moved(base.settled, base.ended, draft.settled, draft.ended, guards.sample_min)
    if lost is not None and lost < -guards.settle_drop_percent / 100:
        return (
            f"settle rate {_percent(draft.settle_rate)} against {_percent(base.settle_rate)} "
            f"({draft.settled} of {draft.ended}; {base.settled} of {base.ended}), "
            f"the guard allows {guards.settle_drop_percent} points less"
        )
    risen = _share_moved(base.errors, base.calls, draft.errors, draft.calls, guards.sample_min)
    if risen is not None and risen > guards.error_rise_percent / 100:
        return (
            f"error rate {_percent(draft.error_rate)} against {_percent(base.error_rate)} "
            f"({draft.errors} of {draft.calls} calls), the guard allows {guards.error_rise_percent} points more"
        )
    slow, usual = draft.credit_seconds_middle, base.credit_seconds_middle
    enough = min(len(draft.credit_seconds), len(base.credit_seconds)) >= guards.sample_min
    if enough and slow is not None and usual is not None and slow > usual * guards.credit_time_percent / 100:
        return (
            f"time to credit {slow:.0f} s against {usual:.0f} s (middle of {len(draft.credit_seconds)} and "
            f"{len(base.credit_seconds)}), the guard allows {guards.credit_time_percent} %"
        )
    return None


def _share_moved(base_hits: int, base_all: int, draft_hits: int, draft_all: int, sample_min: int) -> float | None:
    """Return by how much a share moved; None where there is too little to say so, or chance may have done it."""
    if min(base_all, draft_all) < sample_min:
        return None
    moved = draft_hits / draft_all - base_hits / base_all
    together = (base_hits + draft_hits) / (base_all + draft_all)
    spread = math.sqrt(together * (1 - together) * (1 / base_all + 1 / draft_all))
    return moved if spread > 0 and abs(moved) >= SURE * spread else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"


def in_canary(number: int, merchant: str, customer: str, percent: int) -> bool:
    """Say whether a customer belongs to a canary: always the same answer for one trial, without a table."""
    seed = f"canary\x00{number}\x00{merchant}\x00{customer}".encode()
    return int.from_bytes(hashlib.sha256(seed).digest()[:8]) % 100 < percent


@dataclass(frozen=True, slots=True)
class ShadowCount:
    """What a draft would have offered, beside what was offered."""

    compared: int = 0
    same: int = 0
    other_first: int = 0
    other_rest: int = 0
    """The first offer is the same, what follows is not."""
    without_offer: int = 0
    by_country: tuple[tuple[str, int], ...] = ()
    """Countries and how many of their decisions differ, most first."""

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ShadowCount:
        numbers = {one.name: stored.get(one.name, 0) for one in fields(cls) if one.name != "by_country"}
        return cls(**numbers, by_country=tuple((str(code), int(many)) for code, many in stored.get("by_country", ())))

    def plus(self, other: ShadowCount) -> ShadowCount:
        countries = dict(self.by_country)
        for code, many in other.by_country:
            countries[code] = countries.get(code, 0) + many
        ordered = tuple(sorted(countries.items(), key=lambda pair: (-pair[1], pair[0])))
        return ShadowCount(
            self.compared + other.compared,
            self.same + other.same,
            self.other_first + other.other_first,
            self.other_rest + other.other_rest,
            self.without_offer + other.without_offer,
            ordered,
        )

    @classmethod
    def of(cls, country: str, live: tuple[object, ...], draft: tuple[object, ...]) -> ShadowCount:
        """Count one session: the offers of both sides, best first."""
        if live == draft:
            return cls(1, 1)
        moved = ((country, 1),)
        if not draft:
            return cls(1, without_offer=1, by_country=moved)
        first = live[:1] != draft[:1]
        return cls(1, other_first=int(first), other_rest=int(not first), by_country=moved)
