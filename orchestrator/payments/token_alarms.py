"""What a token's administrators did that touches our money: a review item of the platform, a log line, a counter."""

from __future__ import annotations

from typing import Any

import structlog
from prometheus_client import Counter

from adapters.base import BlockHeader, TokenAlarm
from orchestrator.database.unit import Changes, View
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.sightings import Network

PLATFORM = "platform"
_log = structlog.get_logger("token")
_alarms = Counter("crossrail_token_alarms", "Acts of a token's administrators", ["network", "method", "kind"])


def tell_alarm(view: View, changes: Changes, network: Network, header: BlockHeader, alarm: TokenAlarm) -> None:
    """Open a review item about one act. Inside the block's unit."""
    evidence: dict[str, Any] = {
        "chain": network.chain,
        "method": alarm.token.method,
        "tx_hash": alarm.tx_hash,
        "block_number": header.number,
        "address": None if alarm.address is None else "0x" + alarm.address.hex(),
    }
    ask_a_person(
        view, changes, PLATFORM, network.account.mode.value, reason=f"token_{alarm.kind}", subject=alarm.tx_hash,
        payment_id=None, evidence=evidence,
    )  # fmt: skip


def note_alarm(network: Network, alarm: TokenAlarm) -> None:
    """Log and count one act, once its block was taken."""
    _alarms.labels(network.name, alarm.token.method, alarm.kind).inc()
    _log.warning("token_alarm", network=network.name, method=alarm.token.method, kind=alarm.kind, tx=alarm.tx_hash)
