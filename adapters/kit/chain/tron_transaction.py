"""A TRON transaction as bytes (protobuf) and as what it says. Pure.

The txID is SHA-256 of ``raw_data``: it is computed here, never taken from a node. Protobuf is written out for the few
fields that a transfer has, so that the signer refuses bytes with any field more; the tests hold it against tronpy's
offline build.
Sources: https://github.com/tronprotocol/protocol/blob/master/core/Tron.proto,
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from adapters.kit.chain.calls import NotOurCall, call_data, read_call
from adapters.kit.chain.evm_transaction import NotATransaction
from adapters.kit.chain.signatures import BadSignature, recover
from adapters.sending import CallKind, ChainCall

PREFIX: Final = b"\x41"
TRANSFER_CONTRACT: Final = 1
TRIGGER_SMART_CONTRACT: Final = 31
URL: Final = "type.googleapis.com/protocol."
_NAMES: Final = {TRANSFER_CONTRACT: "TransferContract", TRIGGER_SMART_CONTRACT: "TriggerSmartContract"}

Field = tuple[int, int | bytes]


@dataclass(frozen=True, slots=True)
class TronTransaction:
    """A transfer of TRX or of a TRC-20 token; times are milliseconds since 1970."""

    ref_block_bytes: bytes
    """Bytes 6 and 7 of a recent block's height."""
    ref_block_hash: bytes
    """Bytes 8 to 15 of that block's id."""
    expiration_ms: int
    timestamp_ms: int
    fee_limit: int
    """The most that energy may burn, sun. 0 for a transfer of TRX."""
    call: ChainCall

    @property
    def fee_max(self) -> int:
        """The most that its energy can cost, sun; bandwidth is beside it."""
        return self.fee_limit

    def unsigned(self) -> bytes:
        """Return ``raw_data``: what is signed."""
        fields: list[Field] = [
            (1, self.ref_block_bytes), (4, self.ref_block_hash), (8, self.expiration_ms),
            (11, self._contract()), (14, self.timestamp_ms), (18, self.fee_limit),
        ]  # fmt: skip
        return _message(fields)

    def signed(self, signature: bytes) -> bytes:
        """Return the bytes that a node takes. ``signature``: r, s and the recovery bit, 65 bytes."""
        return _message([(1, self.unsigned()), (2, signature)])

    def _contract(self) -> bytes:
        call = self.call
        if call.kind is CallKind.COIN:
            kind = TRANSFER_CONTRACT
            inner: list[Field] = [(1, PREFIX + call.sender), (2, PREFIX + call.recipient), (3, call.raw_value)]
        else:
            assert call.contract is not None, "a token has its contract"
            kind = TRIGGER_SMART_CONTRACT
            inner = [(1, PREFIX + call.sender), (2, PREFIX + call.contract), (4, call_data(call))]
        url = (URL + _NAMES[kind]).encode()
        return _message([(1, kind), (2, _message([(1, url), (2, _message(inner))]))])


def read_unsigned(raw: bytes) -> TronTransaction:
    """Read ``raw_data``. Raises NotATransaction on any field, order or call that is not ours."""
    fields = dict(_fields(raw))
    try:
        transaction = TronTransaction(
            ref_block_bytes=_bytes(fields, 1, 2), ref_block_hash=_bytes(fields, 4, 8),
            expiration_ms=_int(fields, 8), timestamp_ms=_int(fields, 14), fee_limit=_int(fields, 18),
            call=_read_contract(_bytes(fields, 11)),
        )  # fmt: skip
    except NotOurCall as error:
        raise NotATransaction(str(error)) from None
    if transaction.unsigned() != raw:
        raise NotATransaction("the bytes hold more than a transfer, or in another form")
    return transaction


def read_signed(raw: bytes) -> tuple[TronTransaction, bytes]:
    """Return a signed transaction and who signed it (20 bytes). Raises NotATransaction."""
    fields = _fields(raw)
    if [number for number, _ in fields] != [1, 2]:
        raise NotATransaction("raw_data and one signature are due")
    body, signature = (_bytes(dict(fields), number) for number in (1, 2))
    transaction = read_unsigned(body)
    if transaction.signed(signature) != raw:
        raise NotATransaction("the signature has another form than ours")
    try:
        return transaction, recover(hashlib.sha256(body).digest(), signature)
    except BadSignature as error:
        raise NotATransaction(str(error)) from None


def transaction_id(signed: bytes) -> str:
    """Return the txID, with 0x, as ``TokenTransfer.tx_hash`` has it."""
    return "0x" + hashlib.sha256(_bytes(dict(_fields(signed)), 1)).hexdigest()


def _read_contract(raw: bytes) -> ChainCall:
    contract = dict(_fields(raw))
    kind = _int(contract, 1)
    parameter = dict(_fields(_bytes(contract, 2)))
    if kind not in _NAMES or _bytes(parameter, 1) != (URL + _NAMES[kind]).encode():
        raise NotATransaction("the contract is neither a transfer nor a call of a token")
    inner = dict(_fields(_bytes(parameter, 2)))
    owner, other = _address(inner, 1), _address(inner, 2)
    if kind == TRANSFER_CONTRACT:
        return ChainCall(CallKind.COIN, owner, other, _int(inner, 3))
    call = read_call(owner, other, 0, _bytes(inner, 4))
    if call.kind is not CallKind.TOKEN:
        raise NotATransaction("only a token's transfer is called on TRON")
    return call


# --- protobuf: varints (0) and lengths (2) only -------------------------------------------------------------------


def _message(fields: Sequence[Field]) -> bytes:
    """Encode in the order of the fields; proto3 leaves out what is zero or empty."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            if value:
                out += _varint(number << 3) + _varint(value)
        elif value:
            out += _varint(number << 3 | 2) + _varint(len(value)) + value
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(raw: bytes) -> list[Field]:
    found: list[Field] = []
    place = 0
    while place < len(raw):
        tag, place = _read_varint(raw, place)
        value, place = _read_varint(raw, place)
        match tag & 7:
            case 0:
                found.append((tag >> 3, value))
            case 2 if place + value <= len(raw):
                found.append((tag >> 3, raw[place : place + value]))
                place += value
            case _:
                raise NotATransaction("the bytes are no protobuf of ours")
    if len({number for number, _ in found}) != len(found):
        raise NotATransaction("a field stands there twice")
    return found


def _read_varint(raw: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(raw) and shift < 63:
        value |= (raw[place] & 0x7F) << shift
        shift += 7
        place += 1
        if raw[place - 1] < 0x80:
            return value, place
    raise NotATransaction("a number does not end")


def _bytes(fields: dict[int, int | bytes], number: int, length: int | None = None) -> bytes:
    value = fields.get(number, b"")
    if isinstance(value, int) or (length is not None and len(value) != length):
        raise NotATransaction(f"field {number} has another form")
    return value


def _int(fields: dict[int, int | bytes], number: int) -> int:
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise NotATransaction(f"field {number} is no number")
    return value


def _address(fields: dict[int, int | bytes], number: int) -> bytes:
    value = _bytes(fields, number, 21)
    if value[:1] != PREFIX:
        raise NotATransaction("an address is not of TRON's network")
    return value[1:]
