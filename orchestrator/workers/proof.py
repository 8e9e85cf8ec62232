"""Proves the books every night, and sends the heads of the hash chains out of the database."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog
from prometheus_client import Counter, Gauge

from orchestrator.clock import DAY_US, Clock
from orchestrator.database.reads import Reads
from orchestrator.database.unit import Changes, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.ledger.anchors import Anchors
from orchestrator.ledger.proof import ALARM, PLATFORM_BOOK, PROVEN, last_proof
from orchestrator.workers.supervisor import beat, pause, periodic

HOUR_US: Final = 3_600_000_000
FIRST_LOOK_S: Final = 60.0
"""A service that was just started has better things to do."""
LOOK_EVERY_S: Final = 60.0
AGAIN_S: Final = 3600.0
"""After a proof that could not be made."""
PROOF_S_MAX: Final = 6 * 3600
ANCHOR_AT_END_S_MAX: Final = 5.0

_log = structlog.get_logger("proof")
_ok = Gauge("crossrail_ledger_proof_ok", "1: the last proof of the books held; 0: it did not, look at it now")
_proven_at = Gauge("crossrail_ledger_proof_timestamp_seconds", "When the books were proven last")
_failures = Counter("crossrail_ledger_proof_failures", "Proofs that could not be made to the end")


class ProofFailed(Exception):
    """The process that proves ended without an answer: nothing is known of the books."""


class ProofWorker:
    """Once a day, after an hour of the configuration; every hour again while the last proof was an alarm.

    An alarm is an error in the log, a metric, an event of the platform and a banner on the dashboard.
    """

    name = "proof"

    def __init__(
        self, writer: Writer, reads: Reads, clock: Clock, anchors: Anchors, *, database: str, hour_utc: int
    ) -> None:
        self._writer = writer
        self._reads = reads
        self._clock = clock
        self._anchors = anchors
        self._database = database
        self._hour_us = hour_utc * HOUR_US

    async def run(self, stop: asyncio.Event) -> None:
        await pause(stop, FIRST_LOOK_S)
        while not stop.is_set():
            try:
                await self.run_once(stop)
            except ProofFailed:
                _failures.inc()
                _log.exception("proof_failed")
                await pause(stop, AGAIN_S)
            else:
                await pause(stop, LOOK_EVERY_S)

    async def run_once(self, stop: asyncio.Event) -> bool:
        """Prove the books where today's proof is missing; say whether it was. Raises ProofFailed."""
        last = await last_proof(self._reads)
        if last is not None:
            _tell_metrics(last["type"] == PROVEN, last["created_us"])
            if not self._is_due(last):
                return False
        await self._anchors.run_once(grown_by=1)
        started_us = self._clock.now_us()
        proof = await self._proof(stop)
        if proof is None:
            return False
        proof["seconds"] = round((self._clock.now_us() - started_us) / 1_000_000, 1)
        await self._tell(proof)
        return True

    def _is_due(self, last: Row) -> bool:
        now_us = self._clock.now_us()
        if last["type"] == ALARM and now_us - last["created_us"] >= HOUR_US:
            return True
        return self._day(last["created_us"]) < self._day(now_us)

    def _day(self, at_us: int) -> int:
        return (at_us - self._hour_us) // DAY_US

    async def _proof(self, stop: asyncio.Event) -> dict[str, Any] | None:
        """Run the proof in a process of its own; None where the service stops meanwhile."""
        asked = {
            "database": self._database,
            "now_us": self._clock.now_us(),
            "anchored": await self._anchors.hashes(),
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "orchestrator.ledger.proof",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        talk = asyncio.create_task(child.communicate(orjson.dumps(asked)))
        try:
            async with asyncio.timeout(PROOF_S_MAX):
                while not talk.done() and not stop.is_set():
                    await pause(stop, 1.0)
                    beat()
            if not talk.done():
                return None
            out, errors = await talk
        except TimeoutError:
            raise ProofFailed(f"not done within {PROOF_S_MAX} s") from None
        finally:
            if child.returncode is None:
                child.kill()
            await asyncio.wait({talk})
        if child.returncode != 0:
            raise ProofFailed(f"exit {child.returncode}: {errors.decode(errors='replace')[-500:]}")
        answer: dict[str, Any] = orjson.loads(out)
        return answer

    async def _tell(self, proof: Mapping[str, Any]) -> None:
        ok = bool(proof["ok"])
        if ok:
            _log.info("ledger_proven", entries=proof["entries"], seals=proof["seals"], seconds=proof["seconds"])
        else:
            _log.error("ledger_alarm", findings=proof["findings"], findings_count=proof["findings_count"])
        _tell_metrics(ok, self._clock.now_us())
        hour = self._clock.now_us() // HOUR_US
        merchant_id, mode = PLATFORM_BOOK

        def decide(_view: View, changes: Changes) -> Mapping[str, Any]:
            changes.emit(PROVEN if ok else ALARM, f"proof:{hour}", orjson.dumps(proof).decode())
            return {}

        # Two processes may prove at the same time; what they found is told once where it is the same.
        key = f"proof:{hour}:{'ok' if ok else 'alarm'}"
        await self._writer.submit(Unit(merchant_id, mode, key, (), decide))


class AnchorWorker:
    """Anchors the chains as they grow, and all that have grown when the service stops."""

    name = "anchors"

    def __init__(self, anchors: Anchors, poll_s: float) -> None:
        self._anchors = anchors
        self._poll_s = poll_s

    async def run(self, stop: asyncio.Event) -> None:
        async def action() -> bool:
            await self._anchors.run_once()
            return False

        await periodic(stop, self._poll_s, action)
        async with asyncio.timeout(ANCHOR_AT_END_S_MAX):
            await self._anchors.run_once(grown_by=1)


def _tell_metrics(ok: bool, at_us: int) -> None:
    _ok.set(int(ok))
    _proven_at.set(at_us // 1_000_000)
