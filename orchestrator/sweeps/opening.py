"""From rails and configuration to the chains that we send on. No key is in any of it, and none is let in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from adapters.base import RailAdapter, ScansChain
from adapters.sending import CanSend
from orchestrator.settings import SweepNetwork, Sweeps
from orchestrator.sweeps.networks import SendingNetwork


class BadNetwork(ValueError):
    """A block of ``sweeps.networks`` does not fit: the text says why."""

    def __init__(self, chain: str, field: str | None, text: str) -> None:
        super().__init__(text)
        self.trail: tuple[str, ...] = ("sweeps", "networks", chain, *((field,) if field else ()))


def sending_networks(rails: Mapping[tuple[str, str], RailAdapter], block: Sweeps) -> dict[str, SendingNetwork]:
    """Return them by the books' name. Raises BadNetwork."""
    found: dict[str, SendingNetwork] = {}
    for chain, wanted in block.networks.items():
        networks = list(_of_chain(rails, chain, wanted))
        if not networks:
            raise BadNetwork(chain, None, f"no rail account scans {chain}")
        found |= {network.name: network for network in networks}
    return found


def _of_chain(
    rails: Mapping[tuple[str, str], RailAdapter], chain: str, wanted: SweepNetwork
) -> Iterator[SendingNetwork]:
    for adapter in rails.values():
        if not (isinstance(adapter, ScansChain) and isinstance(adapter, CanSend)) or adapter.chain != chain:
            continue
        try:
            treasury = None if wanted.treasury is None else adapter.read_address(wanted.treasury)
        except ValueError as error:
            raise BadNetwork(chain, "treasury", str(error)) from None
        mode = adapter.account.mode.value
        yield SendingNetwork(
            name=f"{mode}:{chain}", chain=chain, mode=mode, family=adapter.family, sender=adapter.sender,
            tokens={token.contract: token for token in adapter.tokens}, show_address=adapter.show_address, read_address=adapter.read_address,
            derive_address=adapter.derive_address, operating=adapter.operating_address, treasury=treasury,
            coin_code=wanted.coin, coin_usd=wanted.coin_usd,
        )  # fmt: skip
