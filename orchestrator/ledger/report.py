"""What a check of the books found, in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

FINDINGS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Suspended:
    """Money in suspense, and the review item that explains it."""

    merchant: str
    mode: str
    review: str
    reason: str
    subject: str
    state: str
    """open | kept (somebody decided to leave it there)"""
    amount: str
    """In whole units of ``currency``."""
    currency: str


@dataclass(slots=True)
class Report:
    entries: int = 0
    postings: int = 0
    accounts: int = 0
    balanced: bool = True
    rebuilt_equals_materialised: bool = True
    findings: list[str] = field(default_factory=list)
    suspense: list[Suspended] = field(default_factory=list)
    """The first of them; ``suspense_items`` says how many there are."""
    suspense_items: int = 0

    @property
    def ok(self) -> bool:
        return self.balanced and self.rebuilt_equals_materialised and not self.findings

    def find(self, text: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    def hold(self, suspended: Suspended) -> None:
        self.suspense_items += 1
        if len(self.suspense) < FINDINGS_MAX:
            self.suspense.append(suspended)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "balanced": self.balanced,
            "rebuilt_equals_materialised": self.rebuilt_equals_materialised,
            "entries": self.entries,
            "postings": self.postings,
            "accounts": self.accounts,
            "findings": self.findings,
            "suspense_items": self.suspense_items,
            "suspense": [asdict(one) for one in self.suspense],
        }
