"""Both chain rails through one suite: what a block says is what is credited, no more and no less."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest

from adapters.base import RailAdapter, ScansChain
from tests.adapters.chains.bench import LOOKALIKE, USDC, Bench, chain


@pytest.fixture(params=["evm", "tron"])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    async with chain(request.param) as made:
        yield made


async def test_a_payment_is_seen_with_its_amount_parties_and_block(bench: Bench) -> None:
    tx_hash = await bench.pay(bench.ours(), "20.00")
    scanned = await bench.scan()
    (transfer,) = scanned.transfers
    assert scanned.chain == bench.rail.chain
    assert scanned.header.timestamp == bench.clock.instant
    assert (transfer.tx_hash, transfer.recipient, transfer.token.asset.code) == (tx_hash, bench.ours(), "USDT")
    assert (transfer.amount.units, transfer.raw_value, transfer.remainder) == (20_000_000, 20_000_000, 0)
    assert transfer.sender == b"\x0b" * 20


async def test_an_empty_block_is_a_scan_without_transfers(bench: Bench) -> None:
    await bench.control(mine=1)
    assert (await bench.scan()).transfers == ()


async def test_a_block_that_is_not_there_yet_is_none(bench: Bench) -> None:
    ahead = (await bench.rail.head()).latest + 1
    assert await bench.rail.header(ahead) is None
    assert await bench.rail.scan_block(ahead, lambda _: True) is None


async def test_payments_to_others_are_not_ours(bench: Bench) -> None:
    await bench.pay(bench.ours(1))
    assert (await bench.scan(bench.ours(0))).transfers == ()


async def test_two_customers_paid_in_one_block_are_both_seen(bench: Bench) -> None:
    for index in (0, 1):
        await bench.control(
            pay={"token": "USDT", "to": bench.rail.show_address(bench.ours(index)), "amount": f"{index + 1}"}
        )
    await bench.control(mine=1)
    transfers = (await bench.scan(bench.ours(0), bench.ours(1))).transfers
    assert [(t.recipient, t.amount.units) for t in transfers] == [
        (bench.ours(0), 1_000_000),
        (bench.ours(1), 2_000_000),
    ]


async def test_the_second_token_is_told_apart_by_its_contract(bench: Bench) -> None:
    await bench.pay(bench.ours(), "3.00", token="USDC")
    transfer = await bench.only_transfer()
    assert transfer.amount.asset.code == "USDC"
    assert bench.rail.show_address(transfer.token.contract) == USDC[bench.family]


async def test_a_lookalike_contract_is_ignored(bench: Bench) -> None:
    await bench.pay(bench.ours(), "1000.00", token=LOOKALIKE)
    assert (await bench.scan()).transfers == ()


async def test_two_transfers_in_one_transaction_are_two_deposits(bench: Bench) -> None:
    tx_hash = await bench.pay(bench.ours(), "5.00", transfers=2)
    transfers = (await bench.scan()).transfers
    assert [(t.tx_hash, t.receipt_ordinal, t.amount.units) for t in transfers] == [
        (tx_hash, 0, 5_000_000),
        (tx_hash, 1, 5_000_000),
    ]


async def test_the_ordinal_counts_every_log_of_the_receipt_and_none_of_the_block(bench: Bench) -> None:
    await bench.control(crowd=5)  # five logs of another transaction stand before ours in the block
    await bench.pay(bench.ours(), "5.00", transfers=2, foreign_logs=1)
    assert [t.receipt_ordinal for t in (await bench.scan()).transfers] == [1, 3]


async def test_a_failed_transaction_pays_nothing(bench: Bench) -> None:
    await bench.pay(bench.ours(), "20.00", fails=True)
    assert (await bench.scan()).transfers == ()


async def test_a_zero_value_transfer_is_dropped(bench: Bench) -> None:
    await bench.pay(bench.ours(), "0")
    assert (await bench.scan()).transfers == ()


async def test_the_smallest_unit_is_kept(bench: Bench) -> None:
    await bench.pay(bench.ours(), "0.000001")
    assert (await bench.only_transfer()).amount.units == 1


async def test_each_block_names_its_parent(bench: Bench) -> None:
    await bench.control(mine=3)
    head = (await bench.rail.head()).latest
    headers = [await bench.rail.header(number) for number in range(head - 5, head + 1)]
    for parent, child in pairwise(headers):
        assert parent is not None
        assert child is not None
        assert child.parent_hash == parent.hash


async def test_a_reorganisation_shows_as_another_hash_and_takes_the_payment_away(bench: Bench) -> None:
    await bench.pay(bench.ours())
    before = await bench.scan()
    child = (await bench.control(mine=1))["head"]
    await bench.control(reorg=2, requeue=False)
    after = await bench.rail.scan_block(before.header.number, {bench.ours()}.__contains__)
    newest = await bench.rail.header(child)
    assert after is not None
    assert newest is not None
    assert after.transfers == ()
    assert after.header.hash != before.header.hash
    assert after.header.parent_hash == before.header.parent_hash
    assert newest.parent_hash == after.header.hash


async def test_a_payment_that_is_mined_again_keeps_its_key(bench: Bench) -> None:
    await bench.control(crowd=2)
    await bench.pay(bench.ours(), foreign_logs=1)
    first = await bench.only_transfer()
    await bench.control(reorg=1, requeue=True)
    assert (await bench.scan()).transfers == ()
    await bench.control(mine=1)
    again = await bench.only_transfer()
    assert again == first


async def test_the_head_is_what_the_clock_made_and_final_what_is_deep_enough(bench: Bench) -> None:
    before = await bench.rail.head()
    bench.clock.move(bench.rail.block_seconds * 4)
    after = await bench.rail.head()
    # A simulated chain calls final what its account does, so that a sandbox needs no minutes for it.
    assert (after.latest, after.finalized) == (before.latest + 4, before.latest + 4 - bench.rail.confirmations + 1)
    final = await bench.rail.header(after.finalized)
    assert final is not None
    assert after.finalized_hash == final.hash


async def test_a_node_that_starts_again_goes_on_with_the_same_blocks(bench: Bench) -> None:
    known = await bench.rail.header((await bench.rail.head()).latest - 1)
    assert known is not None
    async with chain(bench.family) as restarted:
        restarted.clock.move(3600)
        again = await restarted.rail.header(known.number)
    assert again is not None
    assert (again.hash, again.parent_hash) == (known.hash, known.parent_hash)


async def test_a_scan_costs_the_same_for_one_address_and_for_ten_thousand(bench: Bench) -> None:
    await bench.pay(bench.ours(1))
    for count in (1, 10_000):
        ours = {number.to_bytes(20, "big") for number in range(count)}
        head = (await bench.rail.head()).latest
        bench.requests.clear()
        assert await bench.rail.scan_block(head, ours.__contains__) is not None
        assert len(bench.requests) == 2  # the header and the logs


async def test_a_receipt_is_fetched_for_our_own_transactions_only(bench: Bench) -> None:
    for _ in range(5):
        await bench.control(
            pay={"token": "USDT", "to": bench.rail.show_address(bench.ours(9)), "amount": "1"},
        )
    await bench.pay(bench.ours(0), transfers=3)
    head = (await bench.rail.head()).latest
    bench.requests.clear()
    scanned = await bench.rail.scan_block(head, {bench.ours(0)}.__contains__)
    assert scanned is not None
    assert len(scanned.transfers) == 3
    assert len(bench.requests) == 3


async def test_a_late_payment_carries_the_time_of_its_block(bench: Bench) -> None:
    bench.clock.move(timedelta(days=2).total_seconds())
    await bench.pay(bench.ours())
    assert (await bench.scan()).header.timestamp == bench.clock.instant


async def test_the_rail_is_what_the_port_asks_for(bench: Bench) -> None:
    rail: RailAdapter = bench.rail
    assert isinstance(rail, ScansChain)


@pytest.mark.parametrize(
    ("raw", "units", "remainder"),
    [("20", 20_000_000, 0), ("0.0000019", 1, 9 * 10**11), ("0.0000000000000005", 0, 500)],
)
async def test_eighteen_decimals_are_rounded_down_and_the_rest_is_kept(raw: str, units: int, remainder: int) -> None:
    tokens = {"USDT": {"contract": "0x55d398326f99059fF775485246999027B3197955", "decimals": 18, "method": "usdt_bsc"}}
    async with chain("evm", chain_id=56, tokens=tokens) as bench:
        await bench.pay(bench.ours(), raw)
        transfer = await bench.only_transfer()
    assert (transfer.amount.units, transfer.remainder) == (units, remainder)
    assert transfer.amount.units * 10**12 + transfer.remainder == transfer.raw_value
