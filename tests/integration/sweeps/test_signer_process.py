"""The signer as it runs: a process of its own behind a Unix socket, with files that nobody else may touch."""

from __future__ import annotations

import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapters.kit.chain import evm_transaction
from adapters.kit.chain.addresses import DepositAddresses, show_evm
from adapters.kit.chain.evm_transaction import EvmTransaction
from adapters.sending import CallKind, ChainCall
from orchestrator.signer.client import KeyOf, SignerAway, SignerRefused
from tests.support.processes import CROSSRAIL, ProcessFailed, running
from tests.support.signing import SignerFiles, account_xprv, node, short_folder, signer_process

TREASURY, USDT = b"\x03" * 20, b"\x05" * 20
DEPOSIT = node("evm").child(0).child(7).address
CHAINS = {
    "eip155:56": {
        "family": "evm", "coin_decimals": 18, "fee_max": "0.01", "fee_day_max": "0.05", "fuel_max": "0.02",
        "fuel_day_max": "0.1", "destinations": [show_evm(TREASURY)],
        "tokens": {"USDT": {"contract": show_evm(USDT), "decimals": 6, "sweep_day_max": "100",
                            "sweep_approval_above": "50"}},
    }
}  # fmt: skip
XPUB = "xpub6DCoCpSuQZB2jawqnGMEPS63ePKWkwWPH4TU45Q7LPXWuNd8TMtVxRrgjtEshuqpK3mdhaWHPFsBngh5GFZaM6si3yZdUsT8ddYM3PwnATt"


@pytest.fixture
async def files() -> AsyncIterator[SignerFiles]:
    async with short_folder() as folder:
        yield SignerFiles(folder).write(CHAINS)


def unsigned(units: int = 40_000_000, nonce: int = 0) -> bytes:
    call = ChainCall(CallKind.TOKEN, DEPOSIT, TREASURY, units, USDT)
    return EvmTransaction.of(call, chain_id=56, nonce=nonce, tip=10**9, fee=10**9, gas=100_000).unsigned()


async def sign(files: SignerFiles, raw: bytes, reference: str = "swp_1", **more: Any) -> bytes:
    return await files.client.sign(
        chain="eip155:56", reference=reference, key=KeyOf("deposit", 7), unsigned=raw, **more
    )


def test_the_private_half_leads_to_the_addresses_of_the_public_half() -> None:
    public = DepositAddresses(XPUB)
    for index in (0, 7, 2**31 - 1):
        assert node("evm").child(0).child(index).address == public.derive(index)


async def test_what_is_signed_is_what_was_asked_for_by_the_right_key(files: SignerFiles) -> None:
    async with signer_process(files):
        signed = await sign(files, unsigned())
        assert evm_transaction.read_signed(signed) == (evm_transaction.read_unsigned(unsigned()), DEPOSIT)
        assert await sign(files, unsigned()) == signed
        assert stat.S_IMODE(files.socket.stat().st_mode) == 0o600
        shown = await files.client.addresses()
        assert bytes.fromhex(shown["evm"]["deposit_0"]) == DepositAddresses(XPUB).derive(0)


async def test_limits_and_promises_outlive_the_process(files: SignerFiles) -> None:
    async with signer_process(files) as process:
        first = await sign(files, unsigned())
        await process.kill()
    async with signer_process(files):
        assert await sign(files, unsigned()) == first
        with pytest.raises(SignerRefused, match="already_signed_another"):
            await sign(files, unsigned(nonce=1))
        with pytest.raises(SignerRefused, match="nonce_used"):
            await sign(files, unsigned(units=1), reference="swp_2")
        await sign(files, unsigned(nonce=1), reference="swp_3")
        with pytest.raises(SignerRefused, match="limit_of_the_day_reached"):
            await sign(files, unsigned(nonce=2), reference="swp_4")


async def test_two_addresses_can_have_the_very_same_bytes(files: SignerFiles) -> None:
    async with signer_process(files):
        key = KeyOf("deposit", 8)
        first = await sign(files, unsigned(1))
        second = await files.client.sign(chain="eip155:56", reference="swp_2", key=key, unsigned=unsigned(1))
        assert first != second
        assert evm_transaction.read_signed(second)[1] == node("evm").child(0).child(8).address


async def test_a_second_signer_on_the_same_journal_does_not_start(files: SignerFiles) -> None:
    async with signer_process(files):
        await fails_with(files, "another signer may run")
        await sign(files, unsigned())  # the first one is still there


async def test_without_a_signer_nothing_is_known(files: SignerFiles) -> None:
    with pytest.raises(SignerAway, match="is `crossrail signer` running"):
        await sign(files, unsigned())


async def fails_with(files: SignerFiles, words: str, **environment: str) -> None:
    command: list[str | Path] = [CROSSRAIL, "signer", "--policy", files.policy]
    async with running(command, folder=files.folder, environment=environment) as process:
        with pytest.raises(ProcessFailed, match="ended with 2") as failed:
            await process.wait_for_line("listens on")
    assert words in str(failed.value)
    assert account_xprv("evm") not in str(failed.value)


async def test_keys_that_others_can_read_are_refused(files: SignerFiles) -> None:
    files.keys.chmod(0o640)
    await fails_with(files, "chmod 600")


async def test_a_policy_that_others_can_change_is_refused(files: SignerFiles) -> None:
    files.policy.chmod(0o666)
    await fails_with(files, "chmod go-w")


async def test_it_does_not_start_in_the_servers_environment(files: SignerFiles) -> None:
    await fails_with(files, "a process apart", CROSSRAIL_DATABASE="sqlite+aiosqlite:///x.db")


async def test_a_key_file_that_is_wrong_is_not_printed(files: SignerFiles) -> None:
    files.keys.write_text(f"accounts: {{evm: {account_xprv('evm')[:-1]}}}\n")
    await fails_with(files, "checksum")


async def test_approving_shows_what_it_is_for(files: SignerFiles) -> None:
    key = files.folder / "alice.key"
    _write_private(key, "a1" * 32)
    command: list[str | Path] = [CROSSRAIL, "signer", "approve", "--policy", files.policy, "--chain", "eip155:56", "--key-file", key,
               "--sender", show_evm(DEPOSIT),
               unsigned(60_000_000).hex()]  # fmt: skip
    async with running(command, folder=files.folder) as process:
        line = await process.wait_for_line("signature")
        assert any(TREASURY.hex() in one for one in process.output)
    alice = line.split()[-1]
    async with signer_process(files):
        with pytest.raises(SignerRefused, match="1 of 2 people"):
            await sign(files, unsigned(60_000_000), approvals=(alice,))


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
