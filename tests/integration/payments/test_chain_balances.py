"""Balances of addresses against the books: what no log showed is found, and a block that came meanwhile is no finding."""

from __future__ import annotations

import pytest

from orchestrator.database import tables
from orchestrator.payments.chain_balances import ChainBalances
from tests.integration.payments.chain_scene import CONFIRMATIONS, ChainScene, opened_chain, pay


@pytest.fixture
def url(migrated_database_url: str) -> str:
    return migrated_database_url


def balances(scene: ChainScene, batch: int = 200) -> ChainBalances:
    return ChainBalances(scene.chain, scene.chain, scene.writer, scene.reads, batch)


async def test_what_the_books_know_lies_there(url: str) -> None:
    async with opened_chain(url) as scene:
        looks = balances(scene, 2)
        for customer in ("one", "two", "three"):
            address, attempt = await scene.awaiting(customer=customer)
            scene.chain.mine(pay(address, attempt["units"], 3))
        scene.chain.mine(pay(scene.chain.derive_address(9), 7_000_000), count=CONFIRMATIONS)
        await scene.look()
        for _ in range(6):
            assert await looks.run_once() == []
        assert await scene.all(tables.Review) == []


async def test_tokens_that_came_without_a_log_are_found_and_told_once(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        scene.chain.mine(pay(address, attempt["units"]))
        await scene.look()
        scene.chain.issued_without_a_log[address] = -attempt["units"]  # destroyBlackFunds
        looks = balances(scene)
        assert await looks.run_once() == [], "once is a block that came meanwhile"
        (found, _) = await looks.run_once()  # of each of the two tokens of this chain
        assert (found.found, found.known) == (0, attempt["units"])
        for _ in range(4):
            await looks.run_once()
        reviews = [row for row in await scene.all(tables.Review) if row["reason"] == "address_balance_differs"]
        assert len(reviews) == 2
        assert {row["merchant_id"] for row in reviews} == {"platform"}


async def test_a_transfer_that_is_not_scanned_yet_is_no_finding(url: str) -> None:
    async with opened_chain(url) as scene:
        address, attempt = await scene.awaiting()
        looks = balances(scene)
        scene.chain.mine(pay(address, attempt["units"]))
        assert await looks.run_once() == []
        await scene.look()
        for _ in range(3):
            assert await looks.run_once() == []
