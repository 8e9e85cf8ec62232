"""Money in suspense: every unit of it is explained by a review item, open or decided to be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select

from orchestrator.database.reads import Snapshot
from orchestrator.database.tables import Review, table_of
from orchestrator.database.unit import Row
from orchestrator.ledger.chart import Account
from orchestrator.ledger.check_wallets import AccountKey
from orchestrator.ledger.report import Report, Suspended
from rates.money import Asset, Money

ASKED_AT_ONCE: Final = 500
_KEPT: Final = frozenset({"ignore", "plan_refund"})


async def check_suspense(snapshot: Snapshot, report: Report, rebuilt: Mapping[AccountKey, int]) -> None:
    """Note which item explains what; find what none does. Memory grows with what is in suspense."""
    held = {key: units for key, units in rebuilt.items() if key[2] == Account.SUSPENSE.value and units}
    subjects = sorted({key[3] for key in held})
    reviews: dict[tuple[str, str], Row] = {}
    table = table_of(Review)
    for start in range(0, len(subjects), ASKED_AT_ONCE):
        asked = subjects[start : start + ASKED_AT_ONCE]
        for row in await snapshot.all(select(table).where(table.c.subject.in_(asked)).order_by(table.c.id)):
            key = (row["merchant_id"], row["subject"])
            if _explains(row) and (key not in reviews or row["status"] == "open"):
                reviews[key] = row
    for (merchant, mode, _, subject, asset), units in held.items():
        review = reviews.get((merchant, subject))
        if units > 0:
            report.find(f"{merchant} {mode}: suspense of {subject} is overdrawn by {units} {asset}")
        elif review is None:
            report.find(f"{merchant} {mode}: {-units} {asset} are in suspense for {subject}, and no review says why")
        else:
            amount = Money(-units, Asset.parse(asset)).decimal()
            state = "open" if review["status"] == "open" else "kept"
            report.hold(
                Suspended(
                    merchant, mode, review["id"], review["reason"], subject, state, amount, asset.partition("/")[0]
                )
            )


def _explains(review: Row) -> bool:
    return review["status"] == "open" or review["action"] in _KEPT
