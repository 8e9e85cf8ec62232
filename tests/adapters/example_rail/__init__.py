"""Tally: a rail that exists in the tests only, to show how little a third one takes. Copy it to ``adapters/tally``."""

from __future__ import annotations

from tests.adapters.example_rail.adapter import TallyAdapter as ADAPTER  # noqa: N814 - the port's name
from tests.adapters.example_rail.simulator import build as SIMULATOR  # noqa: N812 - the port's name

__all__ = ["ADAPTER", "SIMULATOR"]
