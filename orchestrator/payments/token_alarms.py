"""What a token's administrators did that touches our money: a review item of the platform, a log line, a counter."""

from __future__ import annotations

from typing import Any

import structlog
from prometheus_client import Counter
from sqlalchemy import select

from adapters.base import BlockHeader, TokenAlarm, TokenCodeChanged
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Review, table_of
from orchestrator.database.unit import Changes, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.payments.crediting import ask_a_person
from orchestrator.payments.sightings import Network

PLATFORM = "platform"
CODE_CHANGED = "token_code_changed"
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


async def alarm_code_changed(writer: Writer, reads: Reads, network: Network, changed: TokenCodeChanged) -> None:
    """Open a review item about code that is not the pinned one, unless one about this token is open."""
    subject = f"{network.chain}:{changed.token.asset.code}"
    table = table_of(Review)
    open_one = select(table.c.id).where(
        table.c.merchant_id == PLATFORM, table.c.status == "open", table.c.reason == CODE_CHANGED,
        table.c.subject == subject,
    )  # fmt: skip
    if await reads.one(open_one.limit(1)) is not None:
        return
    mode = network.account.mode.value
    evidence: dict[str, Any] = {"chain": network.chain, "method": changed.token.method, "found": str(changed)}

    def decide(view: View, changes: Changes) -> dict[str, Any]:
        ask_a_person(view, changes, PLATFORM, mode, reason=CODE_CHANGED, subject=subject, payment_id=None,
                     evidence=evidence)  # fmt: skip
        return {}

    await writer.submit(Unit(PLATFORM, mode, None, (), decide))
    _alarms.labels(network.name, changed.token.method, "code_changed").inc()
    _log.warning("token_alarm", network=network.name, method=changed.token.method, kind="code_changed")
