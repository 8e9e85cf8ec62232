"""Code behind a token's address on a real EVM node (anvil): shown, pinned, replaced. Proxies of three kinds."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak

from adapters.base import RailMisconfigured, ShowsTokenCode, TokenCode, TokenCodeChanged
from adapters.evm.adapter import EvmRail
from adapters.kit.chain.token_code import IMPLEMENTATION_SLOTS
from orchestrator.cli.doctor import code_findings
from tests.adapters.chains.test_chain_real_node import RealChain, call_data, real_chain

pytestmark = pytest.mark.anvil
PROXIES = json.loads((Path(__file__).parent / "contracts" / "Proxies.json").read_text())["contracts"]
PUBLISHED_SLOTS = (
    0x360894A13BA1A3210667C828492DB98DCA3E2076CC3735A920A3CA505D382BBC,  # EIP-1967
    0x7050C9E0F4CA769C69BD3A8EF740BC37934F8E2C036E5A723FD8EE048ED3F8C3,  # ZeppelinOS
    0xBAAB7DBF64751104133AF04ABC7D9979F0FDA3B059A322A8333F533D3F32BF7F,  # Polygon
)
NAMES = ("eip1967", "zeppelin", "polygon")
WRONG = "keccak256:" + "12" * 32


async def deploy_proxy(real: RealChain, slot: int, implementation: str) -> str:
    arguments = encode(["bytes32", "address"], [slot.to_bytes(32, "big"), implementation])
    made = await real.send(None, PROXIES["Proxy"]["bytecode"] + arguments.hex())
    return str(made["contractAddress"])


async def deploy_replaced(real: RealChain) -> str:
    return str((await real.send(None, PROXIES["Replaced"]["bytecode"]))["contractAddress"])


async def hash_of(real: RealChain, contract: str) -> str:
    code = await real.node.call("eth_getCode", contract, "latest")
    return "keccak256:" + keccak(hexstr=code).hex()


def rail(real: RealChain, **pins: Any) -> EvmRail:
    return real.rail(tokens={"USDT": {"contract": real.token, "decimals": 6, "method": "usdt_evm", **pins}})


async def shown(made: EvmRail) -> TokenCode:
    assert isinstance(made, ShowsTokenCode)
    (code,) = await made.token_codes()
    return code


@pytest.fixture
async def real(anvil_url: str) -> AsyncIterator[RealChain]:
    async with real_chain(anvil_url) as made:
        yield made


@pytest.fixture(params=PUBLISHED_SLOTS, ids=NAMES)
async def proxied(real: RealChain, request: pytest.FixtureRequest) -> RealChain:
    """The token is a proxy of the first one."""
    real.token = await deploy_proxy(real, request.param, real.token)
    await real.send(real.token, call_data("mint(uint256)", 10**12))
    return real


def test_the_places_of_implementations_are_the_published_ones() -> None:
    assert IMPLEMENTATION_SLOTS == PUBLISHED_SLOTS


async def test_pinned_code_that_is_there_passes_and_other_code_is_refused_with_what_to_do(real: RealChain) -> None:
    there = await hash_of(real, real.token)
    await rail(real, code_hash=there).check()
    with pytest.raises(TokenCodeChanged) as refused:
        await rail(real, code_hash=WRONG).check()
    text = str(refused.value)
    assert "tokens.USDT.code_hash" in text
    contract = (await shown(rail(real))).contract
    assert contract.lower() == real.token
    for part in ("eip155:31337", f"USDT at {contract}", f"expected {WRONG}", f"has {there}", "crossrail doctor"):
        assert part in text


async def test_the_implementation_behind_a_proxy_is_found_and_can_be_pinned(proxied: RealChain) -> None:
    code = await shown(rail(proxied))
    assert code.implementation is not None
    assert code.code_hash == await hash_of(proxied, proxied.token)
    assert code.implementation_hash == await hash_of(proxied, code.implementation) != code.code_hash
    pinned = rail(proxied, code_hash=code.code_hash, implementation_hash=code.implementation_hash)
    await pinned.check()
    ours = pinned.derive_address(0)
    await proxied.transfer(ours, 7)
    scanned = await pinned.scan_block((await pinned.head()).latest, {ours}.__contains__)
    assert scanned is not None
    assert [one.raw_value for one in scanned.transfers] == [7]


@pytest.mark.parametrize("method", ["upgradeTo(address)", "upgradeSilently(address)"])
async def test_a_replaced_implementation_is_refused_though_the_proxys_own_code_is_the_same(
    proxied: RealChain, method: str
) -> None:
    before = await shown(rail(proxied))
    assert before.implementation_hash is not None
    replaced = await deploy_replaced(proxied)
    await proxied.send(proxied.token, call_data(method, replaced))
    await rail(proxied, code_hash=before.code_hash).check()
    with pytest.raises(TokenCodeChanged) as refused:
        await rail(proxied, code_hash=before.code_hash, implementation_hash=before.implementation_hash).check()
    text = str(refused.value)
    for part in ("tokens.USDT.implementation_hash", before.implementation_hash, await hash_of(proxied, replaced)):
        assert part in text


async def test_the_event_of_an_upgrade_is_an_alarm_with_the_new_address(proxied: RealChain) -> None:
    replaced = await deploy_replaced(proxied)
    await proxied.send(proxied.token, call_data("upgradeTo(address)", replaced))
    (alarm,) = (await proxied.scan(b"\x77" * 20)).alarms
    assert (alarm.kind, alarm.replaces_code, alarm.address) == ("upgraded", True, bytes.fromhex(replaced[2:]))


async def test_the_upgrade_of_a_contract_that_is_not_watched_is_nothing_to_us(real: RealChain) -> None:
    other = await deploy_proxy(real, PUBLISHED_SLOTS[0], real.token)
    await real.send(other, call_data("upgradeTo(address)", await deploy_replaced(real)))
    assert (await real.scan(b"\x77" * 20)).alarms == ()


async def test_an_implementation_pinned_for_what_is_no_proxy_is_refused(real: RealChain) -> None:
    with pytest.raises(TokenCodeChanged, match="a contract that is no proxy we know"):
        await rail(real, implementation_hash=WRONG).check()


async def test_an_implementation_without_code_is_refused(proxied: RealChain) -> None:
    before = await shown(rail(proxied))
    await proxied.send(proxied.token, call_data("upgradeTo(address)", "0x" + "ee" * 20))
    with pytest.raises(TokenCodeChanged, match="no code there"):
        await rail(proxied, implementation_hash=before.implementation_hash).check()


@pytest.mark.parametrize("field", ["code_hash", "implementation_hash"])
async def test_a_bare_hash_is_refused_for_it_looks_like_a_key(real: RealChain, field: str) -> None:
    with pytest.raises(RailMisconfigured, match=field):
        rail(real, **{field: "0x" + "12" * 32})


async def test_the_doctor_shows_each_hash_and_whether_it_is_pinned(real: RealChain) -> None:
    implementation = real.token
    real.token = await deploy_proxy(real, PUBLISHED_SLOTS[1], implementation)
    own, behind = await hash_of(real, real.token), await hash_of(real, implementation)
    (loose,) = await code_findings("rail evm/main", rail(real))
    assert (loose.what, loose.state) == ("rail evm/main USDT", "note")
    for part in (f"code_hash: {own} (not pinned)", f"implementation_hash: {behind} (not pinned)", "a proxy of 0x"):
        assert part in loose.text
    (pinned,) = await code_findings("rail evm/main", rail(real, code_hash=own, implementation_hash=behind))
    assert pinned.state == "ok"
    assert f"code_hash: {own} (pinned)" in pinned.text
    assert f"implementation_hash: {behind} (pinned)" in pinned.text
    (wrong,) = await code_findings("rail evm/main", rail(real, code_hash=own, implementation_hash=WRONG))
    assert wrong.state == "mend"
    assert f"implementation_hash: {behind} (pinned as {WRONG})" in wrong.text


async def test_the_doctor_says_so_where_no_code_can_be_read(real: RealChain) -> None:
    (silent,) = await code_findings("rail evm/main", real.rail(rpc_urls=("http://127.0.0.1:9",), timeout_seconds=1))
    assert (silent.what, silent.state) == ("rail evm/main tokens", "note")


async def test_a_token_that_is_no_proxy_has_one_hash(real: RealChain) -> None:
    (finding,) = await code_findings("rail evm/main", rail(real, code_hash=await hash_of(real, real.token)))
    assert finding.state == "ok"
    assert "implementation_hash" not in finding.text
