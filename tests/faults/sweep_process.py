"""A process that sweeps until its fuse has burnt down, and kills itself then.

Usage: ``-m tests.faults.sweep_process JSON`` with database, folder, overrides and fuse. ``done``: it came to an end.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.bootstrap import opened
from orchestrator.config_source import check
from orchestrator.settings import Settings
from tests.faults.boundaries import Fuse, burning
from tests.faults.payment_process import configured
from tests.support.world import over


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(given: dict[str, Any]) -> None:
    _, document = configured(given["database"], Path(given["folder"]), "http://127.0.0.1:9")
    document = replace(document, data=over(document.data, given["overrides"]))
    settings = check(Settings, document)
    async with opened(settings, document, sandbox_url="http://127.0.0.1:9") as services:
        with burning(Fuse(given["fuse"], kill)):
            await services.sweeps.build()
            for _ in range(3):
                await services.sweeps.run_once()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
