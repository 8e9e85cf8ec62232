"""A refund made in the vendor's dashboard that we hear of after a dispute: the end is that of the other order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.base import Mode
from adapters.operations import DisputeEvent, RefundEvent, RefundState
from orchestrator.database import tables
from rates.money import Asset, Money
from tests.integration.reversals.scene import Paid, Scene, reversing
from tests.integration.reversals.test_disputes import said, tell


@pytest.mark.parametrize(
    ("words", "spent"), [("noticed", "0"), ("withdrawn", "15.00"), ("lost", "15.00"), ("lost, then won", "5.00")]
)
async def test_a_refund_made_at_the_rail_ends_alike_heard_before_or_after_the_dispute(
    migrated_database_url: str, tmp_path: Path, words: str, spent: str
) -> None:
    """Both vendors refund nothing that is disputed: it came first there, whenever we hear of it. Each word comes twice."""
    async with reversing(migrated_database_url, tmp_path) as scene:
        scene.here.switched_off.update({"inbox", "refunds", "disputes"})
        ends = []
        for place in range(2):
            paid = await scene.paid("DE", "20.00", who=f"buyer {place}")
            if spent != "0":
                await scene.spend(paid.wallet, spent)
            dispute = f"du_{place}"
            told: list[DisputeEvent | RefundEvent] = [said(paid, dispute, "needs_answer")]
            if words != "noticed":
                told.append(said(paid, dispute, "needs_answer", "withdrawn", number=2))
            if words.startswith("lost"):
                told.append(said(paid, dispute, "lost"))
            if words.endswith("won"):
                told.append(said(paid, dispute, "won", "returned"))
            told.insert(len(told) if place else 0, in_dashboard(paid, 500))
            for event in [event for event in told for _ in range(2)]:
                await scene.services.reversals.apply(event)
            await scene.assert_sound()
            ends.append(await left_of(scene, paid))
        assert ends[0] == ends[1]


async def left_of(scene: Scene, paid: Paid) -> dict[str, object]:
    """What is left of one payment, the merchant's side without what came before."""
    (dispute,) = await scene.rows(tables.Dispute, payment_id=paid.id)
    (refund,) = await scene.rows(tables.Refund, payment_id=paid.id)
    (capture,) = await scene.rows(tables.Capture, payment_id=paid.id)
    wallet = {
        part: await scene.balance(f"wallet:{part}", paid.wallet) for part in ("paid", "frozen", "refunding", "debt")
    }
    counted = [row[name] for row in (capture,) for name in ("refunding_units", "refunded_units", "withdrawn_units")]
    stands = [dispute[name] for name in ("state", "withdrawn_units", "above_units", "clawed_units")]
    status = (await scene.payment(paid))["status"]
    return {"wallet": wallet, "money": counted, "dispute": stands, "refund": refund["units"], "status": status}


def in_dashboard(paid: Paid, units: int, reference: str = "") -> RefundEvent:
    return RefundEvent(
        rail="stripe", account="main", mode=Mode.TEST, event_id=f"re_{paid.id}{reference}:succeeded",
        state=RefundState.SUCCEEDED, refund_id=None, rail_reference=f"re_{paid.id}{reference}", money_id=paid.money_id,
        amount=Money(units, Asset.parse(paid.capture["asset"])), occurred_at=datetime.now(UTC),
    )  # fmt: skip


async def test_a_refund_of_the_rail_and_a_lost_dispute_at_the_same_moment_lose_and_double_nothing(
    migrated_database_url: str, tmp_path: Path
) -> None:
    """Their units are decided one after the other, in whatever order; the second one sees the first."""
    async with reversing(migrated_database_url, tmp_path) as scene:
        scene.here.switched_off.update({"inbox", "refunds", "disputes"})
        paid = await scene.paid("DE", "20.00")
        words: list[DisputeEvent | RefundEvent]
        words = [in_dashboard(paid, 500), said(paid, "du_1", "lost", "withdrawn"), in_dashboard(paid, 300, "b"),
                 said(paid, "du_1", "needs_answer")]  # fmt: skip
        await asyncio.gather(*(scene.services.reversals.apply(word) for word in [*words, *words]))
        whole = paid.capture["units"]
        left = await left_of_all(scene, paid)
        assert left == {"refunded": 800, "withdrawn": whole - 800, "above": 800}
        assert await scene.balance("clearing", "stripe/main", "EUR/2") == -800
        assert await scene.balance("merchant:receivable", "", "EUR/2") == 800
        assert await scene.balance("wallet:paid", paid.wallet) == 0
        await scene.assert_sound()


async def left_of_all(scene: Scene, paid: Paid) -> dict[str, int]:
    (dispute,) = await scene.rows(tables.Dispute, payment_id=paid.id)
    (capture,) = await scene.rows(tables.Capture, payment_id=paid.id)
    return {
        "refunded": capture["refunded_units"],
        "withdrawn": dispute["withdrawn_units"],
        "above": dispute["above_units"],
    }


async def test_a_late_refund_of_everything_leaves_nothing_to_claw_back(sqlite_url: str, tmp_path: Path) -> None:
    async with reversing(sqlite_url, tmp_path) as scene:
        scene.here.switched_off.update({"inbox", "refunds", "disputes"})
        paid = await scene.paid("DE", "20.00")
        await tell(scene, said(paid, "du_1", "lost", "withdrawn"))
        assert (await scene.payment(paid))["status"] == "clawed_back"
        await scene.services.reversals.apply(in_dashboard(paid, paid.capture["units"]))
        (dispute,) = await scene.rows(tables.Dispute)
        assert (dispute["withdrawn_units"], dispute["above_units"]) == (0, paid.capture["units"])
        assert dispute["clawed_units"] == 0
        assert (await scene.payment(paid))["status"] == "disputed"
        reasons = {row["reason"] for row in await scene.rows(tables.Review) if row["status"] == "open"}
        assert {"dispute_above_captured", "refund_made_at_rail"} <= reasons
        await scene.assert_sound()
