from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from adapters.adyen.client import AsyncAdyenClient
from adapters.adyen.options import read_options
from adapters.base import Mode, RailAccount, RailMisconfigured

OPTIONS = {"api_key": "AQE_sandbox_key", "merchant_account": "CrossrailTest", "hmac_keys": ["A1" * 32, "B2" * 32]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"api_key": ""}, "api_key"),
        ({"api_key": "AQE_secret\n"}, "api_key"),
        ({"merchant_account": ""}, "merchant_account"),
        ({"hmac_keys": []}, "hmac_keys"),
        ({"hmac_keys": [""]}, "hmac_keys"),
        ({"hmac_keys": ["A1" * 32, "   "]}, "hmac_keys"),
        ({"hmac_keys": ["not hex secret"]}, "hmac_keys"),
        ({"methods": ["card"]}, "methods"),
        ({"methods": []}, "methods"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_options_that_cannot_work_are_named_and_no_secret_is_shown(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(RailMisconfigured, match=field) as caught:
        read_options(RailAccount("adyen", "main", Mode.TEST, {**OPTIONS, **changes}))
    assert "secret" not in str(caught.value)


def test_live_needs_its_prefix_and_no_sandbox_address() -> None:
    with pytest.raises(RailMisconfigured, match="live_endpoint_prefix"):
        read_options(RailAccount("adyen", "main", Mode.LIVE, OPTIONS))
    with pytest.raises(RailMisconfigured, match="base_url"):
        read_options(RailAccount("adyen", "main", Mode.LIVE, OPTIONS, "http://127.0.0.1:1"))


async def test_live_calls_go_to_the_companys_own_endpoint() -> None:
    async with aiohttp.ClientSession() as http:
        live = AsyncAdyenClient(http, api_key="k", live=True, base_url=None, live_endpoint_prefix="1797a841-Crossrail")
        test = AsyncAdyenClient(http, api_key="k", live=False, base_url=None, live_endpoint_prefix=None)
    asked = "https://checkout-test.adyen.com/v72/paymentLinks"
    assert (
        live._determine_api_url("live", asked)
        == "https://1797a841-Crossrail-checkout-live.adyenpayments.com/checkout/v72/paymentLinks"
    )
    assert test._determine_api_url("test", asked) == asked
