"""Nodes that are down, busy, wrong or lying: a block that cannot be believed is no block, never an empty one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from adapters.base import ChainScanFailed
from adapters.evm.adapter import EvmRail
from adapters.kit.chain.rpc import ANSWER_BYTES_MAX
from tests.adapters.chains.bench import RAILS, USDT, Bench, CannedNode, account, canned, chain
from tests.adapters.loopback import closed_port

HASH = "0x" + "ab" * 32
PARENT = "0x" + "cd" * 32
TX = "0x" + "17" * 32
OURS = b"\x77" * 20
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"


@pytest.fixture(params=["evm", "tron"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


async def test_a_rate_limit_with_http_200_is_a_failure_and_the_payment_is_seen_afterwards(bench: Bench) -> None:
    await bench.pay(bench.ours())
    head = (await bench.rail.head()).latest
    await bench.control(faults={"http200_error": 1})
    with pytest.raises(ChainScanFailed, match="lack of computing resources"):
        await bench.rail.scan_block(head, {bench.ours()}.__contains__)
    assert (await bench.only_transfer()).amount.units == 20_000_000


@pytest.mark.parametrize("fault", ["down", "rate_limited", "drop_answer"])
async def test_a_node_that_does_not_answer_is_a_failure(bench: Bench, fault: str) -> None:
    await bench.rail.head()
    await bench.control(faults={fault: 1})
    with pytest.raises(ChainScanFailed):
        await bench.rail.head()
    await bench.rail.head()


async def test_a_slow_node_is_given_up() -> None:
    async with chain("evm", timeout_seconds=0.1) as bench:
        await bench.control(faults={"delay_ms": 1000})
        with pytest.raises(ChainScanFailed, match=r"within 0\.1 s"):
            await bench.rail.head()


async def test_a_node_that_lags_shows_less_and_loses_nothing(bench: Bench) -> None:
    await bench.pay(bench.ours())
    head = (await bench.rail.head()).latest
    await bench.control(faults={"lag": 2})
    assert (await bench.rail.head()).latest == head - 2
    assert await bench.rail.scan_block(head, {bench.ours()}.__contains__) is None
    await bench.control(faults={"lag": 0})
    assert (await bench.only_transfer()).recipient == bench.ours()


@pytest.mark.parametrize("lies", [1, 2])
async def test_empty_logs_are_not_believed_while_the_header_allows_some(bench: Bench, lies: int) -> None:
    await bench.pay(bench.ours())
    await bench.control(faults={"empty_logs": lies})
    assert (await bench.only_transfer()).amount.units == 20_000_000


async def test_empty_receipts_do_not_prove_empty_logs(bench: Bench) -> None:
    await bench.pay(bench.ours())
    head = (await bench.rail.head()).latest
    await bench.control(faults={"empty_logs": 2, "empty_receipts": 1})
    with pytest.raises(ChainScanFailed, match="not of its transactions"):
        await bench.rail.scan_block(head, {bench.ours()}.__contains__)


async def test_receipts_without_their_logs_do_not_prove_empty_logs() -> None:
    lying = node(eth_getLogs=[], eth_getBlockReceipts=[receipt(logs=[])])
    async with canned(lying, "evm") as rail:
        with pytest.raises(ChainScanFailed, match="do not make up its bloom"):
            await rail.scan_block(16, {OURS}.__contains__)


async def test_a_bloom_that_says_maybe_without_cause_does_not_halt_the_chain() -> None:
    async with chain("evm") as bench:
        await bench.control(crowd=2000, mine=1)  # sets nearly all of the 2,048 bits
        head = (await bench.rail.head()).latest
        bench.requests.clear()
        scanned = await bench.rail.scan_block(head, {bench.ours()}.__contains__)
        assert scanned is not None
        assert scanned.transfers == ()
        assert len(bench.requests) == 4  # header, logs, logs again, all receipts


async def test_a_bloom_that_denies_spares_the_second_question() -> None:
    async with chain("evm") as bench:
        await bench.control(mine=1)
        head = (await bench.rail.head()).latest
        bench.requests.clear()
        assert await bench.rail.scan_block(head, lambda _: True) is not None
        assert len(bench.requests) == 2


async def test_the_second_node_serves_while_the_first_is_down(bench: Bench) -> None:
    await bench.pay(bench.ours())
    suffix = "" if bench.family == "evm" else "/jsonrpc"
    urls = (closed_port(), bench.base_url + suffix)
    rail = RAILS[bench.family](account(bench.family, rpc_urls=urls), bench.http)
    scanned = await rail.scan_block((await rail.head()).latest, {bench.ours()}.__contains__)
    assert scanned is not None
    assert len(scanned.transfers) == 1


async def test_an_old_tron_node_is_believed_unless_a_second_one_disagrees() -> None:
    contract = "0xa614f803b6fd780986a42c78ec9c7f77e6ded13c"
    old = node(eth_getLogs=[])
    missing = {"code": -32601, "message": "the method does not exist"}
    old.refusals["eth_getBlockReceipts"] = missing
    paid = log(address=contract)
    newer = node(eth_getLogs=[paid], eth_getTransactionReceipt=receipt(logs=[paid]))
    async with canned(old, "tron", chain_id=1) as alone, canned(newer, "tron", chain_id=1) as other:
        believed = await alone.scan_block(16, {OURS}.__contains__)
        urls = (*alone._config.rpc_urls, *other._config.rpc_urls)
        async with aiohttp.ClientSession() as http:
            rail = RAILS["tron"](account("tron", rpc_urls=urls, chain_id=1), http)
            contradicted = await rail.scan_block(16, {OURS}.__contains__)
    assert believed is not None
    assert believed.transfers == ()
    assert contradicted is not None
    assert len(contradicted.transfers) == 1


async def test_a_node_of_another_chain_is_never_read(bench: Bench) -> None:
    urls = (bench.base_url + "/jsonrpc",)
    rail = RAILS[bench.family](account(bench.family, rpc_urls=urls, chain_id=999), bench.http)
    with pytest.raises(ChainScanFailed, match="not for 999"):
        await rail.head()


async def test_an_api_key_in_a_nodes_address_is_not_in_the_error() -> None:
    async with aiohttp.ClientSession() as http:
        rail = EvmRail(account("evm", rpc_urls=[f"{closed_port()}/v3/s3cretkey"]), http)
        with pytest.raises(ChainScanFailed) as failed:
            await rail.head()
    assert "s3cretkey" not in str(failed.value)


# --- what single answers may look like ----------------------------------------------------------------------------


def word(address: bytes) -> str:
    return "0x" + address.hex().rjust(64, "0")


def log(**changes: Any) -> dict[str, Any]:
    made = {
        "address": "0xdac17f958d2ee523a2206206994597c13d831ec7",
        "topics": [TRANSFER, word(b"\x01" * 20), word(OURS)],
        "data": f"0x{7_000_000:064x}",
        "blockHash": HASH,
        "blockNumber": "0x10",
        "transactionHash": TX,
        "transactionIndex": "0x0",
        "logIndex": "0x4",
        "removed": False,
    }
    return {**made, **changes}


def block(**changes: Any) -> dict[str, Any]:
    made = {
        "number": "0x10",
        "hash": HASH,
        "parentHash": PARENT,
        "timestamp": "0x65000000",
        "logsBloom": "0x" + "ff" * 256,
        "transactions": [TX],
    }
    return {**made, **changes}


def receipt(**changes: Any) -> dict[str, Any]:
    return {"transactionHash": TX, "blockHash": HASH, "status": "0x1", "logs": [log()], **changes}


def node(**answers: Any) -> CannedNode:
    made = {
        "eth_chainId": "0x1",
        "eth_getBlockByNumber": block(),
        "eth_getLogs": [log()],
        "eth_getTransactionReceipt": receipt(),
    }
    return CannedNode({**made, **answers})


async def test_the_answers_that_the_next_tests_spoil_are_good_ones() -> None:
    async with canned(node(), "evm") as rail:
        scanned = await rail.scan_block(16, {OURS}.__contains__)
    assert scanned is not None
    assert [(t.tx_hash, t.receipt_ordinal, t.amount.units) for t in scanned.transfers] == [(TX, 0, 7_000_000)]


def both(spoilt: dict[str, Any]) -> dict[str, Any]:
    """Return one log as eth_getLogs and the receipt show it alike: comparing them cannot help."""
    return {"eth_getLogs": [spoilt], "eth_getTransactionReceipt": receipt(logs=[spoilt])}


SPOILT = {
    "logs are null": {"eth_getLogs": None},
    "logs are an object": {"eth_getLogs": {}},
    "logs hold null": {"eth_getLogs": [None]},
    "a log of another block": {"eth_getLogs": [log(blockHash=PARENT)]},
    "a log of another height": {"eth_getLogs": [log(blockNumber="0x11")]},
    "a log being removed": both(log(removed=True)),
    "a log twice": {"eth_getLogs": [log(), log()]},
    "a log without its transaction": {"eth_getLogs": [log(transactionHash=None)]},
    "a value of 31 bytes": both(log(data="0x" + "01" * 31)),
    "a value of 64 bytes": both(log(data="0x" + "01" * 64)),
    "a value with blanks": both(log(data="0x" + " " * 62 + "01")),
    "a value above 64 bits": both(log(data="0x" + "ff" * 32)),
    "a contract of 21 bytes, as TRON's HTTP API names accounts": both(log(address="0x41" + "0c" * 20)),
    "a recipient of 32 bytes": both(log(topics=[TRANSFER, word(OURS), "0x" + "77" * 32])),
    "a Transfer with two topics": both(log(topics=[TRANSFER, word(OURS)])),
    "a Transfer with four topics": both(log(topics=[TRANSFER, word(OURS), word(OURS), word(OURS)])),
    "no receipt": {"eth_getTransactionReceipt": None},
    "a receipt of another transaction": {"eth_getTransactionReceipt": receipt(transactionHash=HASH)},
    "a receipt in another block": {"eth_getTransactionReceipt": receipt(blockHash=PARENT)},
    "a receipt without a status": {"eth_getTransactionReceipt": receipt(status=None)},
    "a receipt with status 2": {"eth_getTransactionReceipt": receipt(status="0x2")},
    "a receipt without the log": {"eth_getTransactionReceipt": receipt(logs=[])},
    "a receipt with the log twice": {"eth_getTransactionReceipt": receipt(logs=[log(), log()])},
    "a receipt with another value": {"eth_getTransactionReceipt": receipt(logs=[log(data=f"0x{1:064x}")])},
    "another block": {"eth_getBlockByNumber": block(number="0x11")},
    "a block without a hash": {"eth_getBlockByNumber": block(hash=None)},
    "a block without a parent": {"eth_getBlockByNumber": block(parentHash="0x")},
    "a block without transactions": {"eth_getBlockByNumber": block(transactions=None)},
    "a time beyond all calendars": {"eth_getBlockByNumber": block(timestamp="0x" + "f" * 16)},
    "a bloom that denies the log": {"eth_getBlockByNumber": block(logsBloom="0x" + "00" * 256)},
    "a block that is a list": {"eth_getBlockByNumber": []},
    "a chain id that is no number": {"eth_chainId": "main"},
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
async def test_an_answer_that_cannot_be_believed_is_a_failure(spoilt: dict[str, Any]) -> None:
    async with canned(node(**spoilt), "evm") as rail:
        with pytest.raises(ChainScanFailed):
            await rail.scan_block(16, {OURS}.__contains__)


async def test_an_answer_to_another_question_is_none() -> None:
    mixed = node()
    mixed.raw["eth_chainId"] = b'{"jsonrpc": "2.0", "id": 4711, "result": "0x1"}'
    async with canned(mixed, "evm") as rail:
        with pytest.raises(ChainScanFailed, match="no JSON-RPC result"):
            await rail.scan_block(16, {OURS}.__contains__)


async def test_an_answer_under_an_http_error_is_none() -> None:
    erring = node()
    erring.status = 500
    async with canned(erring, "evm") as rail:
        with pytest.raises(ChainScanFailed, match="HTTP 500"):
            await rail.scan_block(16, {OURS}.__contains__)


async def test_an_endless_answer_is_cut() -> None:
    endless = node()
    endless.raw["eth_getLogs"] = b" " * (ANSWER_BYTES_MAX + 1)
    async with canned(endless, "evm") as rail:
        with pytest.raises(ChainScanFailed, match="more than"):
            await rail.scan_block(16, {OURS}.__contains__)


async def test_a_final_block_above_the_newest_is_not_believed() -> None:
    async with canned(node(eth_blockNumber="0xf"), "evm") as rail:  # the finalized block is 16
        with pytest.raises(ChainScanFailed, match="above the latest"):
            await rail.head()


async def test_a_chain_without_a_final_block_has_no_head() -> None:
    async with canned(node(eth_blockNumber="0xf", eth_getBlockByNumber=None), "evm") as rail:
        with pytest.raises(ChainScanFailed, match="finalized"):
            await rail.head()


BODIES = {
    "java-tron's rate limit": b'{"Error": "class java.lang.IllegalAccessException : lack of computing resources"}',
    "a lite node's text": b"this API is closed because this node is a lite fullnode",
    "nothing": b"",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "null": b"null",
    "no result": b'{"jsonrpc": "2.0", "id": 1}',
    "another question's answer": b'{"jsonrpc": "2.0", "id": 4711, "result": []}',
    "an error object": b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "limit exceeded"}}',
    "an error beside a result": b'{"jsonrpc": "2.0", "id": 3, "result": [], "error": "busy"}',
    "half an answer": b'{"jsonrpc": "2.0", "id": 3, "result": [',
}


@pytest.mark.parametrize("family", ["evm", "tron"])
@pytest.mark.parametrize("method", ["eth_getLogs", "eth_getBlockByNumber", "eth_getTransactionReceipt"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
async def test_what_is_no_json_rpc_result_is_a_failure(family: str, method: str, body: bytes) -> None:
    tokens = {"USDT": {"contract": USDT[family], "decimals": 6, "method": "usdt_here"}}
    broken = node(eth_chainId="0x1")
    if family == "tron":  # the contract's address on TRON, and no bloom there
        contract = "0xa614f803b6fd780986a42c78ec9c7f77e6ded13c"
        broken.answers |= {
            "eth_getLogs": [log(address=contract)],
            "eth_getTransactionReceipt": receipt(logs=[log(address=contract)]),
            "eth_getBlockByNumber": block(logsBloom="0x" + "00" * 256),
        }
    async with canned(broken, family, chain_id=1, tokens=tokens) as rail:
        good = await rail.scan_block(16, {OURS}.__contains__)
        assert good is not None
        assert len(good.transfers) == 1
        broken.raw[method] = body
        with pytest.raises(ChainScanFailed):
            await rail.scan_block(16, {OURS}.__contains__)
