"""Whether a transaction may be signed: decided from its own bytes, the policy and what was signed before. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from eth_hash.auto import keccak

from adapters.kit.chain import evm_transaction, tron_transaction
from adapters.kit.chain.evm_transaction import NotATransaction
from adapters.kit.chain.signatures import BadSignature
from adapters.sending import CallKind, ChainCall
from orchestrator.signer.approval import approver_of
from orchestrator.signer.keys import Branch
from orchestrator.signer.policy import ChainPolicy, Policy, TokenPolicy, raw

EXPIRY_GRACE_US = 10 * 60 * 1_000_000
"""After a TRON transaction's end, before another may take its place: clocks and the solidified head differ."""


class Purpose(StrEnum):
    FUEL = "fuel"
    SWEEP = "sweep"
    REFUND = "refund"
    X402 = "x402"


class NotSigned(Exception):
    """The policy says no. ``code`` is stable."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Reading:
    """What the bytes say, read here and from nothing else."""

    chain: str
    unsigned: bytes
    call: ChainCall
    fee_max: int
    """Raw units of the coin."""
    nonce: int | None
    expires_us: int | None

    @property
    def digest(self) -> bytes:
        """What the key signs."""
        return keccak(self.unsigned) if self.nonce is not None else hashlib.sha256(self.unsigned).digest()

    @property
    def approval(self) -> str:
        """The sentence that an approver signs (EIP-191). It names the sender: the bytes of an EVM transaction do not."""
        return f"Crossrail: I approve on {self.chain} from {self.call.sender.hex()} the transaction {self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Signed:
    """One earlier signature, as the journal has it."""

    reference: str
    chain: str
    sender: bytes
    nonce: int | None
    expires_us: int | None
    unsigned: bytes


@dataclass(frozen=True, slots=True)
class Spent:
    """What was signed on one UTC day on one chain, in raw units: of the token (or coin) for the purpose, and in fees."""

    moved: int
    fees: int


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is to sign, and what the asker says about it. Nothing of it is believed; it only says where to look."""

    reference: str
    branch: Branch
    sender: bytes
    """Derived here from the branch and index that were asked for."""
    recipient_is_ours: bool
    """The recipient is the deposit address of the index that was named, derived here."""
    approvals: Sequence[bytes] = ()


def read(chain: str, policy: ChainPolicy, unsigned: bytes, sender: bytes) -> Reading:
    """Read what the bytes do when this address signs them. Raises NotSigned."""
    try:
        if policy.family == "evm":
            found = evm_transaction.read_unsigned(unsigned)
            if f"eip155:{found.chain_id}" != chain:
                raise NotSigned("chain_differs", f"the bytes are of chain {found.chain_id}, not of {chain}")
            return Reading(chain, unsigned, found.call(sender), found.fee_max, found.nonce, None)
        tron = tron_transaction.read_unsigned(unsigned)
    except NotATransaction as error:
        raise NotSigned("bytes_not_understood", str(error)) from None
    if tron.call.sender != sender:
        raise NotSigned("sender_differs", "the bytes spend from another address than the key's")
    return Reading(chain, unsigned, tron.call, tron.fee_max, None, tron.expiration_ms * 1000)


def purpose_of(reading: Reading, policy: ChainPolicy, asked: Asked) -> Purpose:
    """Say what a transaction is for, by what it does. Raises NotSigned where that is nothing of ours."""
    call, operating = reading.call, asked.branch == "operating"
    if call.kind is CallKind.COIN:
        if operating and asked.recipient_is_ours:
            return Purpose.FUEL
        raise NotSigned("coins_go_to_our_addresses_only", "coins leave the operating wallet for a deposit address only")
    if policy.token(call.contract) is None:
        raise NotSigned("token_not_listed", "the policy does not name this contract")
    if call.kind is CallKind.AUTHORIZED:
        if operating and asked.recipient_is_ours:
            return Purpose.X402
        raise NotSigned("authorization_pays_somebody_else", "an authorised transfer pays one of our deposit addresses")
    if policy.is_destination(call.recipient):
        return Purpose.SWEEP
    if operating:
        return Purpose.REFUND
    raise NotSigned("destination_not_listed", "a deposit address pays into a listed destination only")


def judge(policy: Policy, reading: Reading, asked: Asked, spent: Spent) -> Purpose:
    """Decide. Raises NotSigned. ``spent``: of today, for the purpose and asset of this transaction."""
    chain = policy.chains[reading.chain]
    purpose = purpose_of(reading, chain, asked)
    decimals = chain.coin_decimals
    if reading.fee_max > raw(chain.fee_max, decimals):
        raise NotSigned("fee_too_high", f"it may cost {reading.fee_max}, the limit is {raw(chain.fee_max, decimals)}")
    if spent.fees + reading.fee_max > raw(chain.fee_day_max, decimals):
        raise NotSigned("fees_of_the_day_spent", "the fees of today would exceed fee_day_max")
    value = reading.call.raw_value
    match purpose:
        case Purpose.FUEL:
            _within(value, spent, raw(chain.fuel_max, decimals), raw(chain.fuel_day_max, decimals))
        case Purpose.X402:
            return purpose  # money comes in: only the fee is ours
        case Purpose.SWEEP | Purpose.REFUND:
            found = chain.token(reading.call.contract)
            assert found is not None, "purpose_of has looked"
            above = _token_limits(purpose, found[1], value, spent)
            if value > above:
                _assert_approved(policy, reading, asked.approvals)
    return purpose


def _token_limits(purpose: Purpose, token: TokenPolicy, value: int, spent: Spent) -> int:
    """Return above which value two people must approve. Raises NotSigned."""
    if purpose is Purpose.SWEEP:
        _within(value, spent, value, raw(token.sweep_day_max, token.decimals))
        return raw(token.sweep_approval_above, token.decimals)
    _within(value, spent, raw(token.refund_max, token.decimals), raw(token.refund_day_max, token.decimals))
    return raw(token.refund_approval_above, token.decimals)


def _within(value: int, spent: Spent, once: int, day: int) -> None:
    if value > once:
        raise NotSigned("amount_too_high", f"{value} at once, the limit is {once}")
    if spent.moved + value > day:
        raise NotSigned("limit_of_the_day_reached", f"{spent.moved} today and {value} now, the limit is {day}")


def approver_addresses(reading: Reading, approvals: Collection[bytes]) -> frozenset[bytes]:
    """Return who signed the approval of exactly these bytes."""
    found = set()
    for signature in approvals:
        try:
            found.add(approver_of(reading.approval, signature))
        except BadSignature:
            continue  # nobody's approval
    return frozenset(found)


def _assert_approved(policy: Policy, reading: Reading, approvals: Collection[bytes]) -> None:
    known = {bytes.fromhex(text[2:]) for text in policy.approvers.values()}
    given = approver_addresses(reading, approvals) & known
    if len(given) < policy.approvals_needed:
        raise NotSigned(
            "approvals_missing", f"{len(given)} of {policy.approvals_needed} people have signed: {reading.approval}"
        )


def assert_only_one(reading: Reading, asked: Asked, earlier: Sequence[Signed], now_us: int) -> None:
    """Refuse a second transaction for the same purpose, or with the same nonce. Raises NotSigned.

    ``earlier``: whatever was signed before for this reference, or with this sender and nonce on this chain.
    """
    for one in earlier:
        if (one.unsigned, one.reference, one.sender) == (reading.unsigned, asked.reference, asked.sender):
            continue
        if (one.chain, one.sender, one.nonce) == (reading.chain, asked.sender, reading.nonce) and one.nonce is not None:
            raise NotSigned("nonce_used", f"nonce {one.nonce} of this address was signed for {one.reference}")
        if one.reference != asked.reference:
            continue
        if one.expires_us is None or one.expires_us + EXPIRY_GRACE_US > now_us:
            raise NotSigned("already_signed_another", f"{asked.reference} has a signed transaction that can be mined")
