"""Transactions as bytes: ours are those of eth-account and of tronpy, and nothing else is read."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from coincurve import PrivateKey
from eth_account import Account
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from adapters.kit.chain import evm_transaction, rlp, tron_transaction
from adapters.kit.chain.addresses import read_tron
from adapters.kit.chain.calls import NotOurCall, read_call
from adapters.kit.chain.evm_transaction import EvmTransaction, NotATransaction
from adapters.kit.chain.signatures import address_of
from adapters.kit.chain.tron_transaction import TronTransaction
from adapters.sending import AuthorizedTransfer, CallKind, ChainCall

KEY, OTHER = PrivateKey(b"\x11" * 32), PrivateKey(b"\x22" * 32)
ME, THEM = (address_of(key.public_key.format(compressed=False)) for key in (KEY, OTHER))
TOKEN = b"\x0c" * 20
SIGNED = AuthorizedTransfer(THEM, 0, 1_795_000_000, b"\x07" * 32, b"\x01" * 64 + b"\x1b")
CALLS = [
    ChainCall(CallKind.COIN, ME, THEM, 10**15),
    ChainCall(CallKind.TOKEN, ME, THEM, 20_000_000, TOKEN),
    ChainCall(CallKind.AUTHORIZED, ME, b"\x0d" * 20, 1_500_000, TOKEN, SIGNED),
]
# Made by tronpy 0.6.2 (extra "offline"): txID and signature of KEY, for the two calls below.
BY_TRONPY = {
    "TRX": (
        "c88d6a8459838c39c8a8b627a0c8e398fbfcb966678445c45009f7553b744521",
        (
            "9d363496e56bce63a9431fb055967e3991d9b1304b4336315eabf336fa240650"
            "5952b22f32b358183d05a433893dfaab56cd04ecb874bd388078be7bbd7b3c1100"
        ),
    ),
    "TRC-20": (
        "363d864593ce6d478359eaae36d295dadc699a79182db11a6ef428ed05a0c1f7",
        (
            "53ea7c7984ab6d9a77e5d787e51b5cc995851fff0b06d418645f59737f549a10"
            "63a01aa2842f306b7aa0ce06fce418e960f1bc34312850a0874758611bc890f400"
        ),
    ),
}


def evm(call: ChainCall, **changes: Any) -> EvmTransaction:
    terms = {"chain_id": 56, "nonce": 0, "tip": 10**9, "fee": 3 * 10**9, "gas": 90_000, **changes}
    return EvmTransaction.of(call, **terms)


def tron(kind: str) -> TronTransaction:
    usdt = read_tron("TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t")
    call = {
        "TRX": ChainCall(CallKind.COIN, ME, THEM, 1_234_567),
        "TRC-20": ChainCall(CallKind.TOKEN, ME, THEM, 20_000_000, usdt),
    }[kind]
    fee = 0 if kind == "TRX" else 30_000_000
    block = bytes.fromhex("1a4f"), bytes.fromhex("8f3209e1c2d4a5b6")
    return TronTransaction(*block, 1_895_000_060_123, 1_895_000_000_123, fee, call)


def sign(digest: bytes) -> bytes:
    return KEY.sign_recoverable(digest, hasher=None)


@pytest.mark.parametrize("call", CALLS, ids=[call.kind for call in CALLS])
@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 70_000])
def test_signed_evm_bytes_are_those_of_eth_account(call: ChainCall, nonce: int) -> None:
    ours = evm(call, nonce=nonce)
    fields = {
        "type": 2, "chainId": 56, "nonce": nonce, "maxPriorityFeePerGas": ours.tip, "maxFeePerGas": ours.fee,
        "gas": ours.gas, "to": ours.to, "value": ours.value, "data": ours.data,
    }  # fmt: skip
    theirs = Account.sign_transaction(fields, KEY.secret)
    digest = keccak(ours.unsigned())
    signed = ours.signed(sign(digest))
    assert signed == bytes(theirs.raw_transaction)
    assert evm_transaction.transaction_id(signed) == theirs.hash.to_0x_hex()
    assert evm_transaction.read_signed(signed) == (ours, ME)
    assert evm_transaction.read_unsigned(ours.unsigned()) == ours
    assert ours.call(ME) == call


@pytest.mark.parametrize("kind", ["TRX", "TRC-20"])
def test_tron_ids_and_signatures_are_those_of_tronpy(kind: str) -> None:
    ours = tron(kind)
    txid, signature = BY_TRONPY[kind]
    raw = ours.unsigned()
    assert hashlib.sha256(raw).hexdigest() == txid
    assert sign(bytes.fromhex(txid)).hex() == signature
    signed = ours.signed(bytes.fromhex(signature))
    assert tron_transaction.transaction_id(signed) == "0x" + txid
    assert tron_transaction.read_signed(signed) == (ours, ME)


@given(place=st.integers(min_value=0), flip=st.integers(1, 255), kind=st.sampled_from(["TRX", "TRC-20"]))
def test_changed_tron_bytes_are_another_transaction_or_none(place: int, flip: int, kind: str) -> None:
    raw = bytearray(tron(kind).unsigned())
    raw[place % len(raw)] ^= flip
    try:
        read = tron_transaction.read_unsigned(bytes(raw))
    except NotATransaction:
        return
    assert read != tron(kind)
    assert read.unsigned() == bytes(raw)


@given(place=st.integers(min_value=0), flip=st.integers(1, 255), call=st.sampled_from(CALLS))
def test_changed_evm_bytes_are_another_transaction_or_none(place: int, flip: int, call: ChainCall) -> None:
    raw = bytearray(evm(call).unsigned())
    raw[place % len(raw)] ^= flip
    try:
        read = evm_transaction.read_unsigned(bytes(raw))
    except NotATransaction:
        return
    assert read != evm(call)
    assert read.unsigned() == bytes(raw)


def test_a_field_beside_those_of_a_transfer_is_refused() -> None:
    """Such as Permission_id, a memo, a second contract: bytes that do more than they seem to."""
    raw = tron("TRX").unsigned()
    for more in (bytes.fromhex("5203666f6f"), bytes.fromhex("c80101"), raw):
        with pytest.raises(NotATransaction):
            tron_transaction.read_unsigned(raw + more)


@given(st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=3), max_leaves=6))
def test_rlp_comes_back_as_it_went(item: rlp.Item) -> None:
    try:
        assert rlp.decode(rlp.encode(item)) == item
    except rlp.NotRlp:
        assert _depth(item) > rlp.DEPTH_MAX


def _depth(item: rlp.Item) -> int:
    return 1 + max(map(_depth, item), default=0) if isinstance(item, list) else 0


@given(st.binary(max_size=40))
def test_what_rlp_reads_it_writes_again(raw: bytes) -> None:
    try:
        item = rlp.decode(raw)
    except rlp.NotRlp:
        return
    assert rlp.encode(item) == raw


@pytest.mark.parametrize(
    "data",
    ["095ea7b3" + "00" * 64, "a9059cbb" + "00" * 63, "a9059cbb" + "ff" * 32 + "00" * 32, "a9059cbb" + "00" * 96],
    ids=["approve", "short", "dirty address", "one word more"],
)
def test_a_call_that_we_never_make_is_not_read(data: str) -> None:
    with pytest.raises(NotOurCall):
        read_call(ME, TOKEN, 0, bytes.fromhex(data))


def test_a_token_transfer_that_carries_coins_is_not_read() -> None:
    data = evm(CALLS[1]).data
    with pytest.raises(NotOurCall):
        read_call(ME, TOKEN, 1, data)


def test_a_signature_of_somebody_else_names_somebody_else() -> None:
    ours = evm(CALLS[1])
    signature = OTHER.sign_recoverable(keccak(ours.unsigned()), hasher=None)
    assert evm_transaction.read_signed(ours.signed(signature))[1] == THEM
