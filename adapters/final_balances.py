"""What lies on addresses at a block that the chain itself calls final, as an optional ability of a chain. See ``base.ScansChain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from adapters.base import ChainToken


@dataclass(frozen=True, slots=True)
class FinalBalances:
    """``units[i]``, raw, lay on the i-th address at final block ``block``: one block for all of them."""

    units: Sequence[int]
    block: int


@runtime_checkable
class ReadsFinalBalances(Protocol):
    @property
    def final_word(self) -> str:
        """The chain's own: ``finalized``, ``solidified``."""
        ...

    async def final_balances(self, token: ChainToken, addresses: Sequence[bytes]) -> FinalBalances:
        """Raises ChainScanFailed, also where no node answers for such a block (any more) or the chain names none."""
        ...
