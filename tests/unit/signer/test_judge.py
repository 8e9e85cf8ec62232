"""What the signer refuses, read from the bytes alone."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.kit.chain.addresses import show_evm, show_tron
from adapters.kit.chain.evm_transaction import EvmTransaction
from adapters.kit.chain.tron_transaction import TronTransaction
from adapters.sending import AuthorizedTransfer, CallKind, ChainCall
from orchestrator.signer.approval import sign_approval
from orchestrator.signer.judge import (
    EXPIRY_GRACE_US,
    Asked,
    NotSigned,
    Purpose,
    Reading,
    Signed,
    Spent,
    assert_only_one,
    judge,
    read,
)
from orchestrator.signer.keys import Branch
from orchestrator.signer.policy import Policy
from tests.support.signing import APPROVERS, _address

EVM, TRON = "eip155:56", "tron:0x2b6653dc"
DEPOSIT, OPERATING, TREASURY, STRANGER, USDT = (bytes([n]) * 20 for n in (1, 2, 3, 4, 5))
NOTHING = Spent(0, 0)
TOKEN = {
    "decimals": 6, "sweep_day_max": "10000", "sweep_approval_above": "2000",
    "refund_max": "500", "refund_day_max": "600", "refund_approval_above": "100",
}  # fmt: skip
CHAIN = {"fee_max": "0.01", "fee_day_max": "0.05", "fuel_max": "0.02", "fuel_day_max": "0.1"}


def policy(**more: Any) -> Policy:
    show = {EVM: show_evm, TRON: show_tron}
    chains = {
        chain: {
            **CHAIN, "family": family, "coin_decimals": decimals, "destinations": [show[chain](TREASURY)],
            "tokens": {"USDT": {**TOKEN, "contract": show[chain](USDT)}},
        }
        for chain, family, decimals in ((EVM, "evm", 18), (TRON, "tron", 6))
    }  # fmt: skip
    approvers = {name: _address(secret) for name, secret in APPROVERS.items()}
    paths = {name: Path(f"/nowhere/{name}") for name in ("keys", "socket", "journal")}
    return Policy.model_validate({**paths, "approvers": approvers, "chains": chains, **more})


def token(
    recipient: bytes = TREASURY, units: int = 10**6, sender: bytes = DEPOSIT, contract: bytes = USDT
) -> ChainCall:
    return ChainCall(CallKind.TOKEN, sender, recipient, units, contract)


def reading(call: ChainCall, chain: str = EVM, **terms: int) -> Reading:
    if chain == EVM:
        given = {"chain_id": 56, "nonce": 0, "tip": 10**9, "fee": 10**9, "gas": 100_000, **terms}
        unsigned = EvmTransaction.of(call, **given).unsigned()
    else:
        times = (terms.get("expires", 2_000_000), 1_000_000)
        unsigned = TronTransaction(b"\1\2", b"\3" * 8, *times, terms.get("fee", 9_000), call).unsigned()
    return read(chain, policy().chains[chain], unsigned, call.sender)


def decide(call: ChainCall, *, spent: Spent = NOTHING, ours: bool = False, chain: str = EVM, **more: Any) -> Purpose:
    branch: Branch = "operating" if call.sender == OPERATING else "deposit"
    asked = Asked("swp_1", branch, call.sender, ours, more.pop("approvals", ()))
    return judge(policy(), reading(call, chain, **more), asked, spent)


def code(call: ChainCall, **more: Any) -> str:
    with pytest.raises(NotSigned) as refused:
        decide(call, **more)
    return refused.value.code


@pytest.mark.parametrize("chain", [EVM, TRON])
def test_a_deposit_address_pays_into_a_listed_destination(chain: str) -> None:
    assert decide(token(), chain=chain) is Purpose.SWEEP


@pytest.mark.parametrize("chain", [EVM, TRON])
def test_a_deposit_address_pays_nobody_else(chain: str) -> None:
    assert code(token(STRANGER), chain=chain) == "destination_not_listed"
    assert code(token(STRANGER), chain=chain, ours=True) == "destination_not_listed"


def test_a_token_that_is_not_listed_is_not_touched() -> None:
    assert code(token(contract=STRANGER)) == "token_not_listed"


def test_coins_leave_the_operating_wallet_for_our_own_addresses_only() -> None:
    fuel = ChainCall(CallKind.COIN, OPERATING, DEPOSIT, 10**16)
    assert decide(fuel, ours=True) is Purpose.FUEL
    assert code(fuel) == "coins_go_to_our_addresses_only"
    assert code(replace(fuel, sender=DEPOSIT), ours=True) == "coins_go_to_our_addresses_only"
    assert code(replace(fuel, raw_value=2 * 10**16 + 1), ours=True) == "amount_too_high"
    assert code(fuel, ours=True, spent=Spent(9 * 10**16 + 1, 0)) == "limit_of_the_day_reached"


def test_a_refund_has_limits_of_its_own() -> None:
    refund = token(STRANGER, 100 * 10**6, OPERATING)
    assert decide(refund) is Purpose.REFUND
    assert code(refund, spent=Spent(500 * 10**6 + 1, 0)) == "limit_of_the_day_reached"
    assert code(replace(refund, raw_value=501 * 10**6)) == "amount_too_high"


def test_an_authorised_transfer_pays_one_of_our_deposit_addresses_or_is_not_settled() -> None:
    signed = AuthorizedTransfer(STRANGER, 0, 2_000_000_000, b"\7" * 32, b"\1" * 64 + b"\x1b")
    call = ChainCall(CallKind.AUTHORIZED, OPERATING, DEPOSIT, 10**9, USDT, signed)
    assert decide(call, ours=True) is Purpose.X402
    assert code(call) == "authorization_pays_somebody_else"


def test_above_a_limit_two_different_people_approve_these_very_bytes() -> None:
    big = token(units=2000 * 10**6 + 1)
    sentence = reading(big).approval
    alice, bob = (sign_approval(sentence, secret) for secret in APPROVERS.values())
    stranger = sign_approval(sentence, b"\x5e" * 32)
    other = sign_approval(reading(big, nonce=1).approval, APPROVERS["bob"])
    for given in ((), (alice,), (alice, alice), (alice, stranger), (alice, other), (alice, b"\0" * 65), (alice, b"")):
        assert code(big, approvals=given) == "approvals_missing"
    assert decide(big, approvals=(alice, bob)) is Purpose.SWEEP
    assert decide(token(units=2000 * 10**6)) is Purpose.SWEEP


def test_a_day_has_an_end() -> None:
    assert decide(token(), spent=Spent(9999 * 10**6, 0)) is Purpose.SWEEP
    assert code(token(), spent=Spent(9999 * 10**6 + 1, 0)) == "limit_of_the_day_reached"


def test_fees_have_limits_so_that_nobody_burns_the_coins() -> None:
    assert code(token(), fee=10**11 + 1) == "fee_too_high"
    assert code(token(), spent=Spent(0, 5 * 10**16)) == "fees_of_the_day_spent"
    assert code(token(), chain=TRON, fee=10_001) == "fee_too_high"


def test_bytes_of_another_chain_are_not_signed() -> None:
    with pytest.raises(NotSigned, match="chain_differs"):
        reading(token(), chain_id=1)


def test_bytes_of_another_owner_are_not_signed_on_tron() -> None:
    unsigned = TronTransaction(b"\1\2", b"\3" * 8, 2, 1, 0, token(sender=STRANGER)).unsigned()
    with pytest.raises(NotSigned, match="sender_differs"):
        read(TRON, policy().chains[TRON], unsigned, DEPOSIT)


def earlier(one: Reading, reference: str = "swp_1", **changes: Any) -> Signed:
    made = Signed(reference, one.chain, one.call.sender, one.nonce, one.expires_us, one.unsigned)
    return replace(made, **changes)


def only(one: Reading, before: list[Signed], now_us: int = 0, reference: str = "swp_1") -> str | None:
    try:
        assert_only_one(one, Asked(reference, "deposit", one.call.sender, False), before, now_us)
    except NotSigned as refused:
        return refused.code
    return None


def test_one_thing_has_one_transaction_for_ever_on_a_chain_with_nonces() -> None:
    first, second = reading(token()), reading(token(), nonce=1)
    assert only(first, [earlier(first)]) is None
    assert only(second, [earlier(first)], now_us=10**18) == "already_signed_another"


def test_a_nonce_is_signed_once() -> None:
    first, second = reading(token()), reading(token(units=5))
    assert only(second, [earlier(first)], reference="swp_2") == "nonce_used"
    assert only(first, [earlier(first)], reference="swp_2") == "nonce_used"


def test_two_addresses_may_have_the_very_same_bytes_but_not_each_others_approvals() -> None:
    """Unsigned EVM bytes do not name their sender."""
    big = token(units=3000 * 10**6)
    here, there = reading(big), reading(replace(big, sender=STRANGER))
    assert here.unsigned == there.unsigned
    approvals = [sign_approval(there.approval, secret) for secret in APPROVERS.values()]
    assert code(big, approvals=approvals) == "approvals_missing"
    assert only(here, [earlier(there, "swp_2")]) is None


def test_on_tron_another_may_follow_only_when_the_first_can_no_longer_be_mined() -> None:
    first, second = reading(token(), TRON, expires=2_000_000), reading(token(), TRON, expires=9_000_000)
    end_us = 2_000_000_000 + EXPIRY_GRACE_US
    assert only(second, [earlier(first)], now_us=end_us - 1) == "already_signed_another"
    assert only(second, [earlier(first)], now_us=end_us) is None
    assert only(second, [earlier(first)], reference="swp_2") is None


def test_limits_are_exact() -> None:
    found = policy().chains[EVM].tokens["USDT"]
    assert (found.sweep_day_max, found.refund_max) == (Decimal(10000), Decimal(500))


def test_a_destination_that_is_mistyped_is_refused() -> None:
    bad = show_evm(bytes.fromhex("9858effd232b4033e47d90003d41ec34ecaeda94")).replace("E", "e", 1)
    with pytest.raises(ValueError, match="EIP-55"):
        policy(chains={EVM: {**CHAIN, "family": "evm", "coin_decimals": 18, "destinations": [bad], "tokens": {}}})
