"""Takes every live transaction one step further, as often as one likes and from any number of processes.

Sign: the same bytes give the same signature. Send: the same bytes are one transaction, however often they are sent.
Close: a unit with a key. So a crash between any two statements loses nothing and doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import select

from adapters.base import RailError
from adapters.sending import ChainReceipt
from orchestrator.database.reads import Reads
from orchestrator.database.tables import ChainTransaction, table_of
from orchestrator.database.unit import Changes, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, NotFound
from orchestrator.signer.client import KeyOf, SignerAway, SignerClient, SignerRefused
from orchestrator.sweeps.closing import ask, close, closing_locks, settle_subject
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.transaction import LIVE, NotNow, void

EXPIRY_GRACE_US: Final = 10 * 60 * 1_000_000
"""Of final chain time beyond a transaction's end: two nodes may be that far apart."""
STEP_TIMEOUT_S: Final = 60
ROUND_MAX: Final = 500
NOTE_CHARS_MAX: Final = 200
_log = structlog.get_logger("sweeps")


@dataclass(frozen=True, slots=True)
class ChainMachine:
    """Signs, sends and closes what is stored."""

    writer: Writer
    reads: Reads
    signer: SignerClient | None
    networks: Mapping[str, SendingNetwork]
    """By the books' name."""

    async def run_once(self) -> int:
        """Take each live transaction one step further; return how many moved. One that fails holds up no other."""
        table = table_of(ChainTransaction)
        rows = await self.reads.all(
            select(table)
            .where(table.c.network.in_(list(self.networks)), table.c.status.in_(sorted(LIVE)))
            .order_by(table.c.id)
            .limit(ROUND_MAX)
        )
        moved = 0
        for row in rows:
            try:
                async with asyncio.timeout(STEP_TIMEOUT_S):
                    moved += await self._step(row)
            except (RailError, SignerAway, TimeoutError) as error:
                _log.warning("transaction_waits", id=row["id"], network=row["network"], error=repr(error)[:300])
        return moved

    async def advance(self, merchant_id: str, transaction_id: str) -> Row:
        """Take one transaction one step further and return it as it is then. Raises RailError, SignerAway."""
        row = await self.find(merchant_id, transaction_id)
        if row["status"] in LIVE:
            async with asyncio.timeout(STEP_TIMEOUT_S):
                await self._step(row)
            row = await self.find(merchant_id, transaction_id)
        return row

    async def find(self, merchant_id: str | None, transaction_id: str) -> Row:
        """Raises NotFound."""
        table = table_of(ChainTransaction)
        query = select(table).where(table.c.id == transaction_id)
        if merchant_id is not None:
            query = query.where(table.c.merchant_id == merchant_id)
        row = await self.reads.one(query)
        if row is None:
            raise NotFound("chain_transaction_not_found", f"there is no transaction {transaction_id}")
        return row

    async def of_subject(self, merchant_id: str, subject_id: str) -> Row | None:
        """Return the newest transaction that serves a refund or an attempt."""
        table = table_of(ChainTransaction)
        return await self.reads.one(
            select(table)
            .where(table.c.merchant_id == merchant_id, table.c.subject_id == subject_id)
            .order_by(table.c.generation.desc())
        )

    async def mined(self, row: Row) -> bool | None:
        """Say whether a block holds it by now, and whether it succeeded there; None: not yet. Raises RailError."""
        if row["status"] in {"final", "failed"}:
            return bool(row["status"] == "final")
        if row["status"] != "sent":
            return None
        receipt = await self.networks[row["network"]].sender.receipt(row["tx_hash"])
        return None if receipt is None else receipt.succeeded

    async def approve(self, transaction_id: str, signature: str) -> Row:
        """Keep a person's signature for the signer, which alone judges it. Raises NotFound, Conflict."""
        row = await self.find(None, transaction_id)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            now = _locked(view, row)
            if now["status"] != "built":
                raise Conflict("transaction_is_elsewhere", f"it is {now['status']}")
            kept = list(dict.fromkeys([*orjson.loads(now["approvals"]), signature.removeprefix("0x").lower()]))
            self._set(view, changes, row, approvals=orjson.dumps(kept[-10:]).decode())
            return {}

        await self._submit(row, decide)
        return await self.find(None, transaction_id)

    async def void(self, transaction_id: str) -> Row:
        """Give up one that was never signed; what it served has failed. Raises NotFound, Conflict."""
        row = await self.find(None, transaction_id)
        locks = [*closing_locks(row), row_lock("chain_nonce", row["network"], row["sender"])]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            try:
                void(view, changes, _locked(view, row))
            except NotNow as no:
                raise Conflict("transaction_is_elsewhere", str(no)) from None
            settle_subject(view, changes, row, succeeded=False)
            return {}

        await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        return await self.find(None, transaction_id)

    async def _step(self, row: Row) -> bool:
        network = self.networks[row["network"]]
        if row["status"] == "built":
            return await self._sign(network, row)
        if row["status"] == "signed":
            return await self._send(network, row)
        return await self._look(network, row)

    async def _sign(self, network: SendingNetwork, row: Row) -> bool:
        if self.signer is None:
            raise SignerAway("sweeps.signer_socket is not configured")
        try:
            signed = await self.signer.sign(
                chain=network.chain, reference=row["subject_id"] + "_" + row["purpose"],
                key=KeyOf(row["branch"], row["key_index"]), unsigned=bytes(row["unsigned"]),
                recipient_index=row["recipient_index"], approvals=tuple(orjson.loads(row["approvals"])),
            )  # fmt: skip
        except SignerRefused as refused:
            return await self._refused(network, row, str(refused))
        tx_hash = network.sender.read_signed(signed, bytes(row["unsigned"]))

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if _locked(view, row)["status"] == "built":
                self._set(view, changes, row, status="signed", signed=signed, tx_hash=tx_hash, note="")
            return {}

        await self._submit(row, decide)
        return True

    async def _refused(self, network: SendingNetwork, row: Row, text: str) -> bool:
        """Keep the signer's word. Bytes that expired unsigned make room for others."""
        gone = row["expires_us"] is not None and await self._is_past(network, row)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            now = _locked(view, row)
            if now["status"] == "built" and (gone or now["note"] != text[:NOTE_CHARS_MAX]):
                status = "expired" if gone else "built"
                self._set(view, changes, row, status=status, note=text[:NOTE_CHARS_MAX])
            return {}

        await self._submit(row, decide)
        return gone

    async def _send(self, network: SendingNetwork, row: Row) -> bool:
        answer = await network.sender.send(bytes(row["signed"]))
        _log.info("transaction_sent", id=row["id"], tx_hash=row["tx_hash"], answer=answer.sent.value, text=answer.text)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if _locked(view, row)["status"] == "signed":
                note = f"{answer.sent.value} {answer.text}".strip()[:NOTE_CHARS_MAX]
                self._set(view, changes, row, status="sent", note=note)
            return {}

        await self._submit(row, decide)
        return True

    async def _look(self, network: SendingNetwork, row: Row) -> bool:
        # Asked before the receipt: what is past its end now and has no receipt afterwards will never have one.
        past = await self._is_past(network, row)
        receipt = await network.sender.receipt(row["tx_hash"], proven=past)
        if receipt is not None:
            if not receipt.final:
                return False
            await self._close(network, row, receipt)
            return True
        if past:
            await self._give_up(row)
            return True
        await network.sender.send(bytes(row["signed"]))  # dropped from a node's pool, or never arrived
        return False

    async def _is_past(self, network: SendingNetwork, row: Row) -> bool:
        """Say whether the chain can no longer take it, by its final blocks."""
        if row["expires_us"] is not None:
            return await network.sender.final_time_us() > int(row["expires_us"]) + EXPIRY_GRACE_US
        return await network.sender.sent_count(bytes(row["sender"]), final=True) > int(row["nonce"])

    async def _close(self, network: SendingNetwork, row: Row, receipt: ChainReceipt) -> None:
        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if _locked(view, row)["status"] in LIVE:
                close(view, changes, network, row, receipt)
            return {}

        key = f"chain_transaction:{row['id']}:final"
        await self.writer.submit(Unit(row["merchant_id"], row["mode"], key, closing_locks(row), decide))

    async def _give_up(self, row: Row) -> None:
        """TRON: it expired, another may take its place. EVM: somebody else used its nonce; a person must look."""
        expired = row["expires_us"] is not None

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if _locked(view, row)["status"] != "sent":
                return {}
            note = "expired" if expired else "another transaction has its nonce"
            self._set(view, changes, row, status="expired" if expired else "failed", note=note)
            if not expired:
                settle_subject(view, changes, row, succeeded=False)
                ask(view, changes, {**row, "note": note}, "chain_nonce_used_elsewhere")
            return {}

        await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, closing_locks(row), decide))

    @staticmethod
    def _set(view: View, changes: Changes, row: Row, **columns: Any) -> None:
        changes.update("chain_transaction", (row["merchant_id"], row["id"]), **columns, updated_us=view.now_us)

    async def _submit(self, row: Row, decide: Any) -> None:
        locks = (row_lock("chain_transaction", row["merchant_id"], row["id"]),)
        await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))


def _locked(view: View, row: Row) -> Row:
    now = view.one("chain_transaction", row["merchant_id"], row["id"])
    assert now is not None, "transactions are never deleted"
    return now
