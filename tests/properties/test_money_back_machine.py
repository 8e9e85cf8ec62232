"""Money comes, is used, goes back, is disputed and paid out, in whatever order: beside sums that are told a second time.

Top-ups, grants, usage given and rated, prices changed and periods re-rated, holds, refunds (asked, forced, made at the rail,
through, failed, come back, through after all, in any order), disputes (warned, opened, withdrawn, lost, won, closed, returned, two at once), days that mature,
payouts that are paid, fail and are returned. After every step the books hold, the rail's balance is what it took and gave,
and what customer and merchant have together is what came in less what went out. A loss is borne in the order of the rules.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.operations import DisputeState, Funds, RefundState
from tests.support.databases import DatabaseKind, Databases
from tests.support.money_back import USD, live

EXAMPLES = 120 if settings.default is not None and settings.default.max_examples > 100 else 12
"""Each is a story over a real database; ``make soak`` lives through many more."""
PRICES = ("0.0000000000333", "0.00000015", "0.00000000777")
STATES = [DisputeState.NEEDS_ANSWER, DisputeState.UNDER_REVIEW, DisputeState.WON, DisputeState.LOST, DisputeState.LOST,
          DisputeState.CLOSED]  # fmt: skip
PICK = st.integers(0, 5)
NANO = st.integers(1, 12 * USD)
ENDS = st.sampled_from([RefundState.SUCCEEDED, RefundState.FAILED])

steps = st.one_of(
    st.tuples(st.just("top_up"), st.integers(1, 20)),
    st.tuples(st.just("use"), NANO),
    st.tuples(st.just("use"), NANO),
    st.tuples(st.just("rate"), st.integers(1, 10**9)),
    st.tuples(st.just("price"), st.sampled_from(PRICES)),
    st.tuples(st.just("rerate")),
    st.tuples(st.just("grant"), NANO),
    st.tuples(st.just("policy"), st.sampled_from(["hard", "debt"])),
    st.tuples(st.just("hold"), NANO),
    st.tuples(st.just("capture"), PICK, NANO),
    st.tuples(st.just("void"), PICK),
    st.tuples(st.just("refund"), PICK, st.none() | NANO, st.booleans()),
    st.tuples(st.just("refund ends"), PICK, ENDS, st.just(0)),
    st.tuples(st.just("refund ends"), PICK, ENDS, st.integers(0, 6)),
    st.tuples(st.just("refund ends"), PICK, ENDS, st.just(0)),
    st.tuples(st.just("refunded at rail"), PICK, st.integers(1, 3)),
    st.tuples(st.just("warned"), PICK, st.booleans()),
    st.tuples(st.just("dispute"), PICK, st.integers(0, 1), st.sampled_from(STATES), st.sampled_from(list(Funds))),
    st.tuples(st.just("dispute"), PICK, st.integers(0, 1), st.sampled_from(STATES), st.sampled_from(list(Funds))),
    st.tuples(st.just("look")),
    st.tuples(st.just("day")),
    st.tuples(st.just("pay out")),
    st.tuples(st.just("payout ends"), PICK, st.sampled_from(["confirm", "fail", "return"])),
)


@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(story=st.lists(steps, min_size=6, max_size=24))
def test_what_came_in_less_what_went_out_is_there_whatever_happens(
    databases: Databases, database_kind: DatabaseKind, tmp_path: Path, story: list[tuple[Any, ...]]
) -> None:
    url, remove = databases.migrated(database_kind, Path(mkdtemp(dir=tmp_path)))
    asyncio.run(live(url, [("top_up", 20), ("use", 7 * USD), ("day",), *story, ("end",)]))
    remove()


FAULTS = {
    "the books hold while a forced refund waits that the merchant pays for": [
        ("refund", 0, None, True), ("use", USD),
    ],
    "a loss that is the first word takes the payment's own credit before an older one's": [
        ("top_up", 9), ("dispute", 1, 0, DisputeState.LOST, Funds.WITHDRAWN),
    ],
    "one dispute that ends leaves the payment disputed while another is open": [
        ("top_up", 9),
        ("dispute", 1, 0, DisputeState.NEEDS_ANSWER, Funds.UNCHANGED),
        ("dispute", 1, 1, DisputeState.NEEDS_ANSWER, Funds.UNCHANGED),
        ("dispute", 1, 0, DisputeState.WON, Funds.UNCHANGED),
        ("refund", 1, USD, True),
    ],
    "what is set aside anew after a late refund is a fact of its own": [
        ("top_up", 1), ("dispute", 1, 1, DisputeState.NEEDS_ANSWER, Funds.UNCHANGED), ("look",),
        ("refunded at rail", 1, 3),
    ],
    "a lost dispute gives way to a refund that is heard of later": [
        ("dispute", 0, 0, DisputeState.LOST, Funds.WITHDRAWN), ("refunded at rail", 0, 3), ("top_up", 30),
        ("refunded at rail", 0, 1), ("dispute", 0, 0, DisputeState.WON, Funds.RETURNED),
    ],
    "of two disputes the last one gives way first": [
        ("top_up", 9), ("dispute", 1, 1, DisputeState.LOST, Funds.WITHDRAWN),
        ("dispute", 1, 2, DisputeState.NEEDS_ANSWER, Funds.WITHDRAWN), ("refunded at rail", 1, 2), ("look",),
    ],
}  # fmt: skip
"""Stories that the machine found, each with the fault that it showed."""


@pytest.mark.parametrize("story", FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_that_was_found_stays_mended(migrated_database_url: str, story: list[tuple[Any, ...]]) -> None:
    await live(migrated_database_url, [("top_up", 20), ("use", 7 * USD), ("day",), *story, ("end",)])
