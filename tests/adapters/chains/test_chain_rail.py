"""What a chain rail offers, shows and refuses, and what it asserts of its node before it is used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from adapters.base import (
    CancelOutcome,
    DepositAddress,
    Flow,
    Mode,
    PaymentOrder,
    PaymentReference,
    RailMisconfigured,
    RailUnavailable,
)
from rates.money import Asset, Money
from tests.adapters.chains.bench import (
    PUBLISHED_WORDS,
    RAILS,
    USDC,
    USDT,
    Bench,
    CannedNode,
    account,
    account_xpub,
    canned,
    chain,
)
from tests.adapters.loopback import closed_port

BIP32 = pytest.importorskip("bip32", reason="needs the package bip32, which Python 3.13 cannot build").BIP32

FIRST = {"evm": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94", "tron": "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"}
FAMILIES = ["evm", "tron"]
A_MOMENT = datetime(2026, 11, 23, tzinfo=UTC)


def order(family: str, **changes: Any) -> PaymentOrder:
    values: dict[str, Any] = {
        "attempt_id": "att_1",
        "method": f"usdt_{family}",
        "amount": Money(20_500_000, Asset("USDT", 6)),
        "country": "VN",
        "description": "Top-up",
        "return_url": "https://shop.example/back",
        "expires_at": A_MOMENT,
        "deposit_address": FIRST[family],
    }
    return PaymentOrder(**{**values, **changes})


@pytest.fixture(params=FAMILIES)
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


# --- paying -------------------------------------------------------------------------------------------------------


async def test_the_buyer_is_shown_the_customers_own_address_without_any_call(bench: Bench) -> None:
    started = await bench.rail.create_payment(order(bench.family))
    action = started.action
    assert isinstance(action, DepositAddress)
    assert started.rail_reference == action.address == action.qr_text == FIRST[bench.family]
    assert (action.token, action.token_contract) == ("USDT", USDT[bench.family])
    assert (action.chain, action.network) == (bench.rail.chain, bench.rail._config.options.network)
    assert bench.requests == []


async def test_the_link_for_an_evm_wallet_is_eip_681() -> None:
    async with chain("evm") as bench:
        action = (await bench.rail.create_payment(order("evm"))).action
    assert isinstance(action, DepositAddress)
    assert action.wallet_uri == (f"ethereum:{USDT['evm']}@1/transfer?address={FIRST['evm']}&uint256=20500000")


async def test_the_link_counts_in_the_chains_own_decimals() -> None:
    tokens = {"USDT": {"contract": USDC["evm"], "decimals": 18, "method": "usdt_evm"}}
    async with chain("evm", chain_id=56, tokens=tokens) as bench:
        action = (await bench.rail.create_payment(order("evm"))).action
    assert isinstance(action, DepositAddress)
    assert action.wallet_uri.endswith("&uint256=20500000000000000000")
    assert "@56/" in action.wallet_uri


async def test_the_link_for_a_tron_wallet_is_the_address() -> None:
    async with chain("tron") as bench:
        action = (await bench.rail.create_payment(order("tron"))).action
    assert isinstance(action, DepositAddress)
    assert action.wallet_uri == f"tron:{FIRST['tron']}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"deposit_address": None},
        {"deposit_address": "nowhere"},
        {"method": "usdt_elsewhere"},
        {"amount": Money(0, Asset("USDT", 6))},
        {"amount": Money(-1, Asset("USDT", 6))},
        {"amount": Money(1, Asset("USDC", 6))},
        {"amount": Money(1, Asset("USDT", 18))},
    ],
)
async def test_an_order_that_does_not_fit_is_refused(bench: Bench, wrong: dict[str, Any]) -> None:
    with pytest.raises(RailMisconfigured):
        await bench.rail.create_payment(order(bench.family, **wrong))


async def test_an_address_of_the_other_family_is_refused(bench: Bench) -> None:
    other = FIRST["tron" if bench.family == "evm" else "evm"]
    with pytest.raises(RailMisconfigured, match="deposit_address"):
        await bench.rail.create_payment(order(bench.family, deposit_address=other))


async def test_only_the_scanner_speaks_of_money(bench: Bench) -> None:
    await bench.pay(bench.ours())
    amount = Money(20_000_000, Asset("USDT", 6))
    reference = PaymentReference("att_1", FIRST[bench.family], f"usdt_{bench.family}", amount, A_MOMENT)
    assert await bench.rail.fetch_status(reference) == ()
    assert await bench.rail.cancel_payment(reference) is CancelOutcome.CANNOT


async def test_each_token_is_a_method_with_a_minimum_and_an_honest_time(bench: Bench) -> None:
    usdt, usdc = bench.rail.capabilities
    assert (usdt.method, usdc.method) == (f"usdt_{bench.family}", f"usdc_{bench.family}")
    assert (usdt.flow, usdt.countries, usdt.currencies) == (Flow.DEPOSIT_ADDRESS, None, ("USDT",))
    assert usdt.amount_min == {"USDT": Money(1_000_000, Asset("USDT", 6))}
    assert usdt.expected_seconds >= bench.rail.confirmations * bench.rail.block_seconds
    assert bench.rail.supports_currency("USDC")
    assert not bench.rail.supports_currency("USD")
    assert bench.rail.resend_window_seconds > 10 * 365 * 86400


async def test_addresses_come_from_the_xpub_in_the_familys_form(bench: Bench) -> None:
    assert bench.rail.show_address(bench.rail.derive_address(0)) == FIRST[bench.family]
    assert bench.rail.family == bench.family


async def test_chains_have_their_caip_2_names() -> None:
    async with aiohttp.ClientSession() as http:
        assert RAILS["evm"](account("evm", chain_id=56), http).chain == "eip155:56"
        assert RAILS["tron"](account("tron"), http).chain == "tron:0x2b6653dc"
        assert RAILS["tron"](account("tron", chain="tron:728126428"), http).chain == "tron:728126428"


# --- options ------------------------------------------------------------------------------------------------------

ROOT = BIP32.from_seed(bytes(range(32)))
WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "an xprv as xpub": ({"xpub": ROOT.get_xpriv_from_path("m/44'/60'/0'")}, "xpub"),
    "an xprv elsewhere": ({"network": ROOT.get_xpriv()}, "network"),
    "a raw private key": ({"network": "0x" + "4f" * 32}, "network"),
    "a mnemonic": ({"network": PUBLISHED_WORDS}, "network"),
    "a mnemonic in a list": ({"rpc_urls": [PUBLISHED_WORDS]}, "rpc_urls.0"),
    "a field named private_key": ({"private_key": ""}, "private_key"),
    "a field nobody knows": ({"colour": "red"}, "colour"),
    "no xpub": ({"xpub": ""}, "xpub"),
    "a wallet's xpub": ({"xpub": ROOT.get_xpub()}, "xpub"),
    "a chain id as text": ({"chain_id": "1"}, "chain_id"),
    "another chain's name": ({"chain": "eip155:5"}, "chain"),
    "no confirmation": ({"confirmations": 0}, "confirmations"),
    "no block time": ({"block_seconds": 0}, "block_seconds"),
    "no token": ({"tokens": {}}, "tokens"),
    "a node that is no address": ({"rpc_urls": ["ws://node"]}, "rpc_urls.0"),
    "a minimum of nothing": ({"minimum": "much"}, "minimum"),
    "a minimum that is too fine": ({"minimum": "0.0000001"}, "minimum"),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("changes", "field"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS.keys())
async def test_a_wrong_option_is_refused_by_name_and_never_shown(
    family: str, changes: dict[str, Any], field: str
) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(RailMisconfigured, match=field) as refused:
            RAILS[family](account(family, **changes), http)
    value = next(iter(changes.values()))
    text = value[0] if isinstance(value, list) else value
    assert not (isinstance(text, str) and len(text) > 20) or text not in str(refused.value)


@pytest.mark.parametrize(
    ("token", "field"),
    [
        ({"contract": "nowhere"}, r"tokens\.USDT\.contract"),
        ({"decimals": "6"}, r"tokens\.USDT\.decimals"),
        ({"decimals": -1}, r"tokens\.USDT\.decimals"),
        ({"method": "USDT"}, r"tokens\.USDT\.method"),
        ({"extra": 1}, r"tokens\.USDT\.extra"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_wrong_token_is_refused_by_name(family: str, token: dict[str, Any], field: str) -> None:
    tokens = {"USDT": {"contract": USDT[family], "decimals": 6, "method": "usdt_x", **token}}
    async with aiohttp.ClientSession() as http:
        with pytest.raises(RailMisconfigured, match=field):
            RAILS[family](account(family, tokens=tokens), http)


async def test_two_tokens_may_share_neither_contract_nor_method() -> None:
    usdt = {"contract": USDT["evm"], "decimals": 6, "method": "usdt_x"}
    async with aiohttp.ClientSession() as http:
        for twin in ({"method": "usdc_x"}, {"contract": USDC["evm"]}):
            with pytest.raises(RailMisconfigured, match="same"):
                RAILS["evm"](account("evm", tokens={"USDT": usdt, "USDC": {**usdt, **twin}}), http)


async def test_a_token_that_our_books_do_not_know_is_refused() -> None:
    tokens = {"DOGE9": {"contract": USDT["evm"], "decimals": 6, "method": "doge_x"}}
    async with aiohttp.ClientSession() as http:
        with pytest.raises(RailMisconfigured, match=r"tokens\.DOGE9"):
            RAILS["evm"](account("evm", tokens=tokens), http)


@pytest.mark.parametrize("family", FAMILIES)
async def test_live_refuses_a_wallet_whose_keys_are_published(family: str) -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(RailMisconfigured, match="published"):
            RAILS[family](account(family, mode=Mode.LIVE), http)
        own = ROOT.get_xpub_from_path("m/44'/60'/0'")
        assert RAILS[family](account(family, mode=Mode.LIVE, xpub=own), http).derive_address(0)


async def test_a_rail_without_a_node_is_refused() -> None:
    async with aiohttp.ClientSession() as http:
        with pytest.raises(RailMisconfigured, match="rpc_urls"):
            RAILS["evm"](account("evm", base_url=None), http)


# --- check --------------------------------------------------------------------------------------------------------


async def test_a_node_that_fits_passes_the_check(bench: Bench) -> None:
    await bench.rail.check()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"chain_id": 5}, "chain_id"),
        ({"tokens": {"USDT": {"decimals": 18}}}, r"tokens\.USDT\.decimals"),
        ({"tokens": {"USDT": {"symbol": "USD₮0"}}}, r"tokens\.USDT\.symbol"),
        ({"tokens": {"USDC": {"contract": "USDT"}}}, r"tokens\.USDC\.symbol"),
        ({"tokens": {"USDT": {"contract": "nobody"}}}, r"tokens\.USDT\.contract"),
    ],
)
async def test_a_node_that_differs_from_the_options_is_refused(
    bench: Bench, changes: dict[str, Any], field: str
) -> None:
    contracts = {"USDT": USDT[bench.family], "nobody": bench.rail.show_address(b"\x05" * 20)}
    changed = dict(changes)
    if "tokens" in changes:
        changed["tokens"] = {}
        for code, token in changes["tokens"].items():
            made = {"contract": contracts["USDT"], "decimals": 6, "method": "usdt_x", **token}
            made["contract"] = contracts.get(made["contract"], made["contract"])
            changed["tokens"][code] = made
    rail = RAILS[bench.family](account(bench.family, bench.base_url, **changed), bench.http)
    with pytest.raises(RailMisconfigured, match=field):
        await rail.check()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("answer", ["0x", "0x01", "0x" + "ff" * 64, "no hex"])
async def test_a_contract_that_answers_not_as_a_token_is_refused(family: str, answer: str) -> None:
    node = CannedNode({"eth_chainId": "0x1", "eth_getCode": "0x60", "eth_call": answer})
    async with canned(node, family, chain_id=1) as rail:
        with pytest.raises(RailMisconfigured, match="answers not as"):
            await rail.check()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_contract_that_reverts_is_refused(family: str) -> None:
    node = CannedNode({"eth_chainId": "0x1", "eth_getCode": "0x60"})
    async with canned(node, family, chain_id=1) as rail:
        node.refusals["eth_call"] = {"code": 3, "message": "execution reverted"}
        with pytest.raises(RailMisconfigured, match="answers not as"):
            await rail.check()


@pytest.mark.parametrize("family", FAMILIES)
async def test_a_busy_node_is_no_verdict_on_the_token(family: str) -> None:
    node = CannedNode({"eth_chainId": "0x1", "eth_getCode": "0x60"})
    async with canned(node, family, chain_id=1) as rail:
        node.refusals["eth_call"] = {"code": -32005, "message": "limit exceeded"}
        with pytest.raises(RailUnavailable, match="limit exceeded"):
            await rail.check()


async def test_a_check_without_any_node_can_be_repeated(bench: Bench) -> None:
    rail = RAILS[bench.family](account(bench.family, closed_port()), bench.http)
    with pytest.raises(RailUnavailable):
        await rail.check()


async def test_the_published_xpubs_are_the_ones_that_the_tests_use() -> None:
    assert account_xpub("evm") != account_xpub("tron")
