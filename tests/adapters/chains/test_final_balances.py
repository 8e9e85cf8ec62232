"""What lies on an address at a final block, as the node simulators of both families say it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from adapters.base import ChainScanFailed
from adapters.final_balances import ReadsFinalBalances
from adapters.kit.chain import token_contract
from adapters.kit.chain.rpc import NodeRpc
from tests.adapters.chains.bench import Bench, chain


@pytest.fixture(params=["evm", "tron"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


async def test_what_is_not_final_yet_lies_there_and_not_at_the_final_block(bench: Bench) -> None:
    rail, (token, *_) = bench.rail, bench.rail.tokens
    assert isinstance(rail, ReadsFinalBalances)
    assert rail.final_word == {"evm": "finalized", "tron": "solidified"}[bench.family]
    ours = [bench.ours(0), bench.ours(1)]
    await bench.pay(ours[0], "20.00")
    unit = 10**token.decimals
    assert await rail.balances(token, ours) == [20 * unit, 0]
    final = await rail.final_balances(token, ours)
    assert (list(final.units), final.block) == ([0, 0], (await rail.head()).finalized)
    await bench.control(mine=rail.confirmations)
    await bench.pay(ours[1], "3.00")
    final = await rail.final_balances(token, ours)
    assert (list(final.units), final.block) == ([20 * unit, 0], (await rail.head()).finalized)


async def test_java_tron_s_json_rpc_answers_for_the_newest_block_only() -> None:
    async with chain("tron") as bench:
        node = NodeRpc(f"{bench.base_url}/jsonrpc", bench.http, 5)
        token = bench.rail.tokens[0]
        assert await token_contract.balances(node, token.contract, [bench.ours()]) == [0]
        with pytest.raises(ChainScanFailed, match="just support TAG as latest"):
            await token_contract.balances(node, token.contract, [bench.ours()], "0x1")


async def test_a_node_that_does_not_answer_is_said_and_is_no_balance(bench: Bench) -> None:
    await bench.control(faults={"down": 20})
    with pytest.raises(ChainScanFailed):
        await bench.rail.final_balances(bench.rail.tokens[0], [bench.ours()])
