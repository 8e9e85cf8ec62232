"""What a sweep would bring and cost. Reads only; nothing is decided here for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import func, select

from adapters.base import ChainToken
from adapters.kit.chain.transfer_log import widen
from adapters.sending import CallKind, ChainCall
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Deposit, DepositAddress, Sweep, table_of
from orchestrator.database.unit import Row
from orchestrator.sweeps.networks import SendingNetwork
from rates.money import WALLET_USD, Money

IN_BOOKS: Final = ("credited", "refunded")
"""Deposits that stand in ``chain:final`` for good. Those in suspense stay where they are: they may have to go back. Those that
went back did so from the operating wallet, so that what lies there is the house's."""
ADDRESSES_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Lying:
    """Tokens on one deposit address, as the books have them."""

    merchant_id: str
    mode: str
    wallet_id: str
    address: bytes
    address_index: int
    token: ChainToken
    units: int
    swept: int
    """Units of all sweeps so far, that one in motion included: the decision compares it under lock."""

    @property
    def money(self) -> Money:
        return Money(self.units, self.token.asset)

    @property
    def raw(self) -> int:
        return widen(self.money, self.token)

    @property
    def value(self) -> Money:
        """USD/9, for weighing only: a dollar each; only dollar tokens are watched."""
        return Money(self.units * 10 ** (WALLET_USD.scale - self.token.asset.scale), WALLET_USD)

    def call(self, treasury: bytes) -> ChainCall:
        return ChainCall(CallKind.TOKEN, self.address, treasury, self.raw, self.token.contract)


@dataclass(frozen=True, slots=True)
class Planned:
    lying: Lying
    cost: Money
    """USD/9: the transfer, and the fuel's own transfer where one is needed."""
    fuel_raw: int
    """Coins that the address lacks."""
    worth: bool
    why: str

    def to_json(self, network: SendingNetwork) -> dict[str, Any]:
        lying = self.lying
        return {
            "network": network.name, "merchant": lying.merchant_id, "wallet": lying.wallet_id,
            "address": network.show_address(lying.address), "token": lying.token.asset.code,
            "amount": lying.money.decimal(), "cost_usd": self.cost.decimal(2), "fuel": str(self.fuel_raw),
            "coin": network.coin_code, "worth": self.worth, "why": self.why,
        }  # fmt: skip


async def lying_on(reads: Reads, network: SendingNetwork) -> list[Lying]:
    """Return every address that holds final, unswept tokens of the books; most first."""
    swept = await _swept(reads, network)
    table, addresses = table_of(Deposit), table_of(DepositAddress)
    total = func.sum(table.c.units).label("total")
    keys = (table.c.merchant_id, table.c.mode, table.c.wallet_id, table.c.recipient, table.c.method)
    index = addresses.c.address_index
    rows = await reads.all(
        select(*keys, index, total)
        .join(addresses, (addresses.c.mode == table.c.mode) & (addresses.c.address == table.c.recipient))
        .where(table.c.network == network.name, table.c.status.in_(IN_BOOKS), table.c.fallen_us.is_(None),
               addresses.c.family == network.family)
        .group_by(*keys, index)
    )  # fmt: skip
    tokens = {token.method: token for token in network.tokens.values()}
    found = []
    for row in rows:
        token = tokens.get(row["method"])
        if token is None:
            continue  # no longer watched: its contract is not known here
        gone, moving = swept.get((bytes(row["recipient"]), token.contract), (0, False))
        units = int(row["total"]) - gone
        if units > 0 and not moving:
            found.append(Lying(row["merchant_id"], row["mode"], row["wallet_id"], bytes(row["recipient"]),
                               int(row["address_index"]), token, units, gone))  # fmt: skip
    return sorted(found, key=lambda one: -one.units)[:ADDRESSES_MAX]


async def _swept(reads: Reads, network: SendingNetwork) -> Mapping[tuple[bytes, bytes], tuple[int, bool]]:
    table = table_of(Sweep)
    rows = await reads.all(
        select(table.c.address, table.c.contract, table.c.status, func.sum(table.c.units).label("total"))
        .where(table.c.network == network.name, table.c.status != "failed")
        .group_by(table.c.address, table.c.contract, table.c.status)
    )
    found: dict[tuple[bytes, bytes], tuple[int, bool]] = {}
    for row in rows:
        key = (bytes(row["address"]), bytes(row["contract"]))
        total, moving = found.get(key, (0, False))
        found[key] = (total + int(row["total"]), moving or row["status"] != "done")
    return found


def swept_units(rows: Sequence[Row], contract: bytes) -> int:
    """Return what the sweeps of one address have taken, or are taking."""
    return sum(int(row["units"]) for row in rows if bytes(row["contract"]) == contract and row["status"] != "failed")


async def weigh(network: SendingNetwork, lying: Lying, worth_times_cost: int) -> Planned:
    """Say what one sweep costs, now. Raises RailError (CallWouldFail: the token itself refuses)."""
    assert network.treasury is not None, "only networks with a treasury are swept"
    sender = network.sender
    there = await sender.balance(lying.address, lying.token.contract)
    if there < lying.raw:
        missing = f"the chain holds {there} raw, the books {lying.raw}: reconcile first"
        return Planned(lying, Money.zero(WALLET_USD), 0, worth=False, why=missing)
    quote = await sender.quote(lying.call(network.treasury))
    lacking = max(0, quote.maximum - await sender.balance(lying.address, None))
    fuel_raw = -(-lacking // network.coin_factor) * network.coin_factor
    cost = network.coin_value(quote.expected)
    if fuel_raw:
        fuel = ChainCall(CallKind.COIN, network.operating, lying.address, fuel_raw)
        cost += network.coin_value((await sender.quote(fuel)).expected)
    worth = lying.value.units > worth_times_cost * cost.units
    why = "" if worth else f"not {worth_times_cost} times its cost"
    return Planned(lying, cost, fuel_raw, worth, why)
