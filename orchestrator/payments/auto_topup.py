"""Auto top-ups as a service: set one, look at it, and carry out what a look decides. See ``auto_topup_look``.

A charge is a checkout session and an attempt that nobody looks at: screened, routed, quoted and counted like every
other, sent by ``Selection``, watched by ``SettlementWatch``, credited by ``Confirmation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog
from sqlalchemy import and_, func, select, tuple_

from adapters.base import ChargesSaved
from orchestrator.clock import DAY_US, rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, AutoTopup, Customer, Wallet, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, Forbidden, Invalid, NotFound
from orchestrator.errors import Refusal as Refused
from orchestrator.ids import new_id
from orchestrator.payments.auto_topup_look import AVAILABLE, Look, Refusal, Seen
from orchestrator.payments.checkout import Checkout, NewSession
from orchestrator.payments.customers import CustomerRef
from orchestrator.payments.mandates import MandateStatus, StandingCharge
from orchestrator.payments.offers import Offer, offers_of
from orchestrator.payments.selection import Selection
from orchestrator.payments.story import usd_body
from rates.money import WALLET_USD, Money

PAGE = 500
"""Standing orders that one round looks at."""
AT_ONCE_MAX = 16
"""Charges that one round carries out side by side."""
_log = structlog.get_logger("auto_topup")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a merchant sets. Amounts in USD/9."""

    enabled: bool
    below: Money
    amount: Money
    daily_max: Money
    mandate_id: str | None = None
    """None: the newest that is active."""


@dataclass(frozen=True, slots=True)
class AutoTopups:
    writer: Writer
    reads: Reads
    checkout: Checkout
    selection: Selection
    page_url: Callable[[str], str]
    """The hosted page of a session."""

    # --- settings -----------------------------------------------------------------------------------------------------

    async def put(self, merchant_id: str, mode: str, wallet_id: str, wanted: Wanted) -> Row:
        """Set a wallet's standing order. Raises NotFound, Invalid (amounts), Conflict (nothing saved to charge)."""
        self._check_amounts(wanted)
        of_wallet = ("merchant_id", "wallet_id")
        locks = (
            row_lock("wallet", merchant_id, wallet_id),
            row_lock("auto_topup", merchant_id, wallet_id),
            Lock("mandate", of_wallet, (merchant_id, wallet_id)),
        )

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            wallet = view.one("wallet", merchant_id, wallet_id)
            if wallet is None or wallet["mode"] != mode:
                raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
            before = view.one("auto_topup", merchant_id, wallet_id)
            mandate_id = self._mandate(view.many("mandate", of_wallet, (merchant_id, wallet_id)), wanted, mode)
            row = _set(before, merchant_id, mode, wallet_id, wanted, mandate_id, view.now_us)
            if before is None:
                changes.insert("auto_topup", **row)
            else:
                changed = {name: value for name, value in row.items() if before[name] != value}
                changes.update("auto_topup", (merchant_id, wallet_id), **changed)
            return {"order": row}

        answer = (await self.writer.submit(Unit(merchant_id, mode, None, locks, decide))).answer
        order: Row = answer["order"]
        return order

    async def get(self, merchant_id: str, mode: str, wallet_id: str) -> Row:
        """Raises NotFound."""
        table = table_of(AutoTopup)
        row = await self.reads.one(
            select(table).where(
                table.c.merchant_id == merchant_id, table.c.wallet_id == wallet_id, table.c.mode == mode
            )
        )
        if row is None:
            raise NotFound("auto_topup_not_found", f"no auto top-up was ever set for the wallet {wallet_id}")
        return row

    def _check_amounts(self, wanted: Wanted) -> None:
        policy = self.checkout.screening
        if not policy.session_min.units <= wanted.amount.units <= policy.session_max.units:
            low, high = policy.session_min.decimal(2), policy.session_max.decimal(2)
            raise Invalid("amount_out_of_range", f"a top-up is between {low} and {high} USD", pointer="/amount/amount")
        if wanted.daily_max.units < wanted.amount.units:
            text = "daily_max is below amount: no top-up could ever be made"
            raise Invalid("daily_max_below_amount", text, pointer="/daily_max/amount")

    def _mandate(self, mandates: Sequence[Row], wanted: Wanted, mode: str) -> str | None:
        active = [row for row in mandates if row["status"] == MandateStatus.ACTIVE.value and row["mode"] == mode]
        if wanted.mandate_id is not None:
            active = [row for row in active if row["id"] == wanted.mandate_id]
            if not active:
                text = f"this wallet has no active mandate {wanted.mandate_id}"
                raise Invalid("mandate_not_found", text, pointer="/mandate")
        if active:
            mandate = max(active, key=lambda row: str(row["id"]))
            if not wanted.enabled or self._adapter(mandate) is not None:
                return str(mandate["id"])
            raise Conflict("mandate_not_chargeable", f"no rail account {mandate['rail']}/{mandate['account']} is here")
        if wanted.enabled:
            raise Conflict(
                "no_mandate",
                "the customer has saved no method yet: have a checkout session with save_method paid first",
            )
        return None

    def _adapter(self, mandate: Row) -> ChargesSaved | None:
        found = self.selection.calls.rails.get((mandate["rail"], mandate["account"]))
        if isinstance(found, ChargesSaved):
            return found
        return None

    # --- work ---------------------------------------------------------------------------------------------------------

    async def page(self, after: tuple[int, str, str] | None) -> tuple[list[Seen], tuple[int, str, str] | None]:
        """Return the orders of one page that need a look, and where the next page begins (None: that was the last).

        One page is PAGE rows of the index ``auto_topup_due``, each with three balances read by their keys: what is
        not due costs nothing, and no wallet without a standing order is ever read.
        """
        order, account, wallet = table_of(AutoTopup), table_of(Account), table_of(Wallet)
        place = tuple_(order.c.next_try_us, order.c.merchant_id, order.c.wallet_id)
        wanted = select(order).where(order.c.enabled == 1, order.c.next_try_us <= self.checkout.clock.now_us())
        if after is not None:
            wanted = wanted.where(order.c.next_try_us >= after[0], place > after)
        due = wanted.order_by(order.c.next_try_us, order.c.merchant_id, order.c.wallet_id).limit(PAGE).subquery()
        balance = (
            select(func.coalesce(func.sum(account.c.balance), 0))
            .where(
                account.c.merchant_id == due.c.merchant_id,
                account.c.mode == due.c.mode,
                account.c.code.in_([code.value for code in AVAILABLE]),
                account.c.subject == due.c.wallet_id,
                account.c.asset == str(WALLET_USD),
            )
            .scalar_subquery()
        )
        same = and_(wallet.c.merchant_id == due.c.merchant_id, wallet.c.id == due.c.wallet_id)
        rows = await self.reads.all(
            select(due, balance.label("balance"), wallet.c.status.label("wallet_status")).join(wallet, same)
        )
        rows.sort(key=lambda row: (row["next_try_us"], row["merchant_id"], row["wallet_id"]))
        found = [
            _seen(row)
            for row in rows
            if row["session_id"] is not None
            or (-int(row["balance"]) < row["below_units"] and row["wallet_status"] == "active")
        ]
        if len(rows) < PAGE:
            return found, None
        last = rows[-1]
        return found, (last["next_try_us"], last["merchant_id"], last["wallet_id"])

    async def run_once(self) -> int:
        """Look at every order that is due; return how many needed it."""
        count, after = 0, None
        while True:
            found, after = await self.page(after)
            count += len(found)
            await self.look_at(found)
            if after is None:
                return count

    async def look_at(self, found: Sequence[Seen]) -> None:
        """Look at several orders side by side; one that breaks is logged, and is due again when its lease is over."""
        slots = asyncio.Semaphore(AT_ONCE_MAX)

        async def one(seen: Seen) -> None:
            async with slots:
                await self.look(seen)

        results = await asyncio.gather(*map(one, found), return_exceptions=True)
        for seen, result in zip(found, results, strict=True):
            if isinstance(result, Exception):
                _log.error("auto_topup_look_failed", wallet=seen.wallet_id, error=repr(result)[:300])
            elif isinstance(result, BaseException):
                raise result

    async def look(self, seen: Seen) -> None:
        """Look at one order and carry out what that decides."""
        answer = await self._submit(seen)
        if answer["act"] != "charge":
            await self._close(seen, answer)
            return
        order: Row = answer["order"]
        claimed = Seen(
            seen.merchant_id, seen.mode, seen.wallet_id, order["session_id"], order["mandate_id"], order["next_try_us"]
        )
        refused = await self._charge(order, answer["mandate"])
        await self._close(claimed, await self._submit(claimed, refused))

    async def _submit(self, seen: Seen, refused: tuple[str, Refusal] | None = None) -> dict[str, Any]:
        look = Look(seen, new_id("cs"), self.page_url, self._wants_buyer, refused)
        return dict((await self.writer.submit(look.unit())).answer)

    async def _close(self, seen: Seen, answer: dict[str, Any]) -> None:
        """Close the session of a charge that was let go. If we die before it, it ends by itself: nobody has its link."""
        if answer["act"] != "expire":
            return
        try:
            await self.checkout.expire(seen.merchant_id, seen.mode, answer["session"])
        except NotFound:
            return  # it was never made

    async def _charge(self, order: Row, mandate: Row) -> tuple[str, Refusal] | None:
        """Make the session (or find it again) and start its attempt; return why that was refused."""
        merchant, mode, session_id = order["merchant_id"], order["mode"], order["session_id"]
        standing = StandingCharge(
            merchant, order["wallet_id"], session_id, mandate["id"], orjson.loads(mandate["reference"])
        )
        try:
            made = await self.checkout.make(
                NewSession(
                    customer=await self._customer(merchant, mode, order["wallet_id"]),
                    amount=Money(order["flight_units"], WALLET_USD),
                    methods=frozenset({mandate["method"]}),
                    metadata={"auto_topup": mandate["id"]},
                    # A customer whose bank wants to see him needs the time to come back.
                    expires_in_s=self.checkout.policy.session_ttl_max_s,
                    session_id=session_id,
                )
            )
            offer = _offer_of(made.offers if made.offers is not None else offers_of(made.row), mandate)
            if offer is None:
                return "not_routed_to_the_saved_method", Refusal.SOON
            await self.selection.select(merchant, mode, session_id, offer.id, standing=standing)
        except Refused as refusal:
            _log.info("auto_topup_refused", wallet=order["wallet_id"], code=refusal.code)
            return refusal.code, _how(refusal)
        return None

    async def _customer(self, merchant_id: str, mode: str, wallet_id: str) -> CustomerRef:
        customer, wallet = table_of(Customer), table_of(Wallet)
        same = and_(
            customer.c.merchant_id == wallet.c.merchant_id,
            customer.c.mode == wallet.c.mode,
            customer.c.reference == wallet.c.customer_reference,
        )
        row = await self.reads.one(
            select(customer).join(wallet, same).where(wallet.c.merchant_id == merchant_id, wallet.c.id == wallet_id)
        )
        assert row is not None, "a wallet has its customer"
        return CustomerRef(merchant_id, mode, row["reference"], row["country"], row["email"])

    def _wants_buyer(self, attempt: Row) -> bool:
        adapter = self._adapter(attempt)
        if adapter is None or not attempt["decline"]:
            return False
        return adapter.wants_buyer(orjson.loads(attempt["decline"])["code"])


def _seen(row: Row) -> Seen:
    return Seen(row["merchant_id"], row["mode"], row["wallet_id"], row["session_id"], row["mandate_id"])


def _offer_of(offers: Sequence[Offer], mandate: Row) -> Offer | None:
    wanted = (mandate["rail"], mandate["account"], mandate["method"])
    return next((offer for offer in offers if (offer.rail, offer.account, offer.method) == wanted), None)


def _how(refusal: Refused) -> Refusal:
    if refusal.code.startswith("velocity_"):
        return Refusal.TOMORROW
    if isinstance(refusal, Forbidden) or refusal.code == "amount_out_of_range":
        return Refusal.COUNTS
    return Refusal.SOON


def _set(
    before: Row | None, merchant_id: str, mode: str, wallet_id: str, wanted: Wanted, mandate_id: str | None, now_us: int
) -> Row:
    """Return the order's row as it is now set. What is in flight, and the day's sum, stay."""
    row: Row = {
        "merchant_id": merchant_id,
        "wallet_id": wallet_id,
        "mode": mode,
        "session_id": None,
        "flight_units": 0,
        "day": 0,
        "day_units": 0,
        "declines": 0,
        "waits_for_buyer": 0,
        "next_try_us": now_us,
        **(before or {}),
        "enabled": int(wanted.enabled),
        "below_units": wanted.below.units,
        "amount_units": wanted.amount.units,
        "daily_max_units": wanted.daily_max.units,
        "mandate_id": mandate_id,
        "updated_us": now_us,
    }
    if before is None or before["session_id"] is not None:
        return row
    if not before["enabled"] or before["mandate_id"] != mandate_id:
        row["declines"] = 0  # switched on again, or another card: a new beginning
        row["next_try_us"] = now_us
    elif before["daily_max_units"] < row["daily_max_units"] and before["declines"] == 0:
        row["next_try_us"] = now_us  # it may have been put off to tomorrow for the old limit
    return row


def auto_topup_object(row: Row, now_us: int) -> dict[str, Any]:
    """Return a standing order as the API shows it."""
    state = "off" if not row["enabled"] else "idle"
    if row["session_id"] is not None:
        state = "waits_for_buyer" if row["waits_for_buyer"] else "charging"
    today = row["day"] == now_us // DAY_US
    return {
        "wallet": row["wallet_id"],
        "enabled": bool(row["enabled"]),
        "below": usd_body(row["below_units"]),
        "amount": usd_body(row["amount_units"]),
        "daily_max": usd_body(row["daily_max_units"]),
        "charged_today": usd_body(row["day_units"] if today else 0),
        "mandate": row["mandate_id"],
        "state": state,
        "checkout_session": row["session_id"],
        "declines": row["declines"],
        "next_try_at": rfc3339(row["next_try_us"]) if row["enabled"] and row["next_try_us"] > now_us else None,
    }
