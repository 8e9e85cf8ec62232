"""From what a transaction did to its entry: one pure function per purpose. Coins are assets of the books like any other.

``chain:final`` is what lies on deposit addresses, ``chain:treasury`` what lies on addresses of the house: the treasury
and the operating wallet. What a chain takes for a transaction is ``fees:rail_cost``.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.database.unit import Entry
from orchestrator.ledger.chart import Account
from orchestrator.ledger.journal import Side, credit, debit, entry
from rates.money import Money


@dataclass(frozen=True, slots=True)
class Gas:
    """What a transaction cost, in the chain's coin, and who had it."""

    paid: Money
    by_house: bool
    """From the operating wallet; else from a deposit address, which was given the coins before."""

    def sides(self, network: str) -> tuple[Side, Side]:
        holder = Account.CHAIN_TREASURY if self.by_house else Account.CHAIN_FINAL
        return debit(Account.FEES_RAIL_COST, self.paid), credit(holder, self.paid, network)


def fuel(fact: str, network: str, coins: Money, gas: Gas) -> Entry:
    """Coins went to a deposit address, so that it can pay a fee."""
    return entry("fuel", fact, debit(Account.CHAIN_FINAL, coins, network),
                 credit(Account.CHAIN_TREASURY, coins, network), *gas.sides(network))  # fmt: skip


def sweep(fact: str, network: str, left: Money, arrived: Money, gas: Gas) -> Entry:
    """Tokens went to the treasury. What did not arrive is the token's own fee."""
    return entry("sweep", fact, debit(Account.CHAIN_TREASURY, arrived, network),
                 debit(Account.FEES_RAIL_COST, left - arrived), credit(Account.CHAIN_FINAL, left, network),
                 *gas.sides(network))  # fmt: skip


def refund(fact: str, network: str, left: Money, gas: Gas) -> Entry:
    """Tokens went to a customer: the asset's leg of a refund. The dollars' leg is the refund's own entry."""
    return entry("chain_refund", fact, debit(Account.FX_POSITION, left), credit(Account.CHAIN_TREASURY, left, network),
                 *gas.sides(network))  # fmt: skip


def gas_only(fact: str, network: str, gas: Gas) -> Entry | None:
    """It moved nothing of ours, and cost all the same. None: not even that."""
    return entry("chain_fee", fact, *gas.sides(network)) if gas.paid else None
