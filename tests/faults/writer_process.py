"""A process that writes top-ups until it is killed. Usage: ``-m tests.faults.writer_process URL FIRST``.

It prints ``ack N`` after the writer answered for top-up N, so what was printed must be there for ever.
"""

from __future__ import annotations

import asyncio
import sys

from tests.integration.database.units import opened_writer, top_up

BURST = 20


async def main(url: str, first: int) -> None:
    async with opened_writer(url) as writer:

        async def one(number: int) -> None:
            await writer.submit(top_up(f"m{number}", key=f"k{number}"))
            sys.stdout.write(f"ack {number}\n")

        sys.stdout.write("writing\n")
        while True:
            await asyncio.gather(*(one(number) for number in range(first, first + BURST)))
            first += BURST


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
