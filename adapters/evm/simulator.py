"""One simulated EVM node per account: see ``adapters.kit.chain.node_simulator``."""

from __future__ import annotations

from aiohttp import web

from adapters.base import SimulatorSettings
from adapters.kit.chain.node_simulator import EVM_NODE, node_application


def simulator(settings: SimulatorSettings) -> web.Application:
    """SIMULATOR of this rail."""
    return node_application(settings, EVM_NODE)
