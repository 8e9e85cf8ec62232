from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from orchestrator.errors import Invalid
from orchestrator.events.catalog import FILTERS_MAX, EventType, check_filters, envelope, envelope_json, matches

ROW = {
    "merchant_id": "mer_1", "mode": "live", "sequence": 7, "id": "evt_1", "type": "wallet.credited",
    "object_id": "wal_1", "created_us": 1_790_000_000_123_456,
    "body": '{"raw": 115792089237316195423570985008687907853269984665640564039457584007913129639935, "b": 1.10}',
}  # fmt: skip


def test_the_envelope_holds_the_object_to_the_last_byte() -> None:
    body = envelope_json(ROW)
    assert f'"data":{{"object":{ROW["body"]}}}}}'.encode() in body
    assert body == orjson.dumps(envelope(ROW))
    head = orjson.loads(body)
    assert list(head) == ["id", "type", "created_at", "livemode", "merchant", "object_id", "sequence", "data"]
    assert (head["livemode"], head["created_at"]) == (True, "2026-09-21T14:13:20.123Z")


@pytest.mark.parametrize(
    ("filters", "type_", "wanted"),
    [
        (["*"], "wallet.credited", True),
        (["wallet.*"], "wallet.credited", True),
        (["wallet.*"], "walletx.credited", False),
        (["wallet.credited"], "wallet.credited", True),
        (["wallet.credited"], "wallet.credited_twice", False),
        (["checkout.*"], "checkout.session.expired", True),
        (["payment.failed", "dispute.*"], "dispute.won", True),
        (["payment.failed", "dispute.*"], "payment.settled", False),
    ],
)
def test_a_filter_names_a_type_or_all_below_a_prefix(filters: list[str], type_: str, wanted: bool) -> None:
    assert matches(filters, type_) is wanted


@pytest.mark.parametrize("filters", [[], ["wallet"], ["wallet.credit*"], ["*.credited"], ["nothing.*"], [""], ["**"]])
def test_a_filter_that_can_never_match_is_refused(filters: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        check_filters(filters)
    assert refused.value.pointer is not None
    assert refused.value.pointer.startswith("/event_types")


def test_filters_are_kept_once_each_and_are_not_endless() -> None:
    assert check_filters(["*", "wallet.*", "*"]) == ("*", "wallet.*")
    with pytest.raises(Invalid, match="too_many"):
        check_filters(["*"] * (FILTERS_MAX + 1))


def test_every_event_that_the_product_emits_is_in_the_catalog() -> None:
    """Payments write their types as text (they may come from a table): a word that is not listed could not be asked for."""
    root = Path(__file__).parents[3] / "orchestrator"
    emitted = {
        found
        for path in root.rglob("*.py")
        for found in re.findall(r"\.emit\(\s*\"([a-z_.]+)\"", path.read_text(encoding="utf-8"))
    }
    assert emitted, "nothing emits an event any more: this test looks for another form"
    assert emitted <= {*EventType}
