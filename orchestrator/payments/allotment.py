"""What no rule could place, and the three things that a person may do with it: credit, send back, ignore.

Two kinds are in this inbox. Deposits in suspense (``dep_``: no rate, too small, too large) are in the merchant's books and
take their price anew when they are credited. Stray transfers (``str_``: an address without an owner, a token that is not
registered) are in nobody's; crediting one makes it a deposit of the wallet that the person names, and the chain's finality
decides the rest. The plan of a refund moves no money: a deposit in suspense is sent (``suspense_refunds``) when its customer has
confirmed an address; a stray has no customer, so its plan is a note for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import select

from adapters.base import RailAdapter, ScansChain
from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import Deposit, StrayTransfer, Wallet, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.crediting import holding_of
from orchestrator.payments.deposit_credit import DepositCredit, NotFinal, deposit_credit_locks, money_of
from orchestrator.payments.deposit_desk import DepositDesk
from orchestrator.payments.deposit_recipes import allotted
from orchestrator.payments.deposit_reversal import IN_SUSPENSE, SENT_BACK
from orchestrator.payments.sightings import Network, deposit_object
from rates.money import Asset, Money

_ACTION: Final = {"credited": "credit", "refund_planned": "plan_refund", "ignored": "ignore"}
"""What a review of the deposit notes as decided."""
_BY_SUBJECT: Final = ("merchant_id", "subject")
LISTED_MAX: Final = 200
Rails = Mapping[tuple[str, str], RailAdapter]


@dataclass(frozen=True, slots=True)
class Decided:
    """Who decided, and why: kept beside the thing for ever."""

    by: str
    reason: str


def stray_object(row: Row) -> dict[str, Any]:
    """Return a stray transfer as the API shows it. ``amount`` is null where the token's decimals are unknown."""
    asset = row["asset"]
    money = None if asset is None else Money(row["units"], Asset.parse(asset))
    return {
        "id": row["id"],
        "reason": row["reason"],
        "status": row["status"],
        "chain": row["network"].partition(":")[2],
        "tx_hash": row["tx_hash"],
        "ordinal": row["ordinal"],
        "contract": "0x" + bytes(row["contract"]).hex(),
        "address": "0x" + bytes(row["recipient"]).hex(),
        "amount": None if money is None else {"amount": money.decimal(), "currency": money.asset.code},
        "raw_value": row["raw_value"],
        "merchant": row["merchant_id"],
        "wallet": row["wallet_id"],
        "deposit": row["deposit_id"],
        "note": row["note"],
        "decided_by": row["decided_by"],
        "block_number": row["block_number"],
        "block_at": rfc3339(row["block_us"]),
    }


@dataclass(frozen=True, slots=True)
class Allotment:
    writer: Writer
    reads: Reads
    desk: DepositDesk
    rails: Rails

    async def inbox(self, status: str = "open", limit: int = 100) -> list[dict[str, Any]]:
        """Return what waits for a person (``open``), or what was decided, newest first."""
        limit = min(limit, LISTED_MAX)
        strays, deposits = table_of(StrayTransfer), table_of(Deposit)
        found = await self.reads.all(
            select(strays).where(strays.c.status == status).order_by(strays.c.id.desc()).limit(limit)
        )
        in_books = "unallocated" if status == "open" else status
        held = []
        if in_books in IN_SUSPENSE | SENT_BACK:
            held = await self.reads.all(
                select(deposits).where(deposits.c.status == in_books).order_by(deposits.c.id.desc()).limit(limit)
            )
        shown = [stray_object(row) for row in found]
        return [*shown, *({**deposit_object(row), "merchant": row["merchant_id"]} for row in held)][:limit]

    async def credit(self, item_id: str, decided: Decided, wallet_id: str | None = None) -> dict[str, Any]:
        """Credit one. ``wallet_id``: whose it is, for a stray whose address has no owner.

        Raises NotFound; Conflict where it cannot be credited.
        """
        if item_id.startswith("str_"):
            return await self._credit_stray(await self._stray(item_id), decided, wallet_id)
        return await self._credit_deposit(await self._deposit(item_id), decided)

    async def settle_without_credit(self, item_id: str, decided: Decided, status: str) -> dict[str, Any]:
        """Mark one ``ignored`` or ``refund_planned``. No money moves. Raises NotFound; Conflict where it was decided."""
        if item_id.startswith("str_"):
            return await self._mark_stray(await self._stray(item_id), decided, status)
        return await self._mark_deposit(await self._deposit(item_id), decided, status)

    # --- deposits in suspense -------------------------------------------------------------------------------------

    async def _credit_deposit(self, row: Row, decided: Decided) -> dict[str, Any]:
        network = self._network(row["rail"], row["account"])
        total = Money(row["units"], Asset.parse(row["asset"]))
        money = money_of(network, row, total, holding_of(row["rail"], row["account"], network.name))
        arrival = self.desk.arrival(network, row)
        if isinstance(arrival, str):
            raise Conflict("deposit_has_no_price", f"{row['id']} cannot be credited: {arrival}")
        locks = [*deposit_credit_locks(network, row, money), self._reviews(row)]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            deposit = _in_suspense(view, row)
            changes.update("deposit", (row["merchant_id"], row["id"]), refunding_units=0)
            changes.post(
                allotted("allotted", f"{deposit['id']}/{deposit['generation']}", deposit["id"], total, network.name)
            )
            answer = DepositCredit(view, changes, network, money, arrival, 0).allot(deposit)
            _resolve(view, changes, deposit, decided, "credited")
            return answer

        try:
            await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        except NotFinal as waits:
            raise Conflict("deposit_not_final", str(waits)) from None
        return deposit_object(await self._deposit(row["id"]))

    async def _mark_deposit(self, row: Row, decided: Decided, status: str) -> dict[str, Any]:
        locks = [row_lock("deposit", row["merchant_id"], row["id"]), self._reviews(row)]

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            deposit = _in_suspense(view, row)
            refunding = deposit["units"] if status == "refund_planned" else 0
            changes.update(
                "deposit", (row["merchant_id"], row["id"]),
                status=status, refunding_units=refunding, updated_us=view.now_us,
            )  # fmt: skip
            _resolve(view, changes, deposit, decided, status)
            return {}

        await self.writer.submit(Unit(row["merchant_id"], row["mode"], None, locks, decide))
        return deposit_object(await self._deposit(row["id"]))

    # --- strays ---------------------------------------------------------------------------------------------------

    async def _credit_stray(self, row: Row, decided: Decided, wallet_id: str | None) -> dict[str, Any]:
        if row["asset"] is None:
            raise Conflict("token_not_registered", f"{row['id']} is of a token that no account of config.yaml names")
        wallet = await self._wallet(row["wallet_id"] or wallet_id, row["network"].partition(":")[0])
        network, method = self._watching(row)
        key = (row["network"], row["tx_hash"], row["ordinal"])
        deposit_id = new_id("dep")

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            stray = view.one("stray_transfer", *key)
            if stray is None or stray["status"] not in {"open", "refund_planned", "ignored"}:
                raise Conflict("already_decided", f"{row['id']} is {stray and stray['status']}")
            changes.update(
                "stray_transfer", key, status="credited", deposit_id=deposit_id, merchant_id=wallet["merchant_id"],
                wallet_id=wallet["id"], note=decided.reason, decided_by=decided.by, updated_us=view.now_us,
            )  # fmt: skip
            copied = ("network", "tx_hash", "ordinal", "asset", "units", "raw_value", "sender", "recipient",
                      "block_number", "block_hash", "block_us")  # fmt: skip
            changes.insert(
                "deposit", merchant_id=wallet["merchant_id"], id=deposit_id, mode=wallet["mode"],
                rail=network.account.rail, account=network.account.account, method=method, remainder="0",
                wallet_id=wallet["id"], generation=0, status="detected", credited_units=0, created_us=view.now_us,
                updated_us=view.now_us, **{name: stray[name] for name in copied},
            )  # fmt: skip
            return {}

        locks = (row_lock("stray_transfer", *key), Lock("deposit", ("network", "tx_hash", "ordinal"), key))
        await self.writer.submit(Unit(wallet["merchant_id"], wallet["mode"], None, locks, decide))
        return stray_object(await self._stray(row["id"]))

    async def _mark_stray(self, row: Row, decided: Decided, status: str) -> dict[str, Any]:
        key = (row["network"], row["tx_hash"], row["ordinal"])

        def decide(view: View, changes: Changes) -> dict[str, Any]:
            stray = view.one("stray_transfer", *key)
            if stray is None or stray["status"] != "open":
                raise Conflict("already_decided", f"{row['id']} is {stray and stray['status']}")
            changes.update(
                "stray_transfer", key, status=status, note=decided.reason, decided_by=decided.by, updated_us=view.now_us
            )
            return {}

        mode = row["network"].partition(":")[0]
        await self.writer.submit(Unit("platform", mode, None, (row_lock("stray_transfer", *key),), decide))
        return stray_object(await self._stray(row["id"]))

    # --- finding --------------------------------------------------------------------------------------------------

    async def _stray(self, item_id: str) -> Row:
        table = table_of(StrayTransfer)
        row = await self.reads.one(select(table).where(table.c.id == item_id))
        if row is None:
            raise NotFound("unallocated_not_found", f"there is no {item_id} in the inbox")
        return row

    async def _deposit(self, item_id: str) -> Row:
        table = table_of(Deposit)
        row = await self.reads.one(select(table).where(table.c.id == item_id))
        if row is None:
            raise NotFound("unallocated_not_found", f"there is no {item_id} in the inbox")
        return row

    async def _wallet(self, wallet_id: str | None, mode: str) -> Row:
        if wallet_id is None:
            raise Conflict("wallet_needed", "its address has no owner: say whose wallet it is for")
        table = table_of(Wallet)
        row = await self.reads.one(select(table).where(table.c.id == wallet_id, table.c.mode == mode))
        if row is None:
            raise NotFound("wallet_not_found", f"there is no wallet {wallet_id}")
        return row

    def _reviews(self, row: Row) -> Lock:
        return Lock("review", _BY_SUBJECT, (row["merchant_id"], row["id"]))

    def _network(self, rail: str, account: str) -> Network:
        adapter = self.rails.get((rail, account))
        if not isinstance(adapter, ScansChain):
            raise Conflict("chain_not_configured", f"{rail}/{account} is not in config.yaml any more")
        return Network.of(adapter.account, adapter)

    def _watching(self, row: Row) -> tuple[Network, str]:
        """Return the network that saw a stray, and the method that its token stands for there."""
        for adapter in self.rails.values():
            if isinstance(adapter, ScansChain):
                network = Network.of(adapter.account, adapter)
                for token in adapter.tokens if network.name == row["network"] else ():
                    if token.contract == bytes(row["contract"]):
                        return network, token.method
        raise Conflict("chain_not_configured", f"{row['network']} is not in config.yaml any more")


def _in_suspense(view: View, row: Row) -> Row:
    deposit = view.one("deposit", row["merchant_id"], row["id"])
    if deposit is None or deposit["status"] not in IN_SUSPENSE or deposit["fallen_us"] is not None:
        raise Conflict("already_decided", f"{row['id']} is {deposit and deposit['status']}")
    return deposit


def _resolve(view: View, changes: Changes, deposit: Row, decided: Decided, result: str) -> None:
    """Close the reviews of a deposit, with who decided and why."""
    for review in view.many("review", _BY_SUBJECT, (deposit["merchant_id"], deposit["id"])):
        if review["status"] == "open" or review["action"] in {"plan_refund", "ignore"}:
            evidence = orjson.loads(review["evidence"])
            evidence |= {"decided": result, "by": decided.by, "reason": decided.reason}
            changes.update(
                "review", (deposit["merchant_id"], review["id"]), status="resolved", resolved_us=view.now_us,
                evidence=orjson.dumps(evidence).decode(), action=_ACTION[result], note=decided.reason,
                resolved_by=decided.by,
            )  # fmt: skip
