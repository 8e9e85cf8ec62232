from __future__ import annotations

from uuid import uuid4

import pytest
from uuid_utils import uuid7

from orchestrator.metering.event_id import DAY_MS, day_of_id

AT_MS = 0x0190_0000_0000  # 2024-06-09
DAY = AT_MS // DAY_MS
TAIL = "7abc8def0123456789ab"


@pytest.mark.parametrize(
    "event_id",
    [
        f"{AT_MS:012x}{TAIL}",
        f"use_{AT_MS:012X}{TAIL}",
        f"{AT_MS:012x}"[:8] + "-0000-7abc-8def-0123456789ab",
        f"req.x_{AT_MS:012x}"[:14] + "-0000-7abc-8def-0123456789ab",
    ],
)
def test_a_uuid_of_version_seven_tells_its_day(event_id: str) -> None:
    assert day_of_id(event_id) == DAY


def test_a_ulid_tells_its_day() -> None:
    # The example of the specification: 01ARZ3NDEK is 1469922850259 ms, 2016-07-30.
    for form in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "use_01ARZ3NDEKTSV4RRFFQ69G5FAV", "01arz3ndektsv4rrffq69g5fav"):
        assert day_of_id(form) == 1_469_922_850_259 // DAY_MS


@pytest.mark.parametrize("event_id", ["", "a", "call-1", "01ARZ3NDEKTSV4RRFFQ69G5FA", "8ZZZZZZZZZTSV4RRFFQ69G5FAV", "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
                                      "0" * 12 + TAIL, "f" * 12 + TAIL])  # fmt: skip
def test_other_ids_have_no_day(event_id: str) -> None:
    assert day_of_id(event_id) == 0


def test_a_random_uuid_has_no_day_and_a_new_one_has_todays() -> None:
    assert day_of_id(str(uuid4())) == 0
    assert day_of_id(uuid7().hex) == int(uuid7().hex[:12], 16) // DAY_MS
