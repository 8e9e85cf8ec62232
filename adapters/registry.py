"""Finds a rail's folder by its name. There is no central list: a new rail is a new folder."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Final

from adapters.base import AdapterFactory, SimulatorFactory

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,30}")
NOT_RAILS: Final = frozenset({"kit"})


class UnknownRail(LookupError):
    """config.yaml names a rail that has no folder here, or whose folder is no rail: the text names what there is."""


def names() -> tuple[str, ...]:
    """Return the names of the folders beside this file that look like rails."""
    folders = (entry.parent.name for entry in Path(__file__).parent.glob("*/__init__.py"))
    return tuple(sorted(name for name in folders if name not in NOT_RAILS))


def load(rail: str) -> tuple[AdapterFactory, SimulatorFactory]:
    """Return ADAPTER and SIMULATOR of one rail's folder. Raises UnknownRail."""
    if not NAME.fullmatch(rail) or rail not in names():
        raise UnknownRail(f"there is no rail {rail!r}; there are: {', '.join(names()) or 'none'}")
    module = importlib.import_module(f"adapters.{rail}")
    try:
        adapter: AdapterFactory = module.ADAPTER
        simulator: SimulatorFactory = module.SIMULATOR
    except AttributeError as missing:
        raise UnknownRail(f"adapters/{rail}/__init__.py exports no {missing.name}") from None
    return adapter, simulator
