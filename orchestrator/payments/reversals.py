"""The door for what a rail says of money that goes back: refunds and disputes, from webhooks, polls and answers alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import structlog

from adapters.operations import DisputeEvent, RefundEvent
from orchestrator.payments.disputes import Disputes
from orchestrator.payments.refunds import Refunds

_log = structlog.get_logger("reversals")


@dataclass(frozen=True, slots=True)
class Reversals:
    refunds: Refunds
    disputes: Disputes

    async def apply(self, event: RefundEvent | DisputeEvent) -> str:
        """Apply one statement; the same statement again changes nothing. Raises NotOurs."""
        match event:
            case RefundEvent():
                result = await self.refunds.apply(event)
            case DisputeEvent():
                result = await self.disputes.apply(event)
            case _:
                assert_never(event)
        _log.info("reversal_applied", rail=event.rail, account=event.account, rail_event=event.event_id, result=result)
        return result
