"""Several nodes: budgets, breakers, lag, and who is asked first. And logs that are no transfers of registered tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak

from adapters.base import ChainScanFailed, RailMisconfigured, SeenTransfer
from adapters.evm.wire import FAMILY
from adapters.kit.chain.budget import FAILURES_TO_OPEN, Breaker, BudgetSpent, TokenBucket
from adapters.kit.chain.options import read_config
from adapters.kit.chain.providers import HEADS_EVERY_S, Providers
from adapters.kit.chain.rpc import NodeBusy, NodeRpc
from adapters.kit.chain.scanner import LogScanner
from tests.adapters.chains.bench import RAILS, CannedNode, account, canned, chain
from tests.adapters.loopback import closed_port

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
OURS = b"\x77" * 20


async def test_a_node_is_asked_no_faster_than_its_budget() -> None:
    now = [0.0]
    bucket = TokenBucket(10, 2, lambda: now[0])
    await bucket.take(0)
    await bucket.take(0)
    with pytest.raises(BudgetSpent):
        await bucket.take(0.05)
    now[0] += 0.1
    await bucket.take(0)
    started = asyncio.get_running_loop().time()
    await bucket.take(1)
    assert asyncio.get_running_loop().time() - started >= 0.09


def test_a_breaker_opens_for_twice_as_long_each_time_and_closes_with_a_success() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    for _ in range(FAILURES_TO_OPEN):
        assert not breaker.is_open
        breaker.failed()
    assert breaker.is_open
    now[0] += 5
    assert not breaker.is_open, "one call may try"
    breaker.failed()
    now[0] += 9
    assert breaker.is_open
    now[0] += 2
    breaker.succeeded()
    breaker.failed()
    assert not breaker.is_open


async def test_too_many_requests_leave_the_node_alone_for_as_long_as_it_says() -> None:
    async with chain("evm") as one, chain("evm") as two:
        nodes = (*one.rail._nodes, *two.rail._nodes)
        providers = Providers(1, nodes)
        asked: list[str] = []

        async def head(node: Any) -> int:
            asked.append(node.name)
            if node is nodes[0]:
                raise NodeBusy("429", 60)
            return int(await node.call("eth_blockNumber"), 16)

        for _ in range(3):
            await providers.ask(head)
        assert asked == [nodes[0].name, *[nodes[1].name] * 3]


async def test_a_node_that_lags_behind_the_best_head_is_asked_last() -> None:
    async with chain("evm") as one, chain("evm") as two:
        nodes = (*one.rail._nodes, *two.rail._nodes)
        providers = Providers(1, nodes)
        providers.saw_head(nodes[0], 100)
        providers.saw_head(nodes[1], 200)
        assert providers.others(nodes[1]) == [nodes[0]]
        assert await providers.ask(lambda node: asyncio.sleep(0, node.name)) == nodes[1].name
        providers.saw_head(nodes[0], 195)
        assert await providers.ask(lambda node: asyncio.sleep(0, node.name)) == nodes[1].name


async def test_heads_are_compared_every_few_seconds_and_a_node_that_stands_still_is_asked_last() -> None:
    async with chain("evm") as one, chain("evm") as two:
        now, asked = [0.0], []
        nodes = (*one.rail._nodes, *two.rail._nodes)
        providers = Providers(1, nodes, now=lambda: now[0])
        heads = {nodes[0].name: 100, nodes[1].name: 105}

        async def head(node: NodeRpc) -> int:
            asked.append(node.name)
            return heads[node.name]

        async def first() -> str:
            return await providers.ask(lambda node: asyncio.sleep(0, node.name))

        await providers.compare_heads(head)
        assert await first() == nodes[0].name, "a few blocks behind is not late"
        heads[nodes[1].name] = 150
        now[0] += HEADS_EVERY_S - 1
        await providers.compare_heads(head)
        assert len(asked) == 2
        now[0] += 1
        await providers.compare_heads(head)
        assert len(asked) == 4
        assert await first() == nodes[1].name


async def test_a_node_that_does_not_say_its_head_delays_the_comparison_by_little_and_is_left_alone_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.kit.chain.providers.HEADS_S_MAX", 0.02)
    async with chain("evm") as one, chain("evm") as two:
        now, asked = [0.0], []
        nodes = (*one.rail._nodes, *two.rail._nodes)
        providers = Providers(1, nodes, now=lambda: now[0])

        async def head(node: NodeRpc) -> int:
            asked.append(node.name)
            await asyncio.sleep(60 if node is nodes[1] else 0)
            return 100

        for _ in range(FAILURES_TO_OPEN + 2):
            await providers.compare_heads(head)
            now[0] += HEADS_EVERY_S
        assert asked.count(nodes[1].name) == FAILURES_TO_OPEN, "then its breaker is open"
        assert await providers.ask(lambda node: asyncio.sleep(0, node.name)) == nodes[0].name


def test_how_late_a_node_may_be_is_seconds_where_blocks_are_quick() -> None:
    lags = {seconds: _scanner_of(seconds).providers._lag_blocks_max for seconds in (12, 3, 0.25)}
    assert lags == {12: 10, 3: 10, 0.25: 120}


def _scanner_of(block_seconds: float) -> LogScanner:
    http: Any = None  # nobody is asked
    return RAILS["evm"](account("evm", block_seconds=block_seconds), http)._scanner


@pytest.mark.parametrize("status", [403, 429])
async def test_a_suspension_is_told_apart_from_a_refusal(status: int) -> None:
    node = CannedNode(raw={"eth_chainId": b"slow down"}, status=status)
    async with canned(node, "tron") as rail:
        with pytest.raises(NodeBusy):
            await rail.head()


async def test_the_text_of_a_lite_node_is_no_answer() -> None:
    node = CannedNode(raw={"eth_chainId": b"this API is closed because this node is a lite fullnode"})
    async with canned(node, "tron") as rail:
        with pytest.raises(ChainScanFailed, match="lite fullnode"):
            await rail.head()


# --- other logs -------------------------------------------------------------------------------------------------------


def _node(*logs: dict[str, Any]) -> CannedNode:
    block_hash = "0x" + "aa" * 32
    shown = [
        {"blockHash": block_hash, "blockNumber": "0x10", "transactionHash": f"0x{n + 1:064x}", "logIndex": hex(n), "data": "0x"}
        | one
        for n, one in enumerate(logs)
    ]  # fmt: skip
    header = {
        "number": "0x10", "hash": block_hash, "parentHash": "0x" + "bb" * 32, "timestamp": "0x6a000000",
        "logsBloom": "0x" + "ff" * 256, "transactions": [one["transactionHash"] for one in shown],
    }  # fmt: skip
    by_hash = {one["transactionHash"]: one for one in shown}
    return CannedNode(
        {
            "eth_chainId": "0x1",
            "eth_getBlockByNumber": header,
            "eth_getLogs": shown,
            "eth_getTransactionReceipt": lambda params: {
                "transactionHash": params[0], "blockHash": block_hash, "status": "0x1", "logs": [by_hash[params[0]]],
            },
        }
    )  # fmt: skip


def _word(address: bytes) -> str:
    return "0x" + address.rjust(32, b"\0").hex()


USDT = "0xdac17f958d2ee523a2206206994597c13d831ec7"


@pytest.mark.parametrize(
    ("event", "more", "kind"),
    [
        ("Pause()", {}, "paused"),
        ("Params(uint256,uint256)", {"data": "0x" + "00" * 64}, "fee_changed"),
        ("Deprecate(address)", {"data": _word(b"\x01" * 20)}, "deprecated"),
        ("AddedBlackList(address)", {"data": _word(OURS)}, "address_blacklisted"),
        ("Blacklisted(address)", {"topic": _word(OURS)}, "address_blacklisted"),
        ("DestroyedBlackFunds(address,uint256)", {"data": _word(OURS) + "00" * 32}, "funds_destroyed"),
    ],
)
async def test_what_a_tokens_administrators_do_to_us_raises_an_alarm(
    event: str, more: dict[str, Any], kind: str
) -> None:
    topics = ["0x" + keccak(text=event).hex(), *([more.pop("topic")] if "topic" in more else [])]
    async with canned(_node({"address": USDT, "topics": topics, **more}), "evm", chain_id=1) as rail:
        scan = await rail.scan_block(16, {OURS}.__contains__)
        assert scan is not None
        assert [(alarm.kind, alarm.token.asset.code) for alarm in scan.alarms] == [(kind, "USDT")]
        others = await rail.scan_block(16, lambda _: False)
        assert others is not None
        assert bool(others.alarms) == (kind in {"paused", "fee_changed", "deprecated"}), "of strangers we need not know"


async def test_an_unknown_token_is_seen_only_where_the_account_asks_for_it() -> None:
    fake = {"address": "0x" + "fa" * 20, "topics": [TRANSFER, _word(b"\x0b" * 20), _word(OURS)], "data": f"0x{5:064x}"}
    picture = {"address": "0x" + "fb" * 20, "topics": [TRANSFER, _word(b"\x0b" * 20), _word(OURS), f"0x{1:064x}"]}
    async with canned(_node(fake, picture), "evm", chain_id=1, unknown_tokens=True) as rail:
        scan = await rail.scan_block(16, {OURS}.__contains__)
        assert scan is not None
        assert [(one.contract.hex(), one.raw_value) for one in scan.unknown] == [("fa" * 20, 5)]
        assert scan.transfers == ()
    async with canned(_node(fake), "evm", chain_id=1) as rail:
        scan = await rail.scan_block(16, {OURS}.__contains__)
        assert scan is not None
        assert scan.unknown == ()


async def test_code_that_was_replaced_behind_its_address_is_refused() -> None:
    async with chain("evm") as bench:
        (node,) = bench.rail._nodes
        code = bytes.fromhex((await node.call("eth_getCode", USDT, "latest"))[2:])
        tokens = {
            "USDT": {
                "contract": USDT,
                "decimals": 6,
                "method": "usdt_evm",
                "code_hash": f"keccak256:{keccak(code).hex()}",
            }
        }
        await RAILS["evm"](account("evm", bench.base_url, tokens=tokens), bench.http).check()
        tokens["USDT"]["code_hash"] = "keccak256:" + "12" * 32
        with pytest.raises(RailMisconfigured, match="it was replaced"):
            await RAILS["evm"](account("evm", bench.base_url, tokens=tokens), bench.http).check()


async def test_a_second_node_confirms_what_it_shows_and_nothing_else() -> None:
    async with chain("evm") as bench, chain("evm") as stranger:
        await bench.pay(bench.ours())
        rail = RAILS["evm"](account("evm", rpc_urls=(bench.base_url, bench.base_url + "/jsonrpc")), bench.http)
        scan = await rail.scan_block((await rail.head()).latest, {bench.ours()}.__contains__)
        assert scan is not None
        (paid,) = scan.transfers
        seen = SeenTransfer(paid.tx_hash, paid.receipt_ordinal, scan.header.number, scan.header.hash, paid.token.contract,
                            paid.recipient, paid.raw_value)  # fmt: skip
        assert await rail.second_opinion(seen)
        assert not await rail.second_opinion(replace(seen, raw_value=seen.raw_value + 1))
        assert not await rail.second_opinion(replace(seen, block_hash="0x" + "12" * 32))
        assert not await rail.second_opinion(replace(seen, receipt_ordinal=7))
        elsewhere = RAILS["evm"](account("evm", rpc_urls=(bench.base_url, stranger.base_url)), bench.http)
        await elsewhere.head()
        assert not await elsewhere.second_opinion(seen), "a node that does not have the block does not confirm it"
        alone = RAILS["evm"](account("evm", rpc_urls=(bench.base_url, closed_port())), bench.http)
        await alone.head()
        with pytest.raises(ChainScanFailed):
            await alone.second_opinion(seen)


def test_a_second_opinion_takes_two_nodes() -> None:
    with pytest.raises(RailMisconfigured, match="two nodes"):
        read_config(account("evm", finality={"second_opinion_usd": "100"}), FAMILY)
