"""The chart of accounts, per merchant, mode and asset. Source: the money rules, section "Chart of accounts"."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Account(StrEnum):
    """Codes of the chart. The subject beside a code says whose: a wallet's id, ``rail/account``, a network, or none."""

    # assets
    CLEARING = "clearing"
    """What a rail account holds for us (subject ``rail/account``)."""
    BANK = "bank"
    CHAIN_UNCONFIRMED = "chain:unconfirmed"
    CHAIN_FINAL = "chain:final"
    """Tokens on our deposit addresses (subject: network)."""
    CHAIN_TREASURY = "chain:treasury"
    """Tokens and coins on the house's own addresses: treasury and operating wallet (subject: network)."""
    WALLET_DEBT = "wallet:debt"
    DISPUTE_RECEIVABLE = "dispute:receivable"
    MERCHANT_RECEIVABLE = "merchant:receivable"
    # liabilities
    WALLET_PAID = "wallet:paid"
    WALLET_PROMO = "wallet:promo"
    WALLET_PROVISIONAL = "wallet:provisional"
    WALLET_HELD_PAID = "wallet:held_paid"
    WALLET_HELD_PROMO = "wallet:held_promo"
    WALLET_FROZEN = "wallet:frozen"
    WALLET_REFUNDING = "wallet:refunding"
    MERCHANT_PENDING = "merchant:pending"
    MERCHANT_AVAILABLE = "merchant:available"
    MERCHANT_RESERVE = "merchant:reserve"
    MERCHANT_UNFUNDED = "merchant:unfunded"
    PAYOUT_TRANSIT = "payout:transit"
    SUSPENSE = "suspense"
    """Money that could not be placed: each line has a review item."""
    # income and cost
    FEES_PLATFORM = "fees:platform"
    FEES_RAIL_RECHARGED = "fees:rail_recharged"
    FEES_RAIL_COST = "fees:rail_cost"
    FX_SPREAD = "fx:spread"
    FX_PNL = "fx:pnl"
    ROUNDING = "rounding"
    DISPUTE_FEES = "dispute:fees"
    BREAKAGE = "breakage"
    # technical
    FX_POSITION = "fx:position"
    """Two legs of every exchange meet here, one asset each; what is open is the exposure."""
    PROMO_FUNDING = "promo:funding"


WALLET_PARTS: Final = tuple(account for account in Account if account.value.startswith("wallet:"))
"""Every part of one wallet; but for ``wallet:debt`` what we owe to the customer."""
