"""A process whose children follow a chain and kill themselves, each one statement later than the one before.

Usage: ``-m tests.faults.block_process URL ADDRESS SCENARIO``. Scenario: ``block`` (a block with two transfers is taken and
credited) or ``reorg`` (a block whose transfers were credited provisionally falls away; every second time they are mined again).
Each child finds what its predecessor left, ends it, goes one round further and dies in that. ``survived N``: the child after N
deaths had no statement left to die at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace

from adapters.base import FinalityTier
from rates.money import WALLET_USD, Money
from tests.faults.statements import Statements, watched
from tests.integration.payments.chain_scene import ScriptedChain, opened_chain, pay
from tests.integration.payments.test_chain_finality import EARLY

UNITS = 2_000_000
LIVES_MAX = 300


def chain_at(address: bytes, scenario: str, rounds: int, *, begun: bool) -> ScriptedChain:
    """Return the chain after so many rounds; ``begun``: with the block in it that the next one falls back from."""
    tiers = (FinalityTier(Money(10 * 10**9, WALLET_USD), 1),)
    chain = ScriptedChain(finality=replace(EARLY, tiers=tiers))
    for number in range(rounds + begun):
        paid = pay(address, UNITS + number, UNITS + number, name=f"payment {number}")
        chain.mine(paid)
        if number == rounds:
            break
        if scenario == "reorg":
            chain.drop(1)
            chain.mine()
            chain.mine(*([paid] if comes_back(number) else []))
        chain.mine(count=chain.confirmations)
    return chain


def comes_back(number: int) -> bool:
    return number % 2 == 1


async def live(url: str, address: bytes, scenario: str, number: int, statements: Statements) -> None:
    before = chain_at(address, scenario, number, begun=scenario == "reorg")
    async with opened_chain(url, before, looks=False) as scene:
        await scene.look()
        await scene.look()
        before.put_back(chain_at(address, scenario, number + 1, begun=False).blocks)
        with statements.burning(number + 1):
            await scene.look()


def main(url: str, address: bytes, scenario: str) -> None:
    statements = watched()
    for number in range(LIVES_MAX):
        child = os.fork()
        if child == 0:
            asyncio.run(live(url, address, scenario, number, statements))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.stdout.write(f"survived {number}\n" if status == 0 else "a child broke\n")
            return
        assert os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main(sys.argv[1], bytes.fromhex(sys.argv[2]), sys.argv[3])
