"""Logs, amounts and filters, for any value: what is decoded by hand is what the ABI codec encoded."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from adapters.base import ChainScanFailed, ChainToken
from adapters.kit.chain.bloom import bits_of, bits_of_all, may_hold
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC, TransferLog, narrow, read_transfer, widen
from rates.money import UNITS_MAX, Asset, Money

USDT = Asset("USDT", 6)
BLOCK_HASH = "0x" + "ab" * 32
addresses = st.binary(min_size=20, max_size=20)
words = st.integers(min_value=0, max_value=2**256 - 1)
hashes = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=70)
    | st.from_regex(r"0x[0-9a-f]{0,66}", fullmatch=True),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def encoded(contract: bytes, sender: bytes, recipient: bytes, value: int, tx_hash: str, index: int) -> dict[str, Any]:
    return {
        "address": "0x" + contract.hex(),
        "topics": [TRANSFER_TOPIC, *("0x" + encode(["address"], [a]).hex() for a in (sender, recipient))],
        "data": "0x" + encode(["uint256"], [value]).hex(),
        "blockHash": BLOCK_HASH,
        "blockNumber": "0x7",
        "transactionHash": tx_hash,
        "logIndex": hex(index),
        "removed": False,
    }


@given(addresses, addresses, addresses, words, hashes, st.integers(0, 2**32))
def test_what_the_abi_codec_wrote_is_read_back_exactly(
    contract: bytes, sender: bytes, recipient: bytes, value: int, tx_hash: str, index: int
) -> None:
    log = encoded(contract, sender, recipient, value, tx_hash, index)
    assert read_transfer(log, BLOCK_HASH, 7, {contract}) == TransferLog(
        tx_hash, index, contract, sender, recipient, value
    )


@given(addresses, addresses)
def test_a_contract_outside_the_list_is_never_a_transfer(contract: bytes, listed: bytes) -> None:
    log = encoded(contract, bytes(20), bytes(20), 1, BLOCK_HASH, 0)
    assert (read_transfer(log, BLOCK_HASH, 7, {listed}) is None) == (contract != listed)


@given(
    st.sampled_from(["address", "topics", "data", "blockHash", "blockNumber", "transactionHash", "logIndex"]), st.data()
)
def test_a_spoilt_field_is_refused_or_read_as_nothing_but_never_as_another_amount(
    field: str, data: st.DataObject
) -> None:
    contract = b"\x42" * 20
    good = encoded(contract, b"\x01" * 20, b"\x02" * 20, 5_000_000, BLOCK_HASH, 3)
    spoilt = {**good, field: data.draw(json_values)}
    try:
        read = read_transfer(spoilt, BLOCK_HASH, 7, {contract})
    except ChainScanFailed:
        return
    assert read is None or (read.value, read.recipient) == (5_000_000, b"\x02" * 20)


@given(json_values)
def test_any_json_is_a_log_or_a_failure(value: Any) -> None:
    try:
        assert read_transfer(value, BLOCK_HASH, 7, set()) is None
    except ChainScanFailed:
        return


@given(st.integers(0, 2**256 - 1), st.integers(0, 30))
def test_narrowing_loses_nothing_and_never_rounds_up(raw: int, decimals: int) -> None:
    token = ChainToken(USDT, bytes(20), decimals, "usdt_x")
    if raw * 10**6 // 10**decimals > UNITS_MAX:
        with pytest.raises(ChainScanFailed):
            narrow(raw, token)
        return
    amount, remainder = narrow(raw, token)
    assert amount.units * 10**decimals + remainder * 10**6 == raw * 10**6
    assert 0 <= remainder * 10**6 < 10**decimals or remainder == 0


@given(st.integers(0, UNITS_MAX), st.integers(6, 30))
def test_what_was_widened_narrows_back(units: int, decimals: int) -> None:
    token = ChainToken(USDT, bytes(20), decimals, "usdt_x")
    assert narrow(widen(Money(units, USDT), token), token) == (Money(units, USDT), 0)


@given(st.lists(st.binary(min_size=20, max_size=32), max_size=30))
def test_a_bloom_never_denies_what_it_holds(items: list[bytes]) -> None:
    bloom = bits_of_all(items)
    assert all(may_hold(bloom, bits_of(item)) for item in items)
    assert not may_hold(0, bits_of(b"anything"))
