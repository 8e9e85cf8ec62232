"""From money that is ours to a credited wallet: claim, entry, lot, event. Used inside units only."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from orchestrator.database.unit import Changes, Lock, View, row_lock
from orchestrator.ids import new_id
from orchestrator.ledger.accounts import debt_state, top_up_locks
from orchestrator.ledger.chart import Account
from orchestrator.ledger.recipes import Holding, top_up, unplaced
from orchestrator.payments.pricing import Price
from orchestrator.payments.story import money_body, usd_body
from rates.money import WALLET_USD, Money


@dataclass(frozen=True, slots=True)
class MoneyAt:
    """One piece of money at one rail, and whose it is."""

    merchant_id: str
    mode: str
    rail: str
    account: str
    kind: str
    """capture | deposit"""
    rail_id: str
    """The rail's own id of the money."""
    object_id: str
    """Our row of it: capture or deposit."""
    wallet_id: str
    payment_id: str | None
    total: Money
    holding: Holding

    @property
    def claim_key(self) -> tuple[str, str, str, str, str]:
        return (self.rail, self.account, self.mode, self.kind, self.rail_id)


def holding_of(rail: str, account: str, network: str | None = None) -> Holding:
    """Return where the money of a rail account (or on a chain) lies in the books."""
    if network is not None:
        return Holding(Account.CHAIN_FINAL, network)
    return Holding(Account.CLEARING, f"{rail}/{account}")


def credit_locks(merchant_id: str, mode: str, wallet_id: str, claim_key: tuple[str, ...]) -> list[Lock]:
    return [row_lock("money_claim", *claim_key), *top_up_locks(merchant_id, mode, wallet_id)]


def is_claimed(view: View, money: MoneyAt) -> bool:
    return view.one("money_claim", *money.claim_key) is not None


def claim(view: View, changes: Changes, money: MoneyAt) -> None:
    """Take a piece of money for its merchant, for ever."""
    rail, account, mode, kind, rail_id = money.claim_key
    changes.insert(
        "money_claim",
        rail=rail,
        account=account,
        mode=mode,
        kind=kind,
        rail_id=rail_id,
        merchant_id=money.merchant_id,
        object_id=money.object_id,
        created_us=view.now_us,
    )


def credit_wallet(view: View, changes: Changes, money: MoneyAt, price: Price) -> int:
    """Credit a wallet with money that arrived; return the principal in USD/9 units (debt repaid included)."""
    claim(view, changes, money)
    return credit_claimed(view, changes, money, price)


def credit_claimed(view: View, changes: Changes, money: MoneyAt, price: Price) -> int:
    """Credit a wallet with money that was claimed before (it was in suspense); return the principal, as above."""
    debt = debt_state(view, money.merchant_id, money.mode, money.wallet_id)
    entry, paid = top_up(
        money.object_id,
        price.received(),
        holding=money.holding,
        wallet_id=money.wallet_id,
        debt=debt,
        payment_id=money.payment_id,
    )
    changes.post(entry)
    if paid.units:
        changes.insert(
            "lot",
            merchant_id=money.merchant_id,
            id=new_id("lot"),
            mode=money.mode,
            wallet_id=money.wallet_id,
            kind="paid",
            source=money.object_id,
            payment_id=money.payment_id,
            units=paid.units,
            remaining_units=paid.units,
            created_us=view.now_us,
        )
    tell_credited(view, changes, money, price, paid)
    return price.principal.units


def tell_credited(view: View, changes: Changes, money: MoneyAt, price: Price, paid: Money) -> None:
    """Say that a wallet was credited; ``paid`` is what reached it after debt."""
    balance = view.balance(money.merchant_id, money.mode, Account.WALLET_PAID.value, money.wallet_id, str(WALLET_USD))
    body = {
        "wallet": money.wallet_id,
        "amount": usd_body(price.principal.units),
        "debt_repaid": usd_body((price.principal - paid).units),
        "paid_balance": usd_body(-balance + paid.units),
        "received": money_body(money.total),
        "payment": money.payment_id,
        "source": money.object_id,
    }
    changes.emit("wallet.credited", money.wallet_id, orjson.dumps(body).decode(), money.merchant_id)


def put_in_suspense(view: View, changes: Changes, money: MoneyAt, reason: str, **evidence: object) -> None:
    """Book money that cannot be placed, and ask a person."""
    claim(view, changes, money)
    changes.post(unplaced(money.object_id, money.total, holding=money.holding, payment_id=money.payment_id))
    ask_a_person(
        view, changes, money.merchant_id, money.mode, reason=reason, subject=money.object_id,
        payment_id=money.payment_id, evidence={"received": money_body(money.total), **evidence},
    )  # fmt: skip


def ask_a_person(
    view: View,
    changes: Changes,
    merchant_id: str,
    mode: str,
    *,
    reason: str,
    subject: str,
    payment_id: str | None,
    evidence: dict[str, object],
) -> None:
    """Open a review item."""
    changes.insert(
        "review",
        merchant_id=merchant_id,
        id=new_id("rev"),
        mode=mode,
        reason=reason,
        subject=subject,
        payment_id=payment_id,
        status="open",
        evidence=orjson.dumps(evidence).decode(),
        created_us=view.now_us,
        resolved_us=None,
    )
