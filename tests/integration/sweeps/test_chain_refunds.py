"""Refunds on a real EVM node: only to an address that the customer proved, once, within the signer's limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.kit.chain.addresses import show_evm
from orchestrator.database import tables
from orchestrator.errors import Conflict, Invalid
from orchestrator.ledger.check import check
from orchestrator.payments.refund_book import RefundWanted as Asked
from orchestrator.payments.refund_watch import RefundWatch
from orchestrator.sweeps.refunds import RefundWanted
from rates.money import Asset, Money
from tests.integration.sweeps.scene import NETWORK, OPERATING, ChainScene, chain_scene
from tests.support.world import MERCHANT, MODE

pytestmark = pytest.mark.anvil
CUSTOMER = b"\x99" * 20
PROOF = {"by": "signature"}


@asynccontextmanager
async def refunding(url: str, folder: Path, anvil_url: str, **more: Any) -> AsyncIterator[tuple[ChainScene, str]]:
    async with chain_scene(url, folder, anvil_url, **more) as scene:
        await scene.real.transfer(OPERATING, 1000 * 10**6)
        object.__setattr__(scene.services.chain_refunds, "cool_off_h", 0)
        yield scene, (await scene.wallet("a"))["id"]


def wanted(scene: ChainScene, wallet: str, usdt: int, refund_id: str = "ref_1") -> RefundWanted:
    amount = Money(usdt * 10**6, Asset("USDT", 6))
    return RefundWanted(refund_id, MERCHANT, MODE, wallet, NETWORK, bytes.fromhex(scene.real.token[2:]), amount)


async def confirm(scene: ChainScene, wallet: str, address: bytes = CUSTOMER) -> None:
    await scene.services.chain_refunds.confirm_address(
        MERCHANT, MODE, wallet, network=NETWORK, address=show_evm(address), proof=PROOF
    )


async def test_a_refund_goes_once_to_the_address_that_was_proven(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with refunding(migrated_database_url, tmp_path, anvil_url) as (scene, wallet):
        refunds = scene.services.chain_refunds
        with pytest.raises(Conflict, match="not proven"):
            await refunds.begin(wanted(scene, wallet, 30))
        await confirm(scene, wallet)
        for _ in range(2):
            assert (await refunds.begin(wanted(scene, wallet, 30)))["status"] == "moving"
        await scene.finish()
        assert (await refunds.begin(wanted(scene, wallet, 30)))["status"] == "done"
        assert await scene.tokens(CUSTOMER) == 30_000_000
        assert await scene.balances("fx:position") == 30_000_000
        assert len(await scene.all(tables.ChainTransaction)) == 1


async def test_a_payment_in_tokens_goes_back_to_the_confirmed_address_and_its_credit_with_it(
    migrated_database_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with refunding(migrated_database_url, tmp_path, anvil_url) as (scene, _):
        services = scene.services
        session = await scene.world.session("NG", "20.00", reference="payer")
        chosen = await scene.world.select(session)
        action = chosen["next_action"]
        assert action["chain"] == "eip155:31337"
        await scene.real.transfer(
            bytes.fromhex(action["address"][2:]), int(Decimal(action["amount"]["amount"]) * 10**6)
        )
        await scene.finalize()
        await scene.watch()
        (payment,) = await scene.all(tables.Payment, session_id=session["id"])
        assert payment["status"] == "credited"
        await confirm(scene, payment["wallet_id"])
        asked = Asked(
            "ref_chain", MERCHANT, MODE, payment["id"], 5 * 10**9, "no use for it", "address", False, "key:test"
        )
        row = await services.refunds.request(asked)
        assert row["status"] == "sent"
        await scene.finish()
        await RefundWatch(services.refunds)._look_at_chain(row)
        (row,) = await scene.all(tables.Refund)
        assert row["status"] == "succeeded"
        assert await scene.tokens(CUSTOMER) == row["local_units"] > 5_000_000
        (payment,) = await scene.all(tables.Payment, session_id=session["id"])
        assert (payment["status"], payment["refunded_units"]) == ("partially_refunded", 5 * 10**9)
        report = await check(services.reads)
        assert report.ok, report.findings


async def test_a_new_address_cools_off_first(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with refunding(sqlite_url, tmp_path, anvil_url) as (scene, wallet):
        object.__setattr__(scene.services.chain_refunds, "cool_off_h", 24)
        await confirm(scene, wallet)
        with pytest.raises(Conflict, match="24 hours"):
            await scene.services.chain_refunds.begin(wanted(scene, wallet, 30))
        assert await scene.all(tables.ChainTransaction) == []


async def test_an_address_of_the_house_is_nobodys(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with refunding(sqlite_url, tmp_path, anvil_url) as (scene, wallet):
        ours = await scene.address(await scene.wallet("b"))
        for address in (ours, OPERATING, bytes.fromhex(scene.real.token[2:]), bytes(20)):
            with pytest.raises(Invalid, match="nobody's"):
                await confirm(scene, wallet, address)


async def test_what_the_wallet_does_not_hold_is_refused_before_anything_is_stored(
    sqlite_url: str, tmp_path: Path, anvil_url: str
) -> None:
    async with refunding(sqlite_url, tmp_path, anvil_url) as (scene, wallet):
        await confirm(scene, wallet)
        with pytest.raises(Conflict, match="the token says no"):
            await scene.services.chain_refunds.begin(wanted(scene, wallet, 5000))
        assert await scene.all(tables.ChainRefund) == []


async def test_above_the_signers_limit_it_waits(sqlite_url: str, tmp_path: Path, anvil_url: str) -> None:
    async with refunding(sqlite_url, tmp_path, anvil_url, limits={"refund_max": "20"}) as (scene, wallet):
        await confirm(scene, wallet)
        await scene.services.chain_refunds.begin(wanted(scene, wallet, 30))
        await scene.services.sweeps.run_once()
        (row,) = await scene.all(tables.ChainTransaction)
        assert row["status"] == "built"
        assert "amount_too_high" in row["note"]
        assert await scene.tokens(CUSTOMER) == 0
