"""Catch-up by ranges: the span halves and grows, nothing is passed unread, and an empty range is not believed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters.base import ChainScanFailed
from tests.adapters.chains.bench import RAILS, Bench, CannedNode, account, canned, chain
from tests.adapters.loopback import closed_port

ZERO = "0x" + "0" * 64


@pytest.fixture(params=["evm", "tron"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


async def walk(bench: Bench, first: int, last: int) -> tuple[list[int], list[int]]:
    """Read ranges up to ``last``; return the amounts found and where each range ended."""
    amounts: list[int] = []
    ends: list[int] = []
    while first <= last:
        scan = await bench.rail.scan_range(first, last, {bench.ours()}.__contains__)
        assert scan.first_number == first
        amounts += [transfer.amount.units for block in scan.blocks for transfer in block.transfers]
        first = scan.last.number + 1
        ends.append(scan.last.number)
    return amounts, ends


async def test_a_day_of_missed_blocks_is_read_by_ranges_that_grow(bench: Bench) -> None:
    start = (await bench.rail.head()).latest
    for amount in ("1", "2", "3"):
        await bench.pay(bench.ours(), amount)
        await bench.control(mine=400)
    last = (await bench.rail.head()).finalized
    bench.requests.clear()
    amounts, ends = await walk(bench, start + 1, last)
    assert amounts == [1_000_000, 2_000_000, 3_000_000]
    assert ends[-1] == last
    spans = [end - begin for begin, end in zip([start, *ends], ends, strict=False)]
    assert spans[:4] == [64, 128, 256, 512]
    assert spans == sorted(spans[:-1]) + spans[-1:]


async def test_each_range_names_the_parent_of_its_first_block(bench: Bench) -> None:
    start = (await bench.rail.head()).latest
    await bench.pay(bench.ours())
    await bench.control(mine=10)
    before = await bench.rail.header(start)
    scan = await bench.rail.scan_range(start + 1, start + 5, {bench.ours()}.__contains__)
    after = await bench.rail.header(start + 5)
    assert before is not None
    assert scan.parent_hash == before.hash
    assert scan.last == after
    assert [block.header.number for block in scan.blocks] == [start + 1]


async def test_an_empty_answer_for_a_range_is_not_believed(bench: Bench) -> None:
    start = (await bench.rail.head()).latest
    await bench.pay(bench.ours())
    await bench.control(mine=10, faults={"empty_logs": 1})
    scan = await bench.rail.scan_range(start + 1, start + 8, {bench.ours()}.__contains__)
    assert [len(block.transfers) for block in scan.blocks] == [1]


async def test_a_rate_limit_with_http_200_inside_a_range_is_no_empty_range(bench: Bench) -> None:
    start = (await bench.rail.head()).latest
    await bench.pay(bench.ours())
    await bench.control(mine=10)
    await bench.control(faults={"http200_error": 1})
    with pytest.raises(ChainScanFailed, match="lack of computing resources"):
        await bench.rail.scan_range(start + 1, start + 8, {bench.ours()}.__contains__)
    scan = await bench.rail.scan_range(start + 1, start + 8, {bench.ours()}.__contains__)
    assert [len(block.transfers) for block in scan.blocks] == [1]


def _block(number: int) -> dict[str, Any]:
    return {
        "number": hex(number), "hash": f"0x{number:064x}", "parentHash": f"0x{number - 1:064x}", "timestamp": "0x6a000000",
        "logsBloom": "0x" + "0" * 512, "transactions": [],
    }  # fmt: skip


def _stingy(limit: int, error: dict[str, Any], asked: list[int]) -> CannedNode:
    """A node that answers ranges of at most ``limit`` blocks, with one log of a stranger in each."""
    node = CannedNode({"eth_chainId": "0x1", "eth_getBlockByNumber": lambda params: _block(int(params[0], 16))})

    def logs(params: list[Any]) -> Any:
        first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
        asked.append(last - first + 1)
        if last - first + 1 > limit:
            node.refusals["eth_getLogs"] = error
            return []
        stranger = "0x" + "5e" * 20
        topics = [
            "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
            *["0x" + "00" * 12 + "5e" * 20] * 2,
        ]
        return [{"address": stranger, "topics": topics, "blockNumber": hex(first), "data": ZERO}]

    node.answers["eth_getLogs"] = logs
    return node


@pytest.mark.parametrize(
    "error",
    [
        {"code": -32005, "message": "limit exceeded"},
        {"code": -32602, "message": "exceed max block range: 5000"},
        {"code": -32000, "message": "query returned more than 10000 results"},
    ],
)
async def test_a_node_that_limits_ranges_is_asked_for_less(error: dict[str, Any]) -> None:
    asked: list[int] = []

    class Limited(CannedNode):
        async def handle(self, request: Any) -> Any:
            call = await request.json()
            if call["method"] == "eth_getLogs":
                wanted = call["params"][0]
                span = int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1
                asked.append(span)
                self.refusals = {"eth_getLogs": error} if span > 10 else {}
            return await super().handle(request)

    node = Limited(_stingy(10_000, error, []).answers)
    async with canned(node, "evm", chain_id=1) as rail:
        scan = await rail.scan_range(100, 1000, lambda _: False)
        assert asked == [64, 32, 16, 8]
        assert scan.last.number == 107
        following = await rail.scan_range(108, 1000, lambda _: False)
        assert following.last.number - 107 in {8, 16}


async def test_an_answer_of_a_suspiciously_round_number_of_logs_is_asked_for_in_parts() -> None:
    node = _stingy(10_000, {}, [])
    one = node.answers["eth_getLogs"]

    def cut(params: list[Any]) -> Any:
        span = int(params[0]["toBlock"], 16) - int(params[0]["fromBlock"], 16) + 1
        return one(params) * min(1000, span * 20)

    node.answers["eth_getLogs"] = cut
    async with canned(node, "evm", chain_id=1) as rail:
        scan = await rail.scan_range(1, 64, lambda _: False)
        assert scan.last.number == 32


async def test_a_log_from_outside_the_range_is_not_believed() -> None:
    node = _stingy(10_000, {}, [])
    one = node.answers["eth_getLogs"]
    node.answers["eth_getLogs"] = lambda params: [
        {**one(params)[0], "blockNumber": "0x7d0", "topics": ["0x" + "00" * 32]}
    ]
    async with canned(node, "evm", chain_id=1) as rail:
        with pytest.raises(ChainScanFailed, match="block 2000 came"):
            await rail.scan_range(1, 8, lambda _: False)


async def test_when_one_node_calls_a_range_empty_another_is_asked() -> None:
    async with chain("evm") as bench:
        start = (await bench.rail.head()).latest
        await bench.pay(bench.ours())
        await bench.control(mine=10)
        urls = (bench.base_url, bench.base_url + "/")
        rail = RAILS["evm"](account("evm", rpc_urls=urls), bench.http)
        await bench.control(faults={"empty_logs": 1})
        scan = await rail.scan_range(start + 1, start + 8, {bench.ours()}.__contains__)
        assert [len(block.transfers) for block in scan.blocks] == [1]


async def test_a_range_that_no_node_gives_is_a_failure() -> None:
    async with aiohttp.ClientSession() as http:
        rail = RAILS["evm"](account("evm", closed_port(), timeout_seconds=0.5), http)
        with pytest.raises(ChainScanFailed):
            await rail.scan_range(1, 500, lambda _: False)
