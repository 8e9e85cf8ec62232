"""What a check of the books found, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

FINDINGS_MAX: Final = 200


@dataclass(slots=True)
class Report:
    entries: int = 0
    postings: int = 0
    accounts: int = 0
    balanced: bool = True
    rebuilt_equals_materialised: bool = True
    findings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.balanced and self.rebuilt_equals_materialised and not self.findings

    def find(self, text: str) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(text)

    def to_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "balanced": self.balanced,
            "rebuilt_equals_materialised": self.rebuilt_equals_materialised,
            "entries": self.entries,
            "postings": self.postings,
            "accounts": self.accounts,
            "findings": self.findings,
        }
