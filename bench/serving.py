"""A whole service in a process of its own, for benchmarks that call it over HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.cli.demo import free_ports

CONFIG = Path(__file__).parents[1] / "config.yaml"
START_S = 60


@contextmanager
def serving(database: str, room: Path) -> Iterator[dict[str, Any]]:
    """Run ``crossrail serve --api-only`` over a database; give its note: ``url``, ``admin_token``, ``pid``."""
    room.mkdir()
    environment = os.environ | {"CROSSRAIL_DATABASE": database, "CROSSRAIL_STATE": str(room), "CROSSRAIL_LOG": "error"}
    crossrail = str(Path(sys.executable).with_name("crossrail"))
    command = [crossrail, "serve", "--api-only", "-c", str(CONFIG), "-p", str(free_ports())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            deadline = time.monotonic() + START_S
            while "crossrail listens" not in (line := process.stdout.readline()):
                if not line or time.monotonic() > deadline:
                    raise SystemExit("the service did not start")
            note: dict[str, Any] = json.loads((room / "service.json").read_text("utf-8"))
            yield note
        finally:
            process.terminate()
            process.wait(timeout=20)
