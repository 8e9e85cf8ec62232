"""What the doctor says of one rail account, with real adapters and simulators on sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from adapters.operations import AccountCheck, ChecksAccount
from orchestrator.cli.doctor import CLOCK_SKEW_S_MAX, Finding, account_finding
from tests.adapters import rail_adyen, rail_stripe
from tests.adapters.contract import RailSetup, started_rail
from tests.adapters.loopback import closed_port

SETUPS = {setup.rail: setup for setup in (rail_stripe.RAIL, rail_adyen.RAIL)}


async def _finding(setup: RailSetup, options: Any = None, base_url: str | None = None) -> Finding:
    async with started_rail(setup) as rail:
        adapter = rail.adapter_with(options, base_url)
        assert isinstance(adapter, ChecksAccount)
        return await account_finding("rail", adapter)


@pytest.mark.parametrize("name", list(SETUPS))
async def test_an_account_that_answers_is_well(name: str) -> None:
    finding = await _finding(SETUPS[name])
    assert finding.state == "ok"
    assert finding.text.endswith("webhook secret set")


@pytest.mark.parametrize("name", list(SETUPS))
async def test_a_key_that_the_vendor_refuses_is_to_be_mended_and_is_not_printed(name: str) -> None:
    finding = await _finding(SETUPS[name], SETUPS[name].wrong_key)
    assert (finding.state, finding.text.partition(":")[0]) == ("mend", "RailMisconfigured")
    assert not any(secret in finding.text for secret in SETUPS[name].secrets)


@pytest.mark.parametrize("name", list(SETUPS))
async def test_a_vendor_that_cannot_be_reached_is_to_be_mended(name: str) -> None:
    finding = await _finding(SETUPS[name], base_url=closed_port())
    assert (finding.state, finding.text.partition(":")[0]) == ("mend", "RailUnavailable")


@dataclass(frozen=True)
class Skewed:
    """An account whose vendor's clock is known."""

    ahead: float | None

    async def check_account(self) -> AccountCheck:
        return AccountCheck("balance readable", self.ahead)


@pytest.mark.parametrize(
    ("ahead", "state"),
    [(0.0, "ok"), (CLOCK_SKEW_S_MAX + 1, "mend"), (-CLOCK_SKEW_S_MAX - 1, "mend"), (CLOCK_SKEW_S_MAX - 1, "ok"), (None, "ok")],
)  # fmt: skip
async def test_clocks_that_are_apart_are_told_before_webhooks_are_refused(ahead: float | None, state: str) -> None:
    finding = await account_finding("rail", Skewed(ahead))
    assert finding.state == state
    assert "clock" in finding.text
