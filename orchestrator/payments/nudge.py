"""Have the poller look at an attempt now: a hint from outside is no fact, but it is a reason to ask the rail."""

from __future__ import annotations

from typing import Any

from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.payments.finder import AttemptAt


async def check_soon(writer: Writer, found: AttemptAt, *, checks_max: int | None = None) -> None:
    """Make the next check of an attempt due, if it is still open at its rail.

    ``checks_max``: not above so many checks already made, where whoever hints has not shown who they are.
    """

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        attempt = view.one("attempt", found.merchant_id, found.attempt_id)
        if attempt is None or not attempt["open_at_rail"] or attempt["next_check_us"] <= view.now_us:
            return {}
        if checks_max is None or attempt["checks"] < checks_max:
            changes.update("attempt", (found.merchant_id, found.attempt_id), next_check_us=view.now_us)
        return {}

    locks = (row_lock("attempt", found.merchant_id, found.attempt_id),)
    await writer.submit(Unit(found.merchant_id, found.mode, None, locks, decide))
