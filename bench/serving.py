"""Processes that benchmarks call over HTTP: a whole service, or anything that says when it is up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
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
    environment = {"CROSSRAIL_DATABASE": database, "CROSSRAIL_STATE": str(room), "CROSSRAIL_LOG": "error"}
    crossrail = str(Path(sys.executable).with_name("crossrail"))
    command = [crossrail, "serve", "--api-only", "-c", str(CONFIG), "-p", str(free_ports())]
    with process(command, environment, "crossrail listens"):
        note: dict[str, Any] = json.loads((room / "service.json").read_text("utf-8"))
        yield note


@contextmanager
def process(command: Sequence[str], environment: Mapping[str, str], ready: str) -> Iterator[None]:
    """Run a program that prints a line with ``ready`` in it; end it afterwards."""
    whole = os.environ | environment
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=whole) as running:
        try:
            assert running.stdout is not None
            deadline = time.monotonic() + START_S
            while ready not in (line := running.stdout.readline()):
                if not line or time.monotonic() > deadline:
                    raise SystemExit(f"{command[0]} did not start")
            yield
        finally:
            running.terminate()
            running.wait(timeout=20)


def post(url: str, token: str, body: Mapping[str, Any]) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer
