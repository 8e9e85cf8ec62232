"""The inbox: what nobody is credited for by guess, and what a person may do with it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.base import BlockScan, UnknownTransfer
from orchestrator.database import tables
from orchestrator.errors import Conflict, NotFound
from orchestrator.payments.allotment import Allotment, Decided
from tests.integration.payments.chain_scene import (
    ACCOUNT,
    CONFIRMATIONS,
    RAIL,
    TOKENS,
    ChainScene,
    ScriptedChain,
    opened_chain,
    pay,
)

BY = Decided("ops", "the customer showed the transaction")


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


def desk(scene: ChainScene) -> Allotment:
    return Allotment(scene.writer, scene.reads, scene.deposits.desk, {(RAIL, ACCOUNT): scene.chain})


async def test_a_transfer_to_an_address_without_an_owner_waits_for_a_person_who_credits_it_once(url: str) -> None:
    async with opened_chain(url) as scene:
        _, attempt = await scene.awaiting()
        nobody = scene.chain.derive_address(7)  # ours by its key, given to nobody
        paid = pay(nobody, 30_000_000)
        scene.chain.mine(paid)
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        (item,) = await desk(scene).inbox()
        assert (item["reason"], item["amount"]) == ("unknown_recipient", {"amount": "30.000000", "currency": "USDT"})
        assert await scene.all(tables.Deposit) == []
        with pytest.raises(Conflict, match="say whose wallet"):
            await desk(scene).credit(item["id"], BY)
        credited = await desk(scene).credit(item["id"], BY, attempt["wallet_id"])
        assert (credited["status"], credited["note"], credited["decided_by"]) == ("credited", BY.reason, "ops")
        with pytest.raises(Conflict):
            await desk(scene).credit(item["id"], BY, attempt["wallet_id"])
        await scene.look()
        assert [state for _, state in await scene.deposit_states()] == ["credited"]
        assert await scene.credited() > 29 * 10**9
        assert await desk(scene).inbox() == []
        await scene.assert_sound()
        scene.chain.drop(CONFIRMATIONS + 1)  # after it was allotted, it is mined again in another block
        scene.chain.mine(count=2)
        scene.chain.mine(paid)
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert [state for _, state in await scene.deposit_states()] == ["credited"]
        await scene.assert_sound()


async def test_an_unknown_token_is_recorded_and_never_credited(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine()
        last: BlockScan = scene.chain.blocks[-1]
        fake = UnknownTransfer("0x" + "fa" * 32, 0, b"\x99" * 20, b"\x0b" * 20, address, 20_000_000)
        scene.chain.blocks[-1] = replace(last, unknown=(fake,))
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        (item,) = await desk(scene).inbox()
        assert (item["reason"], item["amount"], item["wallet"]) == ("unknown_token", None, attempt["wallet_id"])
        assert await scene.credited() == 0
        with pytest.raises(Conflict, match="names"):
            await desk(scene).credit(item["id"], BY)
        ignored = await desk(scene).settle_without_credit(item["id"], Decided("ops", "a fake token"), "ignored")
        assert (ignored["status"], ignored["note"]) == ("ignored", "a fake token")
        assert await desk(scene).inbox() == []
        assert (await scene.payment(attempt))["status"] == "awaiting_payment"


async def test_a_stray_that_falls_away_is_not_there_to_be_decided(url: str) -> None:
    async with opened_chain(url) as scene:
        _, attempt = await scene.awaiting()
        scene.chain.mine(pay(scene.chain.derive_address(3), 5_000_000))
        await scene.look()
        (item,) = await desk(scene).inbox()
        scene.chain.drop(1)
        scene.chain.mine(count=3)
        await scene.look()
        assert await desk(scene).inbox() == []
        with pytest.raises(Conflict, match="orphaned"):
            await desk(scene).credit(item["id"], BY, attempt["wallet_id"])


async def test_a_deposit_in_suspense_is_credited_at_the_rate_of_the_day_or_left_with_a_reason(url: str) -> None:
    async with opened_chain(url) as scene:
        address, _ = await scene.awaiting()
        scene.chain.mine(pay(address, 10_000_000, token=TOKENS[1]), pay(address, 11_000_000, token=TOKENS[1]))
        scene.chain.mine(count=CONFIRMATIONS)
        await scene.look()
        one, two = (item["id"] for item in await desk(scene).inbox())
        with pytest.raises(Conflict, match="no_rate"):
            await desk(scene).credit(one, BY)
        planned = await desk(scene).settle_without_credit(two, Decided("ops", "send it back"), "refund_planned")
        assert planned["status"] == "refund_planned"
        with pytest.raises(NotFound):
            await desk(scene).credit("dep_of_nobody", BY)
        reviews = await scene.all(tables.Review)
        assert sorted(row["status"] for row in reviews) == ["open", "resolved"]
        held = await scene.all(tables.Account, code="suspense")
        assert sum(-row["balance"] for row in held) == 21_000_000, "a plan moves no money"


async def test_a_deposit_in_suspense_is_credited_once_its_token_has_a_rate(url: str) -> None:
    chain = ScriptedChain()
    async with opened_chain(url, chain) as scene:
        address, _ = await scene.awaiting()
        chain.mine(pay(address, 10_000_000, token=TOKENS[1]))
        chain.mine(count=CONFIRMATIONS)
        await scene.look()
        assert [state for _, state in await scene.deposit_states()] == ["unallocated"]
    known = {"as_of": "2026-11-20", "reason": "for tests"}
    rates = {"USD-USDT": {"rate": "1", **known}, "USD-ODD": {"rate": "2", **known}}
    market = {"sources": {"fixed": {"rates": rates}}, "minimum_sources": {"default": 1}}
    async with opened_chain(url, chain, market=market) as scene:
        (item,) = await desk(scene).inbox()
        shown = await desk(scene).credit(item["id"], BY)
        assert shown["status"] == "credited"
        assert 4 * 10**9 < await scene.credited() < 5 * 10**9, "two of them are a dollar"
        assert sum(row["balance"] for row in await scene.all(tables.Account, code="suspense")) == 0
        (review,) = await scene.all(tables.Review)
        assert review["status"] == "resolved"
        assert BY.reason in review["evidence"]
        with pytest.raises(Conflict):
            await desk(scene).credit(item["id"], BY)
        await scene.assert_sound()
        chain.drop(CONFIRMATIONS + 1)
        chain.mine(count=CONFIRMATIONS + 3)
        await scene.look()
        assert await scene.credited() == 0
        await scene.assert_books()
