"""What a token contract says: symbol and decimals (TRON) and balances. Decoded by hand.

Source: https://docs.soliditylang.org/en/latest/abi-spec.html
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from eth_hash.auto import keccak

from adapters.kit.chain.rpc import NodeRefused, NodeRpc, data_bytes

SYMBOL: Final = "0x" + keccak(b"symbol()")[:4].hex()
DECIMALS: Final = "0x" + keccak(b"decimals()")[:4].hex()
BALANCE_OF: Final = "0x" + keccak(b"balanceOf(address)")[:4].hex()
BATCH_MAX: Final = 100
"""java-tron takes no more."""
_WORD: Final = 32


class NotAToken(ValueError):
    """The contract does not answer as an ERC-20 (TRC-20) token."""


async def read_token(node: NodeRpc, contract: bytes, refusals: Collection[int]) -> tuple[str, int]:
    """Return symbol() and decimals(). ``refusals``: the error codes by which this family says "reverted".

    Raises NotAToken; ChainScanFailed where the node gives no answer.
    """
    answers: list[bytes] = []
    for selector in (SYMBOL, DECIMALS):
        try:
            shown = await node.call("eth_call", {"to": "0x" + contract.hex(), "data": selector}, "latest")
            answers.append(bytes.fromhex(str(shown).removeprefix("0x")))
        except NodeRefused as refused:
            if refused.code not in refusals and "revert" not in refused.message.lower():
                raise
            raise NotAToken from None
        except ValueError:
            raise NotAToken from None
    return _text(answers[0]), _small(answers[1])


async def balances(node: NodeRpc, contract: bytes, addresses: Sequence[bytes], block: str = "latest") -> list[int]:
    """Return balanceOf of each address, raw, at a block; 100 by one request. Raises ChainScanFailed.

    java-tron answers calls at the newest block only.
    """
    found: list[int] = []
    for start in range(0, len(addresses), BATCH_MAX):
        calls = [
            [{"to": "0x" + contract.hex(), "data": BALANCE_OF + address.rjust(_WORD, b"\0").hex()}, block]
            for address in addresses[start : start + BATCH_MAX]
        ]
        answers = await node.batch("eth_call", calls)
        found += [int.from_bytes(data_bytes(answer, _WORD, "balanceOf"), "big") for answer in answers]
    return found


def _text(raw: bytes) -> str:
    """Read a string; old tokens (MKR) have bytes32."""
    try:
        if len(raw) == _WORD:
            return raw.rstrip(b"\0").decode()
        if len(raw) >= 2 * _WORD and int.from_bytes(raw[:_WORD]) == _WORD:
            length = int.from_bytes(raw[_WORD : 2 * _WORD])
            if len(raw) >= 2 * _WORD + length:
                return raw[2 * _WORD : 2 * _WORD + length].decode()
    except UnicodeDecodeError:
        raise NotAToken from None
    raise NotAToken


def _small(raw: bytes) -> int:
    if len(raw) != _WORD or any(raw[:-1]):
        raise NotAToken
    return raw[-1]
