"""Sending on TRON over java-tron's HTTP API: energy and bandwidth, bytes out, receipts back.

Source: https://tronprotocol.github.io/documentation-en/api/http/
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from adapters.base import RailError
from adapters.final_balances import FinalBalances
from adapters.kit.chain import tron_transaction
from adapters.kit.chain.calls import call_data
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC
from adapters.kit.chain.tron_http import TronHttp
from adapters.kit.chain.tron_transaction import PREFIX, TronTransaction
from adapters.sending import (
    CallKind,
    CallWouldFail,
    ChainCall,
    ChainReceipt,
    FeeQuote,
    MovedToken,
    Prepared,
    SendAnswer,
    SendFailed,
    Sent,
    Unsigned,
)

LIFETIME_MS: Final = 2 * 3600 * 1000
"""From the head block on: long enough for two people to approve. TRON allows a day."""
ENERGY_SLACK_BPS: Final = 12_000
COIN_BYTES: Final = 270
"""Bandwidth of a transfer of TRX, signature included."""
TOKEN_BYTES: Final = 350
BALANCE_OF: Final = "balanceOf(address)"
SOLID_TRIES: Final = 3
SOLID_AT_ONCE: Final = 20
UNCLEAR_CODES: Final = frozenset(
    {"SERVER_BUSY", "NO_CONNECTION", "NOT_ENOUGH_EFFECTIVE_CONNECTION", "BLOCK_UNSOLIDIFIED", "OTHER_ERROR"}
)


class TronSender:
    """SendsOnChain of one TRON network."""

    def __init__(self, rpc_urls: Sequence[str], http: aiohttp.ClientSession, timeout_seconds: float = 10.0) -> None:
        self._nodes = [TronHttp(url, http, timeout_seconds) for url in rpc_urls]

    @property
    def coin_decimals(self) -> int:
        return 6

    @property
    def counts_transactions(self) -> bool:
        return False

    async def balance(self, holder: bytes, contract: bytes | None) -> int:
        """Raises SendFailed."""
        if contract is None:
            return _number(await self._ask("wallet/getaccount", address=_hex(holder)), "balance")
        call = {"function_selector": BALANCE_OF, "parameter": holder.hex().rjust(64, "0")}
        return _held(await self._constant(holder, contract, call))

    async def solid_balances(self, contract: bytes, addresses: Sequence[bytes]) -> FinalBalances:
        """Return what lay on addresses at one solid block, by one node. Raises SendFailed.

        The answers name no block: they are of the newest solid one where it is the same before and after.
        """
        said: list[str] = []
        for node in self._nodes:
            try:
                return await _solid_balances(node, contract, addresses)
            except SendFailed as failed:
                said.append(str(failed))
        raise SendFailed("; ".join(said)[:500])

    async def sent_count(self, sender: bytes, *, final: bool) -> int:
        """TRON counts no transactions."""
        del sender, final
        return 0

    async def quote(self, call: ChainCall) -> FeeQuote:
        """Raises SendFailed, CallWouldFail."""
        prices = await self._prices()
        if call.kind is CallKind.COIN:
            fee = COIN_BYTES * prices["getTransactionFee"]
            if not await self._ask("wallet/getaccount", address=_hex(call.recipient)):  # the first coins activate it
                fee += prices["getCreateNewAccountFeeInSystemContract"] + prices["getCreateAccountFee"]
            return FeeQuote(expected=fee, maximum=fee, gas=0, price=0)
        assert call.contract is not None, "a token has its contract"
        answer = await self._constant(call.sender, call.contract, {"data": call_data(call).hex()})
        needed = _number(answer, "energy_used")
        resource = await self._ask("wallet/getaccountresource", address=_hex(call.sender))
        staked = max(0, _number(resource, "EnergyLimit") - _number(resource, "EnergyUsed"))
        price, bandwidth = prices["getEnergyFee"], TOKEN_BYTES * prices["getTransactionFee"]
        energy = needed * ENERGY_SLACK_BPS // 10_000
        return FeeQuote(
            expected=max(0, needed - staked) * price + bandwidth, maximum=max(0, energy - staked) * price + bandwidth,
            gas=energy, price=price,
        )  # fmt: skip

    async def prepare(self, call: ChainCall, quote: FeeQuote) -> Prepared:
        """Return bytes that refer to the newest solid block. Raises SendFailed."""
        solid = await self._ask("walletsolidity/getnowblock")
        head_ms = _block_ms(await self._ask("wallet/getnowblock"))
        try:
            block_id = bytes.fromhex(solid["blockID"])
        except (KeyError, TypeError, ValueError):
            raise SendFailed("the newest solid block has no id") from None
        expiration_ms = head_ms + LIFETIME_MS
        transaction = TronTransaction(
            block_id[6:8], block_id[8:16], expiration_ms, head_ms, quote.gas * quote.price, call
        )
        return _Finished(Unsigned(transaction.unsigned(), expiration_ms * 1000))

    def read_signed(self, signed: bytes, unsigned: bytes) -> str:
        """Raises ValueError."""
        transaction, signer = tron_transaction.read_signed(signed)
        if transaction.unsigned() != unsigned or signer != transaction.call.sender:
            raise ValueError("what was signed is not what was asked for, or not by its owner")
        return tron_transaction.transaction_id(signed)

    async def send(self, signed: bytes) -> SendAnswer:
        """Give the bytes to every node: one that drops them costs nothing."""
        answers = [await self._send(node, signed) for node in self._nodes]
        order = (Sent.TAKEN, Sent.KNOWN, Sent.UNCLEAR, Sent.REFUSED)
        return min(answers, key=lambda answer: order.index(answer.sent))

    async def receipt(self, transaction_id: str, *, proven: bool = False) -> ChainReceipt | None:
        """Raises SendFailed; with ``proven`` also where one node does not answer."""
        found: ChainReceipt | None = None
        said: list[str] = []
        for node in self._nodes:
            try:
                receipt = await self._receipt_at(node, transaction_id, proven=proven)
            except RailError as failed:
                said.append(str(failed))
                continue
            found = receipt or found
            if receipt is not None and (receipt.final or not proven):
                return receipt
        if found is None and said and (proven or len(said) == len(self._nodes)):
            raise SendFailed("; ".join(said)[:500])
        return found

    async def _receipt_at(self, node: TronHttp, transaction_id: str, *, proven: bool) -> ChainReceipt | None:
        for room, final in (("walletsolidity", True), ("wallet", False)):
            info = await node.post(f"{room}/gettransactioninfobyid", value=transaction_id.removeprefix("0x"))
            if info:
                return _receipt(info, transaction_id, final=final)
        # ``{}`` is also what a node says that lags or is ill: JSON-RPC says null in an envelope with our id.
        if proven and await node.rpc.call("eth_getTransactionReceipt", transaction_id) is not None:
            raise SendFailed(f"{node.rpc.name} shows the transaction by one interface and hides it by the other")
        return None

    async def final_time_us(self) -> int:
        """Raises SendFailed."""
        return _block_ms(await self._ask("walletsolidity/getnowblock")) * 1000

    async def _prices(self) -> Mapping[str, int]:
        answer = await self._ask("wallet/getchainparameters")
        wanted = ("getTransactionFee", "getEnergyFee", "getCreateAccountFee", "getCreateNewAccountFeeInSystemContract")
        try:
            found = {one["key"]: one.get("value", 0) for one in answer["chainParameter"]}
            return {name: int(found[name]) for name in wanted}
        except (KeyError, TypeError, ValueError):
            raise SendFailed("the chain's parameters have no prices") from None

    async def _constant(self, caller: bytes, contract: bytes, call: Mapping[str, str]) -> dict[str, Any]:
        answer = await self._ask(
            "wallet/triggerconstantcontract", owner_address=_hex(caller), contract_address=_hex(contract), **call
        )
        result = answer.get("result")
        if not isinstance(result, dict) or result.get("result") is not True:
            raise CallWouldFail(_words(result.get("message") if isinstance(result, dict) else None))
        ret = answer.get("transaction", {}).get("ret", [{}])
        if any(one.get("ret") == "FAILED" for one in ret):  # a revert still says result: true
            raise CallWouldFail("the contract reverted the call")
        return answer

    async def _ask(self, path: str, **body: Any) -> dict[str, Any]:
        said: list[str] = []
        for node in self._nodes:
            try:
                return await node.post(path, **body)
            except SendFailed as failed:
                said.append(str(failed))
        raise SendFailed("; ".join(said)[:500])

    async def _send(self, node: TronHttp, signed: bytes) -> SendAnswer:
        try:
            answer = await node.post("wallet/broadcasthex", transaction=signed.hex())
        except SendFailed as failed:
            return SendAnswer(Sent.UNCLEAR, str(failed)[:200])
        code, words = str(answer.get("code", "")), _words(answer.get("message"))
        if answer.get("result") is True:
            return SendAnswer(Sent.TAKEN)
        if code == "DUP_TRANSACTION_ERROR":
            return SendAnswer(Sent.KNOWN, words)
        return SendAnswer(Sent.UNCLEAR if code in UNCLEAR_CODES or not code else Sent.REFUSED, f"{code} {words}"[:200])


@dataclass(frozen=True, slots=True)
class _Finished:
    bytes_to_sign: Unsigned

    def unsigned(self, nonce: int | None) -> Unsigned:
        assert nonce is None, "TRON numbers no transactions"
        return self.bytes_to_sign


def _receipt(info: Mapping[str, Any], transaction_id: str, *, final: bool) -> ChainReceipt:
    receipt = info.get("receipt", {})
    if "0x" + str(info.get("id")) != transaction_id or not isinstance(receipt, dict):
        raise SendFailed("the information of another transaction came")
    # A transfer of TRX has no result word; a contract's call has, and only SUCCESS is one.
    word = receipt.get("result", "" if info.get("contract_address") else "SUCCESS")
    succeeded = info.get("result") != "FAILED" and word == "SUCCESS"
    try:
        moved = tuple(_moved(log) for log in info.get("log", ()) if _is_transfer(log))
    except (KeyError, TypeError, ValueError):
        raise SendFailed("a log of the transaction is malformed") from None
    return ChainReceipt(_number(info, "blockNumber"), succeeded, _number(info, "fee"), moved, final)


def _is_transfer(log: Mapping[str, Any]) -> bool:
    topics = log.get("topics", ())
    return len(topics) == 3 and topics[0] == TRANSFER_TOPIC.removeprefix("0x")


def _moved(log: Mapping[str, Any]) -> MovedToken:
    contract, topics = bytes.fromhex(log["address"])[-20:], [bytes.fromhex(topic)[-20:] for topic in log["topics"]]
    return MovedToken(contract, topics[1], topics[2], int(log["data"], 16))


async def _solid_balances(node: TronHttp, contract: bytes, addresses: Sequence[bytes]) -> FinalBalances:
    for _ in range(SOLID_TRIES):
        before = await _solid_number(node)
        answers = []
        for start in range(0, len(addresses), SOLID_AT_ONCE):
            answers += await asyncio.gather(
                *(
                    node.post("walletsolidity/triggerconstantcontract", owner_address=_hex(one),
                              contract_address=_hex(contract), function_selector=BALANCE_OF,
                              parameter=one.hex().rjust(64, "0"))
                    for one in addresses[start : start + SOLID_AT_ONCE]
                )
            )  # fmt: skip
        if await _solid_number(node) == before:
            return FinalBalances([_held(answer) for answer in answers], before)
    raise SendFailed(f"a solid block came before {len(addresses)} balances were read, {SOLID_TRIES} times")


async def _solid_number(node: TronHttp) -> int:
    block = await node.post("walletsolidity/getnowblock")
    number = block.get("block_header", {}).get("raw_data", {}).get("number")
    if type(number) is not int:
        raise SendFailed("the newest solid block has no number")
    return number


def _held(answer: Mapping[str, Any]) -> int:
    try:
        return int(answer["constant_result"][0], 16)
    except (KeyError, IndexError, TypeError, ValueError):
        raise SendFailed("balanceOf answered no number") from None


def _hex(address: bytes) -> str:
    return (PREFIX + address).hex()


def _number(body: Mapping[str, Any], name: str) -> int:
    value = body.get(name, 0)  # protobuf's JSON leaves a zero out
    if type(value) is not int:
        raise SendFailed(f"{name} is {value!r}")
    return value


def _block_ms(block: Mapping[str, Any]) -> int:
    try:
        return int(block["block_header"]["raw_data"]["timestamp"])
    except (KeyError, TypeError, ValueError):
        raise SendFailed("a block has no time") from None


def _words(message: object) -> str:
    """Return a message of java-tron, which is text in hex."""
    try:
        return bytes.fromhex(str(message or "")).decode("utf-8", "replace")
    except ValueError:
        return str(message)
