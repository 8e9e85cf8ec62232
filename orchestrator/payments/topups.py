"""Top-ups by x402: what an agent is asked to pay, and each of its authorisations brought to the chain once.

    open --authorisation--> processing --mined--> settled --scanner--> credited
                               |
                               +-- refused, reverted, or ended unused: open again

Crediting is the scanner's alone: what is paid lands on the customer's own deposit address. While nobody knows what became
of an authorisation, the agent is told to wait and is never asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import orjson
import structlog
from sqlalchemy import select

from adapters.agent_payments import AgentOffer, AgentPayment, PaymentInvalid, Settled, Settlement, TakesAgentPayments
from adapters.base import ChainToken, RailAdapter, RailError, ScansChain
from adapters.kit.chain.transfer_log import widen
from adapters.sending import CallKind, CallWouldFail, ChainCall
from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.tables import DepositAddress, Topup, X402Attempt, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Busy, Conflict, NotFound
from orchestrator.ids import new_id
from orchestrator.payments.pricer import FeeKey, Pricer
from orchestrator.payments.wallets import ensure_deposit_addresses, find_wallet
from orchestrator.signer.client import SignerAway
from orchestrator.sweeps.machine import ChainMachine
from orchestrator.sweeps.sweeps import prepared
from orchestrator.sweeps.transaction import NotNow, Wanted, put_transaction, transaction_locks
from rates.errors import RateError
from rates.money import Money

OFFERED_FOR: Final = timedelta(hours=24)
WAIT_S_MAX: Final = 10.0
LOOK_S: Final = 0.2
AWAY: Final = "facilitator_away"
"""A reason: nothing was sent to the facilitator, so the same authorisation may be shown again."""
OF_TOPUP: Final = ("merchant_id", "topup_id")
_log = structlog.get_logger("topups")


@dataclass(frozen=True, slots=True)
class Answered:
    """What to tell an agent: ``required`` (402), ``processing`` (202) or ``settled`` (200)."""

    state: str
    topup: Row
    offers: Sequence[AgentOffer]
    attempt: Row | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Topups:
    writer: Writer
    reads: Reads
    rails: Mapping[tuple[str, str], RailAdapter]
    machine: ChainMachine
    pricer: Pricer
    clock: Clock
    wait_s: float = WAIT_S_MAX

    async def create(self, topup_id: str, merchant_id: str, mode: str, wallet_id: str, amount: Money) -> Row:
        """Store what an agent is to pay. The same id again gets the same. Raises NotFound, Conflict."""
        wallet = await find_wallet(self.reads, merchant_id, mode, wallet_id)
        await ensure_deposit_addresses(self.writer, self.rails, wallet)
        offers = [offer async for offer in self._offers(wallet, amount)]
        if not offers:
            raise Conflict("x402_not_offered", "no x402 account of this mode has a chain that is scanned and a rate")
        row: Row = {
            "merchant_id": merchant_id, "id": topup_id, "mode": mode, "wallet_id": wallet_id, "units": amount.units,
            "offers": orjson.dumps(offers).decode(),
            "expires_us": self.clock.now_us() + int(OFFERED_FOR.total_seconds()) * 1_000_000,
            "created_us": self.clock.now_us(),
        }  # fmt: skip

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            if view.one("topup", merchant_id, topup_id) is None:
                changes.insert("topup", **row)
            return {}

        await self.writer.submit(Unit(merchant_id, mode, None, (row_lock("topup", merchant_id, topup_id),), decide))
        return await self.find(topup_id)

    async def find(self, topup_id: str) -> Row:
        """Raises NotFound."""
        table = table_of(Topup)
        row = await self.reads.one(select(table).where(table.c.id == topup_id))
        if row is None:
            raise NotFound("topup_not_found", f"there is no top-up {topup_id}")
        return row

    async def pay(self, topup_id: str, message: Mapping[str, Any] | None) -> Answered:
        """Take what an agent shows, or say what it has to pay.

        Raises NotFound, Conflict (it ended; the authorisation is another top-up's), Busy (nothing happened: again).
        """
        topup = await self.find(topup_id)
        attempts = await self.attempts(topup)
        waiting = next((one for one in attempts if one["status"] == "settling"), None)
        if message is None:
            return await self._asked(topup, attempts, waiting)
        try:
            payment, rail = self._read(topup, message)
        except PaymentInvalid as invalid:
            if waiting is not None:
                return await self._answer(topup, waiting)
            return Answered("required", topup, offers_of(topup), error=invalid.code)
        known = await self._known(topup, payment)
        if known is not None and known["reason"].startswith(AWAY):
            known = None
        if known or waiting:  # where another authorisation is on its way, this one is not used
            return await self._answer(topup, known or waiting or {})
        return await self._begin(topup, payment, rail)

    async def attempts(self, topup: Row) -> list[Row]:
        table = table_of(X402Attempt)
        query = select(table).where(table.c.merchant_id == topup["merchant_id"], table.c.topup_id == topup["id"])
        return await self.reads.all(query.order_by(table.c.id))

    async def _asked(self, topup: Row, attempts: Sequence[Row], waiting: Row | None) -> Answered:
        """Answer an agent that shows nothing: what it is to pay, unless something was paid already."""
        done = next((one for one in attempts if one["status"] == "settled"), None)
        if waiting is not None or done is not None:
            return await self._answer(topup, waiting or done or {})
        if topup["expires_us"] < self.clock.now_us():
            raise Conflict("topup_ended", "this top-up is no longer open: make a new one")
        return Answered("required", topup, offers_of(topup))

    # --- one authorisation ------------------------------------------------------------------------------------------

    def _read(self, topup: Row, message: Mapping[str, Any]) -> tuple[AgentPayment, TakesAgentPayments]:
        first: PaymentInvalid | None = None
        for stored in orjson.loads(topup["offers"]):
            rail = self.rails.get((stored["rail"], stored["account"]))
            if isinstance(rail, TakesAgentPayments):
                try:
                    return rail.read(message, [_offer(stored)], self.clock.now()), rail
                except PaymentInvalid as invalid:
                    if first is None or invalid.code != "invalid_payment_requirements":
                        first = invalid
        raise first or PaymentInvalid("invalid_payment_requirements", "the rail account is gone")

    async def _known(self, topup: Row, payment: AgentPayment) -> Row | None:
        table = table_of(X402Attempt)
        key = dict(zip(("network", "asset", "payer", "nonce"), attempt_key(topup, payment), strict=True))
        row = await self.reads.one(select(table).where(*(table.c[name] == value for name, value in key.items())))
        if row is not None and row["topup_id"] != topup["id"]:
            raise Conflict("authorization_used", "this authorisation was shown for another top-up")
        return row

    async def _begin(self, topup: Row, payment: AgentPayment, rail: TakesAgentPayments) -> Answered:
        attempt_id = new_id("xat")
        wanted = None
        if not rail.settles_elsewhere:
            try:
                wanted = await self._transaction(topup, payment, attempt_id)
            except CallWouldFail as fails:  # nothing happened, and by these very bytes nothing would
                return Answered("required", topup, offers_of(topup), error=_word(str(fails)))
            except (RailError, NotNow) as error:
                raise Busy("chain_away", f"nothing happened: {str(error)[:120]}") from None
        if not await self._store(topup, payment, attempt_id, wanted):
            return await self.pay(topup["id"], dict(payment.payload))  # somebody was faster: the stored outcome
        if wanted is None:
            await self._note(topup, payment, await rail.settle(payment))
        return await self._answer(topup, (await self._known(topup, payment)) or {})

    async def _transaction(self, topup: Row, payment: AgentPayment, attempt_id: str) -> Wanted:
        """Prepare the transaction that brings the authorisation to the chain. Raises RailError, NotNow."""
        network = self.machine.networks.get(network_name(topup, payment.offer))
        if network is None or self.machine.signer is None:
            raise NotNow("sweeps.networks or sweeps.signer_socket is not configured for this chain")
        offer = payment.offer
        call = ChainCall(
            CallKind.AUTHORIZED, network.operating, offer.pay_to, offer.raw_amount, offer.contract, payment.authorized
        )
        index = (await self._address(topup))["address_index"]
        return await prepared(
            network, call, merchant_id=topup["merchant_id"], mode=topup["mode"], purpose="x402", subject_id=attempt_id,
            branch="operating", key_index=0, asset=str(network.tokens[offer.contract].asset), units=0,
            recipient_index=index,
        )  # fmt: skip

    async def _store(self, topup: Row, payment: AgentPayment, attempt_id: str, wanted: Wanted | None) -> bool:
        """Store the attempt, and its transaction with it, before anything leaves. False: it is there already."""
        key = attempt_key(topup, payment)
        network = None if wanted is None else self.machine.networks[network_name(topup, payment.offer)]

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            mine = view.many("x402_attempt", OF_TOPUP, (topup["merchant_id"], topup["id"]))
            known = view.one("x402_attempt", *key)
            if any(one["status"] == "settling" for one in mine):
                return {"stored": False}
            if known is not None:
                again = bool(known["reason"].startswith(AWAY))
                if again:
                    changes.update("x402_attempt", key, status="settling", reason="", updated_us=view.now_us)
                return {"stored": again}
            changes.insert(
                "x402_attempt", network=key[0], asset=key[1], payer=key[2], nonce=key[3],
                merchant_id=topup["merchant_id"], id=attempt_id, mode=topup["mode"], topup_id=topup["id"],
                payload=orjson.dumps(payment.payload).decode(), status="settling", created_us=view.now_us,
                updated_us=view.now_us,
            )  # fmt: skip
            if wanted is not None and network is not None:
                put_transaction(view, changes, network, wanted)
            return {"stored": True}

        locks = [row_lock("x402_attempt", *key), Lock("x402_attempt", OF_TOPUP, (topup["merchant_id"], topup["id"]))]
        if wanted is not None and network is not None:
            locks += transaction_locks(network, wanted)
        applied = await self.writer.submit(Unit(topup["merchant_id"], topup["mode"], None, locks, decide))
        return bool(applied.answer["stored"])

    async def _note(self, topup: Row, payment: AgentPayment, settlement: Settlement) -> None:
        """Write down what a facilitator elsewhere said. What is not clear stays ``settling``: the chain will tell."""
        key = attempt_key(topup, payment)
        status = {Settled.DONE: "settled", Settled.REFUSED: "failed", Settled.UNKNOWN: "settling"}[settlement.settled]
        _log.info("x402_settled", topup=topup["id"], state=status, reason=settlement.reason, tx_hash=settlement.tx_hash)

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            known = view.one("x402_attempt", *key)
            if known is not None and known["status"] == "settling":
                changes.update("x402_attempt", key, status=status, tx_hash=settlement.tx_hash,
                               reason=settlement.reason, updated_us=view.now_us)  # fmt: skip
            return {}

        await self.writer.submit(
            Unit(topup["merchant_id"], topup["mode"], None, (row_lock("x402_attempt", *key),), decide)
        )

    # --- answers ----------------------------------------------------------------------------------------------------

    async def _answer(self, topup: Row, attempt: Row) -> Answered:
        """Say how an attempt stands; where it is ours to send, help it on for a few seconds."""
        deadline = asyncio.get_running_loop().time() + self.wait_s
        offers = offers_of(topup)
        while True:
            if attempt["status"] == "failed":
                return Answered("required", topup, offers, attempt, error=attempt["reason"])
            if attempt["status"] == "settled":
                return Answered("settled", topup, offers, attempt)
            row = await self.machine.of_subject(topup["merchant_id"], attempt["id"])
            if row is None or asyncio.get_running_loop().time() > deadline:
                return Answered("processing", topup, offers, attempt)
            try:
                row = await self.machine.advance(row["merchant_id"], row["id"])
                mined = await self.machine.mined(row)
            except (RailError, SignerAway, TimeoutError) as error:
                _log.info("x402_waits", topup=topup["id"], error=repr(error)[:200])
                return Answered("processing", topup, offers, attempt)
            if mined is not None:
                # Not final yet, and not credited by this: the scanner has its own rule for that.
                seen = {**attempt, "tx_hash": row["tx_hash"]}
                if mined:
                    return Answered("settled", topup, offers, seen)
                return Answered("processing", topup, offers, seen, error="transaction_failed")
            await asyncio.sleep(LOOK_S)
            attempt = next(one for one in await self.attempts(topup) if one["id"] == attempt["id"])

    # --- offers -----------------------------------------------------------------------------------------------------

    async def _address(self, topup: Row) -> Row:
        table = table_of(DepositAddress)
        row = await self.reads.one(
            select(table).where(
                table.c.merchant_id == topup["merchant_id"], table.c.mode == topup["mode"],
                table.c.wallet_id == topup["wallet_id"], table.c.family == "evm",
            )
        )  # fmt: skip
        assert row is not None, "the address was stored before it was offered"
        return row

    async def _offers(self, wallet: Row, amount: Money) -> Any:
        """Yield what can be paid, as it is stored."""
        topup = {"merchant_id": wallet["merchant_id"], "mode": wallet["mode"], "wallet_id": wallet["id"]}
        for (rail, account), adapter in self.rails.items():
            if not isinstance(adapter, TakesAgentPayments) or adapter.account.mode.value != wallet["mode"]:
                continue
            for scanner, token in self._seen_by(adapter, wallet["mode"]):
                key = FeeKey(scanner.rail, scanner.account, token.method)
                try:
                    tag = self.pricer.tag(amount, key, token.asset.code, self.clock.now())
                except RateError:
                    continue
                pay_to = bytes((await self._address(topup))["address"])
                offer = adapter.offer(token.contract, widen(tag.price.total, token), pay_to)
                yield {
                    "rail": rail, "account": account, "chain": offer.chain, "contract": offer.contract.hex(),
                    "raw": str(offer.raw_amount), "pay_to": pay_to.hex(), "shown": dict(offer.shown),
                }  # fmt: skip

    def _seen_by(self, adapter: TakesAgentPayments, mode: str) -> list[tuple[Any, ChainToken]]:
        """Return which rail account's scanner will see each token: what nobody scans is not offered."""
        return [
            (rail.account, token)
            for rail in self.rails.values()
            if isinstance(rail, ScansChain) and rail.chain == adapter.chain and rail.account.mode.value == mode
            for token in rail.tokens
            if token.contract in adapter.contracts
        ]


def offers_of(topup: Row) -> list[AgentOffer]:
    return [_offer(stored) for stored in orjson.loads(topup["offers"])]


def _offer(stored: Mapping[str, Any]) -> AgentOffer:
    return AgentOffer(
        stored["chain"], bytes.fromhex(stored["contract"]), int(stored["raw"]), bytes.fromhex(stored["pay_to"]),
        stored["shown"],
    )  # fmt: skip


def network_name(topup: Row, offer: AgentOffer) -> str:
    return f"{topup['mode']}:{offer.chain}"


def attempt_key(topup: Row, payment: AgentPayment) -> tuple[str, bytes, bytes, bytes]:
    """Return what a token itself takes once: UNIQUE over every merchant and top-up."""
    offer, authorized = payment.offer, payment.authorized
    return network_name(topup, offer), offer.contract, authorized.payer, authorized.nonce


def _word(revert: str) -> str:
    """Turn a token's own words into the protocol's."""
    lower = revert.lower()
    if "balance" in lower:
        return "invalid_exact_evm_insufficient_balance"
    return "invalid_exact_evm_nonce_already_used" if "used" in lower else "transaction_simulation_failed"
