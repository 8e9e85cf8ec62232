"""What waits longer than it may is told once, and taken back when it is well again."""

from __future__ import annotations

from pathlib import Path

from orchestrator.database import tables
from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.workers.alarms import UNKNOWN_US, Alarms
from tests.integration.reversals.scene import reversing
from tests.support.world import MERCHANT, MODE


async def test_a_refund_that_is_unknown_for_an_hour_is_told_once_and_closed_when_it_ended(
    sqlite_url: str, tmp_path: Path
) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        paid = await scene.paid("DE", "20.00")
        scene.here.switched_off |= {"inbox", "refunds"}
        await scene.here.control("stripe", "main", {"down": 1})
        row = await scene.refund(paid, "5.00")
        alarms = Alarms(scene.services)
        assert not any((await alarms.look()).values())

        def older(view: View, changes: Changes) -> dict[str, object]:
            changes.update("refund", (MERCHANT, row["id"]), updated_us=view.now_us - UNKNOWN_US - 1)
            return {}

        locks = (row_lock("refund", MERCHANT, row["id"]),)
        await scene.services.writer.submit(Unit(MERCHANT, MODE, None, locks, older))
        for _ in range(3):
            await alarms.run_once()
        (review,) = await scene.rows(tables.Review, reason="service_promise_broken")
        assert (review["merchant_id"], review["subject"], review["status"]) == (
            "platform",
            "alarm:refund_unknown",
            "open",
        )
        scene.here.switched_off.clear()
        await scene.until_refund(row, "succeeded")
        await alarms.run_once()
        (review,) = await scene.rows(tables.Review, reason="service_promise_broken")
        assert review["status"] == "resolved"
