"""The only place where parts meet: configuration -> Services."""

from __future__ import annotations

import json
import secrets as randomness
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web

from adapters import registry
from adapters.base import RailAccount, RailAdapter, RailMisconfigured, SimulatorSettings
from adapters.kit.chain.secrets_guard import field_holding_a_key, place_of_a_wallet_key
from adapters.operations import ReportsSettlement
from orchestrator.access import Access
from orchestrator.clock import Clock
from orchestrator.compliance.screening import ScreeningPolicy
from orchestrator.config_source import ConfigInvalid, Document, Problem
from orchestrator.database.ownership import Ownership
from orchestrator.database.reads import Reads
from orchestrator.database.shared_clock import shared_clock
from orchestrator.database.writer import Writer, backend_for
from orchestrator.ids import new_id
from orchestrator.ledger.anchors import FILE_NAME, AnchorFile, Anchors
from orchestrator.ledger.earnings import Earnings
from orchestrator.ledger.expiry import CreditExpiry
from orchestrator.ledger.hold_desk import Holds
from orchestrator.ledger.payouts import Payouts
from orchestrator.ledger.runway import RunwayWatch
from orchestrator.metering.price_book import LEAD_S, PriceBook
from orchestrator.metering.rerating import Reratings
from orchestrator.metering.usage import Metering
from orchestrator.payments.addresses import AddressBook
from orchestrator.payments.auto_topup import AutoTopups
from orchestrator.payments.checkout import Checkout, CheckoutPolicy
from orchestrator.payments.client_secret import pay_url
from orchestrator.payments.closing import Closing
from orchestrator.payments.confirmation import Confirmation
from orchestrator.payments.customer_age import KnownCustomers
from orchestrator.payments.deposits import Deposits
from orchestrator.payments.dispute_rates import DisputeRates
from orchestrator.payments.disputes import Disputes
from orchestrator.payments.expiry import Expiry
from orchestrator.payments.finder import Finder
from orchestrator.payments.inbox import Inbox
from orchestrator.payments.mandates import Mandates
from orchestrator.payments.outcome import RailCalls
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.pricing import FeeSchedule
from orchestrator.payments.refunds import Refunds
from orchestrator.payments.reservations import Reservations
from orchestrator.payments.reversals import Reversals
from orchestrator.payments.selection import Selection
from orchestrator.payments.sellers import Sellers
from orchestrator.payments.topup_watch import TopupWatch
from orchestrator.payments.topups import Topups
from orchestrator.payments.watch import SettlementWatch, WatchPolicy
from orchestrator.reconciliation.desk import Reconciliation
from orchestrator.routing.accounts import catalogue_of, reserving
from orchestrator.routing.catalogue import Catalogue, supports_of
from orchestrator.routing.control import RuleControl, Watched
from orchestrator.routing.costs import FeeLine, FeeTables
from orchestrator.routing.desk import RoutingDesk
from orchestrator.routing.health import HealthBoard
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.overlay import OverlayBook
from orchestrator.routing.ranking import Knowledge
from orchestrator.routing.ruleset import Ruleset
from orchestrator.routing.versions import Versions
from orchestrator.services import Secrets, Services
from orchestrator.settings import Fees, RailAccountBlock, Settings
from orchestrator.signer.client import SignerClient
from orchestrator.sweeps.machine import ChainMachine
from orchestrator.sweeps.networks import SendingNetwork
from orchestrator.sweeps.opening import BadNetwork, sending_networks
from orchestrator.sweeps.refunds import ChainRefunds
from orchestrator.sweeps.sweeps import Sweeps
from rates.spread import SpreadTable

Rails = Mapping[tuple[str, str], RailAdapter]
CALL_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration with its rails and rules; nothing is opened yet but the HTTP session it was given."""

    settings: Settings
    document: Document
    rails: Rails
    ruleset: Ruleset
    catalogue: Catalogue
    sending: Mapping[str, SendingNetwork]


@dataclass(frozen=True, slots=True)
class LoadedRails:
    """A checked configuration with its rails, whatever its rules are like."""

    settings: Settings
    document: Document
    rails: Rails
    catalogue: Catalogue
    """Of the accounts that are not switched off."""
    sending: Mapping[str, SendingNetwork]


def load(settings: Settings, document: Document, http: aiohttp.ClientSession, clock: Clock, sandbox_url: str) -> Loaded:
    """Build the rails and the rules. Raises ConfigInvalid with file, line and column."""
    made = load_rails(settings, document, http, sandbox_url)
    ruleset = load_ruleset(document, made.catalogue, today=clock.now().date())
    return Loaded(settings, document, made.rails, ruleset, made.catalogue, made.sending)


def load_rails(settings: Settings, document: Document, http: aiohttp.ClientSession, sandbox_url: str) -> LoadedRails:
    """Build the rails. Raises ConfigInvalid with file, line and column."""
    rails: dict[tuple[str, str], RailAdapter] = {}
    problems: list[Problem] = []
    for rail, account, block in _accounts(settings):
        trail = ("rails", rail, "accounts", account)
        try:
            factory, _ = registry.load(rail)
            adapter = factory(rail_account(rail, account, block, sandbox_url), http)
        except registry.UnknownRail as error:
            problems.append(document.problem(("rails", rail), str(error), on_key=True))
            continue
        except RailMisconfigured as error:
            problems.append(document.problem((*trail, "options"), str(error)))
            continue
        rails[rail, account] = adapter
        methods = {capability.method for capability in adapter.capabilities}
        for method in sorted(set(block.fees) ^ methods):
            what = "is not offered by this account" if method in block.fees else "has no fees: write {} if it is free"
            problems.append(document.problem((*trail, "fees"), f"{method} {what}"))
    problems += _key_problems(document)
    sending: Mapping[str, SendingNetwork] = {}
    try:
        sending = sending_networks(rails, settings.sweeps)
    except BadNetwork as error:
        problems.append(document.problem(error.trail, str(error)))
    if problems:
        raise ConfigInvalid(problems)
    return LoadedRails(settings, document, rails, catalogue_of(settings, document, rails), sending)


def _key_problems(document: Document) -> Iterator[Problem]:
    """A key that can spend has no business in the server's configuration, under whatever name."""
    place = place_of_a_wallet_key(document.data)
    if place is not None:
        yield document.problem(place, "a private key or seed: keys live with `crossrail signer`, in its own file")
    field = field_holding_a_key(document.data.get("sweeps") or {})
    if field is not None:
        yield document.problem(("sweeps",), f"{field} holds a private key: keys live with `crossrail signer`")


def _accounts(settings: Settings) -> Iterator[tuple[str, str, RailAccountBlock]]:
    for rail, block in settings.rails.items():
        for account, account_block in block.accounts.items():
            yield rail, account, account_block


def rail_account(rail: str, account: str, block: RailAccountBlock, sandbox_url: str) -> RailAccount:
    """Return an account as its adapter wants it; a simulated one lives at the sandbox's address."""
    base_url = f"{sandbox_url}/{rail}/{account}" if block.simulated else block.base_url
    return RailAccount(rail, account, block.mode, block.options, base_url)


def simulators(settings: Settings, sandbox_url: str, public_url: str) -> web.Application:
    """Build one application that serves every simulated account under its own path."""
    host = web.Application()
    for rail, account, block in _accounts(settings):
        if block.simulated:
            _, factory = registry.load(rail)
            base_url = f"{sandbox_url}/{rail}/{account}"
            webhook_url = f"{public_url}/webhooks/{rail}/{account}"
            host.add_subapp(f"/{rail}/{account}", factory(SimulatorSettings(block.options, base_url, webhook_url)))
    return host


@asynccontextmanager
async def opened(
    settings: Settings,
    document: Document,
    *,
    sandbox_url: str,
    clock: Clock | None = None,
    watched: Watched | None = None,
) -> AsyncIterator[Services]:
    """Open everything; close it in reverse. The database must be migrated. Raises ConfigInvalid, DatabaseInUse.

    ``watched``: the file whose rules are followed when it is edited.
    """
    async with AsyncExitStack() as stack:
        if clock is None:
            clock = await stack.enter_async_context(shared_clock(settings.service.database))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=CALL_TIMEOUT))
        loaded = load(settings, document, http, clock, sandbox_url)
        secrets = read_secrets(settings)
        ownership = await _owning(stack, settings)
        writer = Writer(backend_for(settings.service.database), clock, ownership)
        await writer.open()
        stack.push_async_callback(writer.close)
        reads = Reads(settings.service.database)
        stack.push_async_callback(reads.close)
        market = settings.market()
        await market.refresh(clock.now())
        pricer = Pricer(market, spreads_of(loaded.ruleset), _fees(settings), secrets.server)
        services = replace(_assemble(loaded, secrets, clock, http, reads, writer, pricer), ownership=ownership)
        services.rules.watched = watched
        await services.rules.begin()
        yield services


def spreads_of(ruleset: Ruleset) -> SpreadTable:
    """Return the spreads that a set of rules names."""
    return SpreadTable.from_config([priced.entry() for priced in ruleset.pricing])


async def _owning(stack: AsyncExitStack, settings: Settings) -> Ownership | None:
    """Take part in sharing out the merchants, where the other processes can reach this one."""
    service = settings.service
    if not service.internal_url:
        return None
    ownership = Ownership(service.database, new_id("prc"), service.internal_url, groups=service.writer_groups)
    stack.push_async_callback(ownership.close)
    await ownership.open()
    return ownership


def _assemble(
    loaded: Loaded,
    secrets: Secrets,
    clock: Clock,
    http: aiohttp.ClientSession,
    reads: Reads,
    writer: Writer,
    pricer: Pricer,
) -> Services:
    settings, rails, board = loaded.settings, loaded.rails, HealthBoard()
    routing = _routing(loaded, board, pricer, clock)
    routing.overlays = OverlayBook(writer, reads)
    screening = _screening(settings)
    sellers, known = Sellers(writer, reads), KnownCustomers(reads)
    checkout = Checkout(writer, pricer, routing, clock, screening, _checkout_policy(settings), sellers, known)
    confirmation = Confirmation(writer, Finder(reads), pricer, clock)
    calls = RailCalls(writer, confirmation, rails, board, clock, int(settings.watch.unknown_recheck_s * 1_000_000))
    closing = Closing(calls, reads)
    selection = Selection(calls, closing, reads, screening, settings.service.public_url, sellers, reserving(settings))
    page = partial(pay_url, settings.service.public_url, secrets.server)
    book = AddressBook(reads)
    prices = _prices(settings, writer, reads, clock)
    sweeps = _sweeps(loaded, writer, reads)
    reversals = _reversals(loaded, writer, reads, clock, sweeps)
    return Services(
        settings=settings,
        secrets=secrets,
        clock=clock,
        http=http,
        reads=reads,
        writer=writer,
        ownership=None,
        access=Access(writer, reads),
        rails=rails,
        health=board,
        pricer=pricer,
        routing=routing,
        rules=RuleControl(
            routing, Versions(writer, reads), clock, swapped=lambda ruleset: pricer.use(spreads_of(ruleset))
        ),
        sellers=sellers,
        checkout=checkout,
        selection=selection,
        mandates=Mandates(writer, reads, rails, clock),
        auto_topups=AutoTopups(writer, reads, checkout, selection, page),
        confirmation=confirmation,
        reversals=reversals,
        dispute_rates=DisputeRates(writer, reads, clock),
        reconciliation=Reconciliation(writer, reads, rails, clock, reversals.refunds),
        inbox=Inbox(confirmation, reversals, reads, rails),
        watch=SettlementWatch(calls, reads, WatchPolicy(settings.watch.first_check_s, settings.watch.last_check_s)),
        reservations=Reservations(calls, reads),
        expiry=Expiry(checkout, closing, reads),
        book=book,
        deposits=Deposits(writer, reads, book, pricer, clock),
        holds=Holds(writer, reads, clock),
        credit_expiry=CreditExpiry(writer, reads, clock),
        runway=RunwayWatch(writer, reads, clock),
        prices=prices,
        metering=Metering(writer, prices, clock),
        reratings=Reratings(writer, reads, prices),
        earnings=Earnings(writer, reads, clock, settings.earnings.tiers, _reporting(settings, rails)),
        payouts=Payouts(writer, reads, settings.earnings.tiers, hold_first=settings.payouts.hold_first_destination),
        anchors=_anchors(settings, writer, reads, clock),
        sweeps=sweeps,
        topups=Topups(writer, reads, rails, sweeps.machine, pricer, clock),
        topup_watch=TopupWatch(writer, reads),
        chain_refunds=reversals.refunds.chain,
    )


def _prices(settings: Settings, writer: Writer, reads: Reads, clock: Clock) -> PriceBook:
    # One process writes an SQLite file: nobody else has to see a new price version before it begins.
    lead_s = 0 if settings.service.database.startswith("sqlite") else LEAD_S
    return PriceBook(writer, reads, clock, lead_s=lead_s)


def _reversals(loaded: Loaded, writer: Writer, reads: Reads, clock: Clock, sweeps: Sweeps) -> Reversals:
    settings, rails = loaded.settings, loaded.rails
    chain = ChainRefunds(sweeps.machine, settings.sweeps.refund_cool_off_h)
    return Reversals(
        Refunds(writer, reads, rails, clock, settings.refunds, chain, settings.disputes),
        Disputes(writer, reads, rails, clock, settings.disputes),
    )


def _routing(loaded: Loaded, board: HealthBoard, pricer: Pricer, clock: Clock) -> RoutingDesk:
    supports = supports_of(loaded.rails.values())
    routing = RoutingDesk(loaded.ruleset, loaded.catalogue, supports, board, pricer.mid, clock)
    routing.knowledge = Knowledge(fee_tables(loaded.settings))
    return routing


def _sweeps(loaded: Loaded, writer: Writer, reads: Reads) -> Sweeps:
    block = loaded.settings.sweeps
    signer = SignerClient(Path(block.signer_socket)) if block.signer_socket else None
    return Sweeps(ChainMachine(writer, reads, signer, loaded.sending), block.worth_times_cost)


def _reporting(settings: Settings, rails: Rails) -> list[tuple[str, str]]:
    """Return the accounts whose payouts to us earnings wait for."""
    reporting = [place for place, adapter in rails.items() if isinstance(adapter, ReportsSettlement)]
    return reporting if settings.earnings.wait_for_rail_payout else []


def _anchors(settings: Settings, writer: Writer, reads: Reads, clock: Clock) -> Anchors:
    file = AnchorFile(Path(settings.service.state_dir) / FILE_NAME, settings.service.database)
    return Anchors(writer, reads, clock, file, settings.proof.anchor_every_seals)


def _checkout_policy(settings: Settings) -> CheckoutPolicy:
    block = settings.checkout
    return CheckoutPolicy(block.session_ttl_s, block.session_ttl_min_s, block.session_ttl_max_s)


def _screening(settings: Settings) -> ScreeningPolicy:
    rules = settings.compliance
    return ScreeningPolicy(
        blocked_countries=rules.blocked_countries,
        blocked_references=rules.blocked_customers,
        session_min=rules.session_min_usd,
        session_max=rules.session_max_usd,
        daily_count_max=rules.daily_attempts_max,
        daily_units_max=rules.daily_usd_max,
    )


def _fees(settings: Settings) -> dict[FeeKey, FeeSchedule]:
    def schedule(fees: Fees) -> FeeSchedule:
        platform = settings.checkout.platform_fee_bps
        return FeeSchedule(fees.rail_bps, fees.rail_fixed_usd, fees.network_fixed_usd, platform)

    return {
        FeeKey(rail, account, method): schedule(fees)
        for rail, account, block in _accounts(settings)
        for method, fees in block.fees.items()
    }


def fee_tables(settings: Settings) -> FeeTables:
    """Return what every method costs, as ranking and replays see it."""
    return FeeTables.of(
        {
            (rail, account, method): FeeLine(fees.rail_bps, fees.rail_fixed_usd.units, fees.network_fixed_usd.units)
            for rail, account, block in _accounts(settings)
            for method, fees in block.fees.items()
        }
    )


def read_secrets(settings: Settings) -> Secrets:
    """Return the configured secrets; a sandbox makes missing ones once and keeps them, readable by its user only."""
    path = Path(settings.service.state_dir) / "secrets.json"
    kept: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    wanted = {
        "secret": settings.service.secret.get_secret_value(),
        "admin_token": settings.admin.token.get_secret_value(),
        "operator_password": settings.admin.operator_password.get_secret_value(),
    }
    made = {name: kept.get(name) or randomness.token_urlsafe(32) for name, value in wanted.items() if not value}
    if any(name not in kept for name in made):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(kept | made), "utf-8")
    values = wanted | made
    return Secrets(values["secret"].encode(), values["admin_token"], values["operator_password"])
