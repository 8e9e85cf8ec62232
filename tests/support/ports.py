"""A port on loopback that nobody listens on. Servers that can bind port 0 themselves should do that instead."""

from __future__ import annotations

import socket


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
