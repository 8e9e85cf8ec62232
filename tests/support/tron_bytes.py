"""A signed TRON transaction as java-tron reads it: protobuf of any order, and who signed. Knows nothing of our own reader.

Field numbers: https://github.com/tronprotocol/protocol/blob/master/core/Tron.proto and core/contract/*.proto
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from coincurve import PublicKey
from eth_utils.crypto import keccak

KINDS = {1: "TransferContract", 31: "TriggerSmartContract"}


class NotProtobuf(ValueError):
    """``Transaction.parseFrom`` would throw."""


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    txid: str
    """Bare hex, as the HTTP API has it."""
    kind: str
    owner: bytes
    to: bytes
    """20 bytes: the contract that is called, or who gets TRX."""
    amount: int
    """Sun."""
    data: bytes
    fee_limit: int
    expiration_ms: int
    ref_block_bytes: bytes
    ref_block_hash: bytes
    signers: tuple[bytes, ...]


def parse(raw: bytes) -> SignedTransaction:
    """Raises NotProtobuf."""
    try:
        outer = _fields(raw)
        body = outer[1][0]
        fields = _fields(body)
        contract = _fields(fields[11][0])
        kind = KINDS[contract[1][0]]
        value = _fields(_fields(contract[2][0])[2][0])
        digest = hashlib.sha256(body).digest()
        return SignedTransaction(
            txid=digest.hex(), kind=kind, owner=value[1][0][1:], to=value[2][0][1:],
            amount=_one(value, 3, 0), data=_one(value, 4, b""), fee_limit=_one(fields, 18, 0),
            expiration_ms=_one(fields, 8, 0), ref_block_bytes=_one(fields, 1, b""), ref_block_hash=_one(fields, 4, b""),
            signers=tuple(_signer(digest, signature) for signature in outer[2]),
        )  # fmt: skip
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise NotProtobuf(repr(error)) from None


def pack(transaction: Mapping[str, Any]) -> bytes:
    """Serialise the JSON form that /wallet/broadcasttransaction takes. ``raw_data_hex`` is not looked at, as in a node."""
    raw = transaction["raw_data"]
    (contract,) = raw["contract"]
    value = contract["parameter"]["value"]
    number = next(number for number, name in KINDS.items() if name == contract["type"])
    to = bytes.fromhex(value.get("contract_address") or value["to_address"])
    inner = _put(1, bytes.fromhex(value["owner_address"])) + _put(2, to)
    inner += _put(3, value.get("amount", 0)) + _put(4, bytes.fromhex(value.get("data", "")))
    parameter = _put(1, contract["parameter"]["type_url"].encode()) + _put(2, inner)
    body = _put(1, bytes.fromhex(raw["ref_block_bytes"])) + _put(4, bytes.fromhex(raw["ref_block_hash"]))
    body += _put(8, raw["expiration"]) + _put(11, _put(1, number) + _put(2, parameter))
    body += _put(14, raw.get("timestamp", 0)) + _put(18, raw.get("fee_limit", 0))
    return _put(1, body) + b"".join(_put(2, bytes.fromhex(one)) for one in transaction["signature"])


def _signer(digest: bytes, signature: bytes) -> bytes:
    bit = signature[64] - 27 if signature[64] >= 27 else signature[64]
    key = PublicKey.from_signature_and_message(signature[:64] + bytes([bit]), digest, hasher=None)
    return keccak(key.format(compressed=False)[1:])[-20:]


def _one(fields: Mapping[int, list[Any]], number: int, missing: Any) -> Any:
    return fields[number][-1] if number in fields else missing


def _fields(raw: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = defaultdict(list)
    place = 0
    while place < len(raw):
        tag, place = _varint(raw, place)
        number, place = _varint(raw, place)
        if tag & 7 == 0:
            found[tag >> 3].append(number)
        elif tag & 7 == 2 and place + number <= len(raw):
            found[tag >> 3].append(raw[place : place + number])
            place += number
        else:
            raise NotProtobuf(f"wire type {tag & 7}")
    return dict(found)


def _varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (raw[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if raw[place - 1] < 0x80:
            return value, place


def _put(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value) if value else b""
    return _number(number << 3 | 2) + _number(len(value)) + value if value else b""


def _number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
