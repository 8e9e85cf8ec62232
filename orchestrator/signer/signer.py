"""Asked for a signature: derive, read, judge, remember, sign. One after the other."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import structlog
from pydantic import BaseModel, ConfigDict, Field

from adapters.kit.chain import evm_transaction, tron_transaction
from orchestrator.clock import Clock
from orchestrator.signer.journal import Journal
from orchestrator.signer.judge import Asked, NotSigned, Reading, assert_only_one, judge, purpose_of, read
from orchestrator.signer.keys import BadKey, Branch, Keys, PrivateNode
from orchestrator.signer.policy import ChainPolicy, Policy

BYTES_MAX = 4096
_log = structlog.get_logger("signer")

Hex = Field(pattern=r"^([0-9a-f]{2})*$", max_length=2 * BYTES_MAX)


class SignRequest(BaseModel):
    """What is asked for. The bytes decide; the rest says which key and where to look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chain: str = Field(max_length=64)
    reference: str = Field(pattern=r"^[a-z0-9_]{1,80}$")
    """What it is for, such as a sweep's id: one transaction each."""
    branch: Branch
    index: int = Field(ge=0, lt=2**31)
    recipient_index: int | None = Field(default=None, ge=0, lt=2**31)
    """The deposit address that is paid, where it is one of ours."""
    unsigned: str = Hex
    approvals: tuple[str, ...] = Field(default=(), max_length=10)


@dataclass(frozen=True, slots=True)
class Signer:
    policy: Policy
    keys: Keys = field(repr=False)
    journal: Journal
    clock: Clock
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def sign(self, wanted: SignRequest) -> bytes:
        """Return the signed bytes; the same again for the same request. Raises NotSigned."""
        async with self._turn:  # limits are read and written as one step
            return await asyncio.to_thread(self._sign, wanted)

    def _sign(self, wanted: SignRequest) -> bytes:
        chain = self._chain(wanted)
        key, asked, reading = self._read(chain, wanted)
        done = self.journal.found(reading, asked)
        if done is not None:
            return done
        now_us = self.clock.now_us()
        try:
            assert_only_one(reading, asked, self.journal.earlier(reading, asked), now_us)
            spent = self.journal.spent(reading, purpose_of(reading, chain, asked), now_us)
            purpose = judge(self.policy, reading, asked, spent)
        except NotSigned as no:
            _log.warning("not_signed", chain=wanted.chain, reference=wanted.reference, code=no.code)
            raise
        signature = key.sign(reading.digest)
        if chain.family == "evm":
            signed = evm_transaction.read_unsigned(reading.unsigned).signed(signature)
        else:
            signed = tron_transaction.read_unsigned(reading.unsigned).signed(signature)
        self.journal.write(reading, asked, purpose, signed, now_us)
        _log.info("signed", chain=wanted.chain, reference=wanted.reference, purpose=purpose.value,
                  value=str(reading.call.raw_value), fee_max=str(reading.fee_max))  # fmt: skip
        return signed

    def _chain(self, wanted: SignRequest) -> ChainPolicy:
        chain = self.policy.chains.get(wanted.chain)
        if chain is None:
            raise NotSigned("chain_not_listed", f"the policy does not name {wanted.chain}")
        return chain

    def _read(self, chain: ChainPolicy, wanted: SignRequest) -> tuple[PrivateNode, Asked, Reading]:
        try:
            key = self.keys.at(chain.family, wanted.branch, wanted.index)
            ours = None
            if wanted.recipient_index is not None:
                ours = self.keys.at(chain.family, "deposit", wanted.recipient_index).address
            approvals = [bytes.fromhex(text.removeprefix("0x")) for text in wanted.approvals]
        except BadKey as error:
            raise NotSigned("no_such_key", str(error)) from None
        except ValueError:
            raise NotSigned("approval_not_understood", "an approval is 65 bytes in hex") from None
        sender = key.address
        reading = read(wanted.chain, chain, bytes.fromhex(wanted.unsigned), sender)
        asked = Asked(wanted.reference, wanted.branch, sender, reading.call.recipient == ours, approvals)
        return key, asked, reading
