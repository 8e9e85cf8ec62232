"""What one measurement says. A benchmark may also return the row itself, and judge by its own measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Result:
    """``ratio`` = value / reference, both measured in this run; ``goal`` is the least ratio, or the least value where
    there is no reference. A number without a goal is there to be looked at.
    """

    name: str
    unit: str
    value: float
    reference: float | None = None
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        return None if self.reference is None else self.value / self.reference

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return (self.value if self.ratio is None else self.ratio) >= self.goal

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "value": round(self.value, 3),
            "reference": None if self.reference is None else round(self.reference, 3),
            "ratio": None if self.ratio is None else round(self.ratio, 4),
            "goal": self.goal,
            "met": self.met,
        }
