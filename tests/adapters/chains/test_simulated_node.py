"""The simulated node by itself: the buyer's page, control, and the methods that our scanner does not need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters import evm, tron
from adapters.base import Mode, RailAccount, SimulatorFactory, SimulatorSettings
from tests.adapters.chains.bench import USDT, Bench, chain, options
from tests.adapters.loopback import address, listen, serving

FACTORIES: dict[str, SimulatorFactory] = {"evm": evm.SIMULATOR, "tron": tron.SIMULATOR}


@pytest.fixture(params=["evm", "tron"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


async def rpc(bench: Bench, method: str, *params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 9, "method": method, "params": params}
    async with bench.http.post(f"{bench.base_url}/jsonrpc", json=call) as answer:
        assert answer.status == 200
        body = await answer.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", 9)
    return body.get("result", body.get("error"))


@pytest.mark.parametrize("family", ["evm", "tron"])
async def test_the_factory_of_each_rail_serves_a_chain_that_grows_by_the_clock(family: str) -> None:
    bound = listen()
    adapter = {"evm": evm.ADAPTER, "tron": tron.ADAPTER}[family]
    settings = SimulatorSettings(options(family, block_seconds=0.05), address(bound), None)
    async with serving(FACTORIES[family](settings), bound), aiohttp.ClientSession() as http:
        rail = adapter(RailAccount(family, "x", Mode.TEST, settings.options, address(bound)), http)
        await rail.check()
        started = (await rail.head()).latest
        async with http.post(f"{address(bound)}/_control", json={"automine": False}) as answer:
            assert answer.status == 200
        stopped = (await rail.head()).latest
        assert stopped >= started
        async with http.post(f"{address(bound)}/_control", json={"mine": 2}) as answer:
            assert (await answer.json())["head"] == stopped + 2


async def test_a_payment_waits_for_the_next_block_of_the_clock(bench: Bench) -> None:
    paid = await bench.control(pay={"token": "USDT", "to": bench.rail.show_address(bench.ours()), "amount": "2"})
    assert paid["tx_hash"] in paid["pending"]
    assert (await bench.scan()).transfers == ()
    bench.clock.move(bench.rail.block_seconds)
    assert (await bench.only_transfer()).tx_hash == paid["tx_hash"]


async def test_the_page_says_simulator_and_takes_an_address_from_a_link(bench: Bench) -> None:
    to = bench.rail.show_address(bench.ours())
    async with bench.http.get(bench.base_url, params={"address": to, "amount": "12.5"}) as answer:
        page = await answer.text()
    assert "SIMULATOR" in page
    assert to in page
    assert 'value="12.5"' in page
    assert f'action="{bench.base_url}/pay"' in page
    assert 'name="viewport"' in page


async def test_a_payment_by_hand_is_mined(bench: Bench) -> None:
    form = {"to": f" {bench.rail.show_address(bench.ours())} ", "amount": "12.50", "token": "USDT"}
    async with bench.http.post(f"{bench.base_url}/pay", data=form) as answer:
        page = await answer.text()
    await bench.control(mine=1)
    transfer = await bench.only_transfer()
    assert transfer.amount.units == 12_500_000
    assert transfer.tx_hash in page


@pytest.mark.parametrize(
    "form",
    [
        {"to": "<script>alert(1)</script>", "amount": "1", "token": "USDT"},
        {"to": "T" * 34, "amount": "1", "token": "USDT"},
        {"amount": "1", "token": "USDT"},
        {"to": "0x" + "ab" * 20, "amount": "NaN", "token": "USDT"},
        {"to": "0x" + "ab" * 20, "amount": "-1", "token": "USDT"},
        {"to": "0x" + "ab" * 20, "amount": "0.0000001", "token": "USDT"},
        {"to": "0x" + "ab" * 20, "amount": "1", "token": "DOGE"},
    ],
)
async def test_nonsense_on_the_page_is_refused_and_escaped(bench: Bench, form: dict[str, str]) -> None:
    async with bench.http.post(f"{bench.base_url}/pay", data=form) as answer:
        assert answer.status == 400
        assert "<script>" not in await answer.text()
    assert (await bench.control())["pending"] == []


@pytest.mark.parametrize(
    "command",
    [
        {"mine": 0},
        {"mine": "3"},
        {"reorg": -1},
        {"faults": {"no_such": 1}},
        {"pay": {"to": "x", "amount": "1"}},
        {"faults": {"down": "yes"}},
        {"nothing": 1},
        [],
    ],
)
async def test_a_wrong_command_is_refused(bench: Bench, command: Any) -> None:
    async with bench.http.post(f"{bench.base_url}/_control", json=command) as answer:
        assert answer.status == 400


async def test_either_form_of_address_is_paid(bench: Bench) -> None:
    await bench.control(pay={"token": "USDT", "to": "0x" + bench.ours().hex(), "amount": "1"}, mine=1)
    assert (await bench.only_transfer()).recipient == bench.ours()


async def test_logs_by_range_and_by_hash_are_the_same(bench: Bench) -> None:
    await bench.pay(bench.ours())
    head = await rpc(bench, "eth_blockNumber")
    block = await rpc(bench, "eth_getBlockByNumber", "latest", True)
    assert block["number"] == head
    assert block["transactions"][1]["blockHash"] == block["hash"]
    by_hash = await rpc(bench, "eth_getLogs", {"blockHash": block["hash"]})
    by_range = await rpc(bench, "eth_getLogs", {"fromBlock": head, "toBlock": "latest"})
    to_us = await rpc(bench, "eth_getLogs", {"topics": [None, None, "0x" + bench.ours().hex().rjust(64, "0")]})
    assert by_hash == by_range
    assert len(by_hash) == 2
    assert to_us == by_hash[1:]
    assert await rpc(bench, "eth_getBlockByHash", block["hash"], False) == await rpc(
        bench, "eth_getBlockByNumber", head, False
    )


async def test_what_the_documentation_calls_an_error_is_one(bench: Bench) -> None:
    unknown = "0x" + "00" * 31 + "01"
    code = {"evm": -32000, "tron": -32602}[bench.family]
    assert (await rpc(bench, "eth_getLogs", {"blockHash": unknown}))["code"] == code
    both = {"blockHash": unknown, "fromBlock": "0x1"}
    assert (await rpc(bench, "eth_getLogs", both))["code"] == -32602
    assert (await rpc(bench, "eth_getLogs", {"fromBlock": "0x0"}))["message"].startswith("exceed max block range")
    assert (await rpc(bench, "eth_sendRawTransaction", "0x"))["code"] == -32601
    assert (await rpc(bench, "eth_getBlockByNumber"))["code"] == -32602
    assert (await rpc(bench, "eth_call", {"to": await _contract(bench), "data": "0xdeadbeef"}, "latest"))["code"] == 3
    safe = await rpc(bench, "eth_getBlockByNumber", "safe", False)
    assert ("code" in safe) == (bench.family == "tron")
    assert await rpc(bench, "eth_getTransactionReceipt", unknown) is None
    assert await rpc(bench, "eth_getBlockReceipts", unknown) is None


async def _contract(bench: Bench) -> str:
    return "0x" + bench.rail.tokens[0].contract.hex()


async def test_calls_come_in_batches_too(bench: Bench) -> None:
    calls: list[Any] = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId", "params": []} for n in (1, 2)]
    async with bench.http.post(bench.base_url, json=[*calls, "x"]) as answer:
        first, second, third = await answer.json()
    assert (first["id"], second["id"], third["error"]["code"]) == (1, 2, -32600)
    async with bench.http.post(bench.base_url, data=b"{") as answer:
        assert (await answer.json())["error"]["code"] == -32700


async def test_the_hash_of_a_tron_block_begins_with_its_height() -> None:
    async with chain("tron") as bench:
        block = await rpc(bench, "eth_getBlockByNumber", "latest", False)
    assert int(block["hash"][2:18], 16) == int(block["number"], 16)
    assert int(block["logsBloom"], 16) == 0
    assert USDT["tron"].startswith("T")
