"""What a deposit on a chain costs us now: moving it to the treasury, and the fuel for that. Live estimates of the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import structlog

from adapters.base import ChainToken, RailAdapter, RailError, ScansChain
from adapters.sending import CallKind, ChainCall
from orchestrator.routing.catalogue import OptionKey
from orchestrator.sweeps.networks import SendingNetwork

ONE_UNIT: Final = 1
_log = structlog.get_logger("chain_costs")


async def transfer_costs(
    networks: Iterable[SendingNetwork], rails: Mapping[tuple[str, str], RailAdapter]
) -> dict[OptionKey, int]:
    """Return nano-dollars per deposit by rail, account and method, for every token whose transfer a node can estimate.

    Estimated with the treasury paying itself: it holds what was swept before. What cannot be estimated now is left out: the
    fee table of the configuration stands for it.
    """
    accounts = {
        (adapter.chain, adapter.account.mode.value): place
        for place, adapter in rails.items()
        if isinstance(adapter, ScansChain)
    }
    found: dict[OptionKey, int] = {}
    for network in networks:
        place = accounts.get((network.chain, network.mode))
        if place is None or network.treasury is None:
            continue
        for token in network.tokens.values():
            try:
                found[(*place, token.method)] = await _cost(network, token, network.treasury)
            except RailError as error:
                _log.info("transfer_not_estimated", network=network.name, method=token.method, error=str(error)[:200])
    return found


async def _cost(network: SendingNetwork, token: ChainToken, treasury: bytes) -> int:
    move = ChainCall(CallKind.TOKEN, treasury, treasury, ONE_UNIT, token.contract)
    moved = await network.sender.quote(move)
    fuel = ChainCall(CallKind.COIN, network.operating, treasury, max(ONE_UNIT, moved.maximum))
    fueled = await network.sender.quote(fuel)
    return network.coin_value(moved.expected).units + network.coin_value(fueled.expected).units
