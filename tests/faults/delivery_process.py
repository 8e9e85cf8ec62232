"""A process that does nothing but deliver: for tests that kill it. Usage: ``-m tests.faults.delivery_process URL``."""

from __future__ import annotations

import asyncio
import sys

from tests.integration.events.house import opened


async def main(url: str) -> None:
    async with opened(url) as house, house.delivering():
        sys.stdout.write("delivering\n")
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
