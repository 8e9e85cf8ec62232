"""A process that follows a scripted chain until it is killed. Usage: ``-m tests.faults.chain_process URL ADDRESS``.

The chain is the same in every life: each of its blocks pays the address once or twice.
"""

from __future__ import annotations

import asyncio
import sys

from orchestrator.database import tables
from tests.integration.payments.chain_scene import ScriptedChain, opened_chain, pay

BLOCKS = 30
UNITS = 2_000_000


def chain_of_payments(address: bytes) -> ScriptedChain:
    chain = ScriptedChain()
    for number in range(BLOCKS):
        units = [UNITS + number] * (1 + number % 2)
        chain.mine(pay(address, *units, name=f"payment in block {number}"))
    chain.mine(count=chain.confirmations)
    return chain


async def main(url: str, address: bytes) -> None:
    chain = chain_of_payments(address)
    everything = list(chain.blocks)
    chain.put_back(everything[:5])  # where the test began; a later life shows what it knows below
    async with opened_chain(url, chain) as scene:
        known = (await scene.all(tables.ChainCursor))[0]["number"]
        for height in range(known + 1, len(everything)):
            chain.put_back(everything[: height + 1])
            await scene.look()
            sys.stdout.write(f"block {height}.\n")
    sys.stdout.write("done\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], bytes.fromhex(sys.argv[2])))
