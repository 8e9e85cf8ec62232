"""An EVM transaction of type 2, as bytes and as what it says. Pure.

The unsigned bytes are what is signed: ``0x02 || rlp([chain, nonce, tip, fee, gas, to, value, data, access list])``.
Source: https://eips.ethereum.org/EIPS/eip-1559
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from adapters.kit.chain import rlp
from adapters.kit.chain.calls import NotOurCall, call_data, read_call
from adapters.kit.chain.rlp import NotRlp
from adapters.kit.chain.signatures import BadSignature, recover
from adapters.sending import ChainCall

TYPE: Final = b"\x02"


class NotATransaction(ValueError):
    """Not the bytes of a transaction of ours: the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class EvmTransaction:
    chain_id: int
    nonce: int
    tip: int
    """``maxPriorityFeePerGas``, wei."""
    fee: int
    """``maxFeePerGas``, wei."""
    gas: int
    to: bytes
    value: int
    data: bytes

    @property
    def fee_max(self) -> int:
        """The most that it can cost, wei, beside what it transfers."""
        return self.gas * self.fee

    @classmethod
    def of(cls, call: ChainCall, *, chain_id: int, nonce: int, tip: int, fee: int, gas: int) -> EvmTransaction:
        to = call.recipient if call.contract is None else call.contract
        value = call.raw_value if call.contract is None else 0
        return cls(chain_id, nonce, tip, fee, gas, to, value, call_data(call))

    def call(self, sender: bytes) -> ChainCall:
        """Return what it does. Raises NotATransaction."""
        try:
            return read_call(sender, self.to, self.value, self.data)
        except NotOurCall as error:
            raise NotATransaction(str(error)) from None

    def unsigned(self) -> bytes:
        return TYPE + rlp.encode(self._fields())

    def signed(self, signature: bytes) -> bytes:
        """Return the bytes that a node takes. ``signature``: r, s and the recovery bit, 65 bytes."""
        numbers = (signature[64], int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"))
        return TYPE + rlp.encode([*self._fields(), *map(rlp.number, numbers)])

    def _fields(self) -> list[rlp.Item]:
        numbers = (self.chain_id, self.nonce, self.tip, self.fee, self.gas)
        return [*map(rlp.number, numbers), self.to, rlp.number(self.value), self.data, []]


def read_unsigned(raw: bytes) -> EvmTransaction:
    """Raises NotATransaction."""
    return _read(_parts(raw, 9))


def read_signed(raw: bytes) -> tuple[EvmTransaction, bytes]:
    """Return a signed transaction and who signed it (20 bytes). Raises NotATransaction."""
    parts = _parts(raw, 12)
    transaction = _read(parts[:9])
    try:
        bit, r, s = (rlp.as_number(part) for part in parts[9:])
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + rlp.number(bit).rjust(1, b"\0")
        signer = recover(keccak(transaction.unsigned()), signature)
    except (NotRlp, BadSignature) as error:
        raise NotATransaction(str(error)) from None
    return transaction, signer


def transaction_id(signed: bytes) -> str:
    """Return the hash by which every node knows it."""
    return "0x" + keccak(signed).hex()


def _parts(raw: bytes, count: int) -> list[rlp.Item]:
    if raw[:1] != TYPE:
        raise NotATransaction("only transactions of type 2 are read")
    try:
        parts = rlp.decode(raw[1:])
    except NotRlp as error:
        raise NotATransaction(str(error)) from None
    if not isinstance(parts, list) or len(parts) != count:
        raise NotATransaction(f"a list of {count} fields is due")
    return parts


def _read(parts: list[rlp.Item]) -> EvmTransaction:
    try:
        chain_id, nonce, tip, fee, gas = (rlp.as_number(part) for part in parts[:5])
        to, value, data = rlp.as_bytes(parts[5]), rlp.as_number(parts[6]), rlp.as_bytes(parts[7])
    except NotRlp as error:
        raise NotATransaction(str(error)) from None
    if len(to) != 20 or parts[8] != []:
        raise NotATransaction("a recipient of 20 bytes is due, and no access list")
    return EvmTransaction(chain_id, nonce, tip, fee, gas, to, value, data)
