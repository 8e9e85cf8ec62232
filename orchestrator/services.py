"""One frozen bag of opened parts, handed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp

from adapters.base import RailAdapter
from orchestrator.access import Access
from orchestrator.clock import Clock
from orchestrator.database.ownership import Ownership
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer
from orchestrator.ledger.anchors import Anchors
from orchestrator.ledger.earnings import Earnings
from orchestrator.ledger.expiry import CreditExpiry
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.payout_batches import PayoutBatches
from orchestrator.ledger.payouts import Payouts
from orchestrator.ledger.runway import RunwayWatch
from orchestrator.metering.price_book import PriceBook
from orchestrator.metering.rerating import Reratings
from orchestrator.metering.usage import Metering
from orchestrator.payments.addresses import AddressBook
from orchestrator.payments.auto_topup import AutoTopups
from orchestrator.payments.checkout import Checkout
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.deposits import Deposits
from orchestrator.payments.dispute_rates import DisputeRates
from orchestrator.payments.disputes import Disputes
from orchestrator.payments.expiry import Expiry
from orchestrator.payments.inbox import Inbox
from orchestrator.payments.mandates import Mandates
from orchestrator.payments.pricer import Pricer
from orchestrator.payments.refunds import Refunds
from orchestrator.payments.reservations import Reservations
from orchestrator.payments.reversals import Reversals
from orchestrator.payments.selection import Selection
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.suspense_refunds import SuspenseRefunds
from orchestrator.payments.topup_watch import TopupWatch
from orchestrator.payments.topups import Topups
from orchestrator.payments.watch import SettlementWatch
from orchestrator.reconciliation.chains import ChainDesk
from orchestrator.reconciliation.desk import Reconciliation
from orchestrator.routing.control import RuleControl
from orchestrator.routing.desk import RoutingDesk
from orchestrator.routing.health import HealthBoard
from orchestrator.settings import Settings
from orchestrator.sweeps.refunds import ChainRefunds
from orchestrator.sweeps.sweeps import Sweeps


@dataclass(frozen=True, slots=True)
class Secrets:
    """What signs and opens doors here. Does not print."""

    server: bytes = field(repr=False)
    admin_token: str = field(repr=False)
    operator_password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Services:
    """Every part of a running Crossrail. Made by ``bootstrap`` only."""

    settings: Settings
    secrets: Secrets
    clock: Clock
    http: aiohttp.ClientSession
    """For calls that leave us: rails and webhooks."""
    reads: Reads
    writer: Writer
    ownership: Ownership | None
    """None: one process, or none that shares out."""
    access: Access
    rails: Mapping[tuple[str, str], RailAdapter]
    """By rail and account."""
    health: HealthBoard
    pricer: Pricer
    routing: RoutingDesk
    rules: RuleControl
    sellers: Sellers
    checkout: Checkout
    selection: Selection
    mandates: Mandates
    auto_topups: AutoTopups
    confirmation: Confirmation
    reversals: Reversals
    reconciliation: Reconciliation
    dispute_rates: DisputeRates
    inbox: Inbox
    watch: SettlementWatch
    reservations: Reservations
    expiry: Expiry
    book: AddressBook
    deposits: Deposits
    holds: Holds
    credit_expiry: CreditExpiry
    runway: RunwayWatch
    earnings: Earnings
    payouts: Payouts
    anchors: Anchors
    prices: PriceBook
    metering: Metering
    reratings: Reratings
    sweeps: Sweeps
    topups: Topups
    topup_watch: TopupWatch
    chain_refunds: ChainRefunds

    @property
    def refunds(self) -> Refunds:
        return self.reversals.refunds

    @property
    def disputes(self) -> Disputes:
        return self.reversals.disputes

    @property
    def suspense_refunds(self) -> SuspenseRefunds:
        """They keep nothing between two calls."""
        return SuspenseRefunds(self.writer, self.reads, self.chain_refunds, self.clock)

    @property
    def payout_batches(self) -> PayoutBatches:
        """They keep nothing between two calls."""
        return PayoutBatches(self.writer, self.reads, self.payouts)

    @property
    def chain_desk(self) -> ChainDesk:
        """It keeps nothing between two calls."""
        simulated = [
            (rail, account)
            for rail, block in self.settings.rails.items()
            for account, one in block.accounts.items()
            if one.simulated
        ]
        return ChainDesk(self.writer, self.reads, self.rails, self.clock, simulated)
