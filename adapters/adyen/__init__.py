"""Adyen: local methods on Adyen's own hosted page. README.md says what is sent and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.base import RailAccount, RailAdapter, SimulatorSettings

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import web

__all__ = ["ADAPTER", "SIMULATOR"]


def ADAPTER(account: RailAccount, http: aiohttp.ClientSession) -> RailAdapter:  # noqa: N802 - the port's name
    """Import the SDK only for those who use it."""
    from adapters.adyen.adapter import AdyenAdapter

    return AdyenAdapter(account, http)


def SIMULATOR(settings: SimulatorSettings) -> web.Application:  # noqa: N802 - the port's name
    from adapters.adyen.simulator import build_simulator

    return build_simulator(settings)
