"""Each merchant's disputes by calendar month (UTC) against the limits of the card schemes: who comes near is told in time.

Counted are card payments and disputes that were booked here; an inquiry is none. The limits are ``scheme_limits.yaml``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from sqlalchemy import func, select

from orchestrator.clock import Clock, to_us
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Attempt, Capture, Dispute, table_of
from orchestrator.database.unit import Changes, Lock, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.events.catalog import EventType, emit
from orchestrator.payments.crediting import ask_a_person

LIMITS: Final = Path(__file__).with_name("scheme_limits.yaml")
CARD_METHODS: Final = ("card", "apple_pay", "google_pay")
BY_SUBJECT: Final = ("merchant_id", "subject")
READ_S_MAX: Final = 120
Book = tuple[str, str]
"""Merchant and mode."""


class Programme(BaseModel):
    """One monitoring programme of a scheme. Both numbers must be reached."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    count: Annotated[int, Field(gt=0)]
    ratio_bps: Annotated[int, Field(gt=0)]
    against: Literal["same_month", "month_before"]
    source: str
    read_on: date


class Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    warn_share_percent: Annotated[int, Field(gt=0, le=100)]
    programmes: tuple[Programme, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, moment: datetime) -> Month:
        return cls(moment.year, moment.month)

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read ``2026-11``. Raises ValueError."""
        return cls.of(datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC))

    @property
    def before(self) -> Month:
        return Month(self.year - 1, 12) if self.number == 1 else Month(self.year, self.number - 1)

    @property
    def after(self) -> Month:
        return Month(self.year + 1, 1) if self.number == 12 else Month(self.year, self.number + 1)

    @property
    def first_us(self) -> int:
        return to_us(datetime(self.year, self.number, 1, tzinfo=UTC))

    def __str__(self) -> str:
        return f"{self.year}-{self.number:02}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How one merchant stands in one programme."""

    programme: Programme
    disputes: int
    payments: int
    """Of the month that the programme divides by."""
    level: str
    """ok | warning | exceeded"""

    @property
    def ratio_bps(self) -> int:
        """Rounded up. Disputes without any payment are a ratio of 100 %."""
        return -(-self.disputes * 10_000 // self.payments) if self.payments else 10_000 * bool(self.disputes)

    def to_json(self) -> dict[str, Any]:
        return {
            "programme": self.programme.name, "disputes": self.disputes, "payments": self.payments,
            "ratio_bps": self.ratio_bps, "limit_count": self.programme.count, "limit_bps": self.programme.ratio_bps,
            "level": self.level, "source": self.programme.source,
        }  # fmt: skip


def read_limits(path: Path = LIMITS) -> Limits:
    """Read the limits. Raises pydantic's ValidationError with the field."""
    return Limits.model_validate(YAML(typ="safe").load(path.read_text("utf-8")))


def judge(limits: Limits, disputes: int, same_month: int, month_before: int) -> list[Standing]:
    """Hold one merchant's numbers against every programme."""
    standings = []
    for programme in limits.programmes:
        payments = same_month if programme.against == "same_month" else month_before
        share = min(
            disputes * 100 // programme.count,
            disputes * 10_000 * 100 // (max(1, payments) * programme.ratio_bps),
        )
        level = "exceeded" if share >= 100 else "warning" if share >= limits.warn_share_percent else "ok"
        standings.append(Standing(programme, disputes, payments, level))
    return standings


class DisputeRates:
    """Counts, and tells what changed for the worse: each level of a programme once a month."""

    def __init__(self, writer: Writer, reads: Reads, clock: Clock, limits: Limits | None = None) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._limits = limits or read_limits()

    async def of_month(self, month: Month | None = None) -> dict[Book, list[Standing]]:
        """Return every merchant that has a dispute in a month (default: this one), by merchant and mode."""
        month = month or Month.of(self._clock.now())
        disputes = await self._disputes(month)
        same, before = await self._payments(month), await self._payments(month.before)
        return {
            book: judge(self._limits, many, same.get(book, 0), before.get(book, 0))
            for book, many in sorted(disputes.items())
        }

    async def run_once(self) -> int:
        """Tell of every programme that a merchant comes near to or is above; return how many were news."""
        month, news = Month.of(self._clock.now()), 0
        for (merchant_id, mode), standings in (await self.of_month(month)).items():
            for standing in standings:
                if standing.level != "ok":
                    news += await self._tell(merchant_id, mode, month, standing)
        return news

    async def _tell(self, merchant_id: str, mode: str, month: Month, standing: Standing) -> bool:
        subject = f"dispute_rate:{month}:{standing.programme.name}"
        body = {"month": str(month), **standing.to_json()}

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            ask_a_person(view, changes, merchant_id, mode, reason="dispute_rate_high", subject=subject,
                         payment_id=None, evidence=body)  # fmt: skip
            emit(changes, EventType.DISPUTE_RATE_HIGH, merchant_id, body, merchant_id)
            return {}

        locks = (Lock("review", BY_SUBJECT, (merchant_id, subject)),)
        key = f"{subject}:{standing.level}"
        return not (await self._writer.submit(Unit(merchant_id, mode, key, locks, decide))).duplicate

    async def _disputes(self, month: Month) -> dict[Book, int]:
        disputes, attempts, captures = table_of(Dispute), table_of(Attempt), table_of(Capture)
        query = (
            select(disputes.c.merchant_id, disputes.c.mode, func.count().label("many"))
            .join(captures, (captures.c.merchant_id == disputes.c.merchant_id) & (captures.c.id == disputes.c.capture_id))
            .join(attempts, (attempts.c.merchant_id == captures.c.merchant_id) & (attempts.c.id == captures.c.attempt_id))
            .where(attempts.c.method.in_(CARD_METHODS), disputes.c.inquiry == 0,
                   disputes.c.created_us >= month.first_us, disputes.c.created_us < month.after.first_us)
            .group_by(disputes.c.merchant_id, disputes.c.mode)
        )  # fmt: skip
        return await self._counted(query)

    async def _payments(self, month: Month) -> dict[Book, int]:
        captures, attempts = table_of(Capture), table_of(Attempt)
        query = (
            select(captures.c.merchant_id, captures.c.mode, func.count().label("many"))
            .join(attempts, (attempts.c.merchant_id == captures.c.merchant_id) & (attempts.c.id == captures.c.attempt_id))
            .where(attempts.c.method.in_(CARD_METHODS), captures.c.created_us >= month.first_us,
                   captures.c.created_us < month.after.first_us)
            .group_by(captures.c.merchant_id, captures.c.mode)
        )  # fmt: skip
        return await self._counted(query)

    async def _counted(self, query: Any) -> dict[Book, int]:
        async with asyncio.timeout(READ_S_MAX):
            rows: Sequence[Any] = await self._reads.all(query)
        return {(row["merchant_id"], row["mode"]): int(row["many"]) for row in rows}
