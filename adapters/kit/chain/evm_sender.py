"""Sending on an EVM chain over plain JSON-RPC: fees, nonces, bytes out, receipts back.

Rollups take their data's fee in two ways: Arbitrum as more gas, also of a plain transfer of coins; chains of the OP stack (Base,
Optimism) beside gas, from the sender's balance, by a contract at a known address.

Sources: https://ethereum.github.io/execution-apis/, https://eips.ethereum.org/EIPS/eip-1559,
https://docs.arbitrum.io/how-arbitrum-works/gas-fees, https://specs.optimism.io/protocol/predeploys.html#gaspriceoracle
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from eth_hash.auto import keccak

from adapters.base import ChainScanFailed, RailError
from adapters.kit.chain import evm_transaction
from adapters.kit.chain.calls import call_data
from adapters.kit.chain.evm_transaction import EvmTransaction
from adapters.kit.chain.rpc import NodeRefused, NodeRpc, as_list, as_object, data_bytes, hash32, quantity
from adapters.kit.chain.token_code import NO_CODE
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC
from adapters.sending import (
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

BALANCE_OF: Final = "0x70a08231"
COIN_GAS: Final = 21_000
GAS_SLACK_BPS: Final = 12_500
"""Over the estimate: storage may be touched for the first time by then."""
FEE_HEADROOM: Final = 2
"""Times the base fee: it can double within six blocks."""
TIP_WEI: Final = 1_000_000_000
"""Where the node knows no tip."""
DATA_FEE_ORACLE: Final = "0x420000000000000000000000000000000000000f"
DATA_FEE: Final = keccak(b"getL1Fee(bytes)")[:4]
DATA_HEADROOM: Final = 2
NONCE_LARGE: Final = 2**32 - 1
"""In the bytes that a data fee is asked for: a real one is no longer."""
EXECUTION_REVERTED: Final = 3
KNOWN_WORDS: Final = ("already known", "already imported", "alreadyknown", "known transaction", "already in the pool")


class EvmSender:
    """SendsOnChain of one EVM chain."""

    def __init__(self, chain_id: int, nodes: Sequence[NodeRpc]) -> None:
        self._chain_id = chain_id
        self._nodes = nodes
        self._takes_data_fee: bool | None = None

    @property
    def coin_decimals(self) -> int:
        return 18

    @property
    def counts_transactions(self) -> bool:
        return True

    async def balance(self, holder: bytes, contract: bytes | None) -> int:
        """Raises RailError."""
        if contract is None:
            return quantity(await self._ask("eth_getBalance", _hex(holder), "latest"), "eth_getBalance")
        call = {"to": _hex(contract), "data": BALANCE_OF + holder.hex().rjust(64, "0")}
        return int.from_bytes(data_bytes(await self._ask("eth_call", call, "latest"), 32, "balanceOf"), "big")

    async def sent_count(self, sender: bytes, *, final: bool) -> int:
        """Raises RailError."""
        tag = "finalized" if final else "latest"
        return quantity(await self._ask("eth_getTransactionCount", _hex(sender), tag), "eth_getTransactionCount")

    async def quote(self, call: ChainCall) -> FeeQuote:
        """Raises RailError; CallWouldFail."""
        block = as_object(await self._ask("eth_getBlockByNumber", "latest", False), "block")
        base = quantity(block.get("baseFeePerGas", "0x0"), "block.baseFeePerGas")
        try:
            tip = quantity(await self._ask("eth_maxPriorityFeePerGas"), "eth_maxPriorityFeePerGas")
        except RailError:
            tip = TIP_WEI
        expected = await self._gas(call)
        gas = expected if expected == COIN_GAS else expected * GAS_SLACK_BPS // 10_000
        price = base * FEE_HEADROOM + tip
        made = FeeQuote(expected=expected * (base + tip), maximum=gas * price, gas=gas, price=price, tip=tip)
        beside = await self._data_fee(call, made)
        return replace(
            made, expected=made.expected + beside, maximum=made.maximum + beside * DATA_HEADROOM, beside=beside
        )

    async def prepare(self, call: ChainCall, quote: FeeQuote) -> Prepared:
        """Return what lacks its nonce. No network."""
        return _Numbered(self._chain_id, call, quote)

    def read_signed(self, signed: bytes, unsigned: bytes) -> str:
        """Raises ValueError."""
        transaction, _ = evm_transaction.read_signed(signed)
        if transaction.unsigned() != unsigned:
            raise ValueError("what was signed is not what was asked for")
        return evm_transaction.transaction_id(signed)

    async def send(self, signed: bytes) -> SendAnswer:
        """Give the bytes to every node: one that drops them costs nothing."""
        answers = [await self._send(node, signed) for node in self._nodes]
        order = (Sent.TAKEN, Sent.KNOWN, Sent.UNCLEAR, Sent.REFUSED)
        return min(answers, key=lambda answer: order.index(answer.sent))

    async def receipt(self, transaction_id: str, *, proven: bool = False) -> ChainReceipt | None:
        """Raises RailError; with ``proven`` also where one node does not answer."""
        said: list[str] = []
        for node in self._nodes:
            try:
                await node.ensure_chain(self._chain_id)
                raw = await node.call("eth_getTransactionReceipt", transaction_id)
            except ChainScanFailed as failed:
                said.append(str(failed))
                continue
            if raw is not None:
                return await self._read_receipt(as_object(raw, "receipt"), transaction_id)
        if said and (proven or len(said) == len(self._nodes)):
            raise SendFailed("; ".join(said)[:500])
        return None

    async def _read_receipt(self, receipt: Mapping[str, Any], transaction_id: str) -> ChainReceipt:
        if hash32(receipt.get("transactionHash"), "receipt.transactionHash") != transaction_id:
            raise SendFailed("a receipt of another transaction came")
        number = quantity(receipt.get("blockNumber"), "receipt.blockNumber")
        block_hash = hash32(receipt.get("blockHash"), "receipt.blockHash")
        gas = quantity(receipt.get("gasUsed"), "receipt.gasUsed")
        paid = gas * quantity(receipt.get("effectiveGasPrice"), "receipt.effectiveGasPrice")
        paid += quantity(receipt.get("l1Fee") or "0x0", "receipt.l1Fee")  # chains of the OP stack
        moved = tuple(_moved(log) for log in as_list(receipt.get("logs"), "receipt.logs") if _is_transfer(log))
        succeeded = {"0x1": True, "0x0": False}.get(str(receipt.get("status")))
        if succeeded is None:
            raise SendFailed(f"receipt.status is {receipt.get('status')!r}")
        return ChainReceipt(number, succeeded, paid, moved, await self._is_final(number, block_hash))

    async def final_time_us(self) -> int:
        """Raises RailError."""
        block = as_object(await self._ask("eth_getBlockByNumber", "finalized", False), "block")
        return quantity(block.get("timestamp"), "block.timestamp") * 1_000_000

    async def read(self, contract: bytes, data: bytes, sender: bytes | None = None) -> bytes:
        """Call a contract and change nothing. Raises SendFailed, CallWouldFail."""
        call = {"to": _hex(contract), "data": _hex(data)} | ({"from": _hex(sender)} if sender else {})
        shown = await self._ask("eth_call", call, "latest")
        if not isinstance(shown, str):
            raise SendFailed("eth_call answered no hex")
        return bytes.fromhex(shown.removeprefix("0x"))

    async def _is_final(self, number: int, block_hash: str) -> bool:
        block = await self._ask("eth_getBlockByNumber", "finalized", False)
        if block is None or quantity(block.get("number"), "block.number") < number:
            return False
        there = as_object(await self._ask("eth_getBlockByNumber", hex(number), False), "block")
        return hash32(there.get("hash"), "block.hash") == block_hash

    async def _gas(self, call: ChainCall) -> int:
        wanted = {"from": _hex(call.sender), "to": _hex(call.contract or call.recipient), "data": _hex(call_data(call))}
        return quantity(await self._ask("eth_estimateGas", wanted), "eth_estimateGas")

    async def _data_fee(self, call: ChainCall, fees: FeeQuote) -> int:
        """Return what the chain takes beside gas now, wei; 0 on most."""
        if self._takes_data_fee is None:
            self._takes_data_fee = await self._ask("eth_getCode", DATA_FEE_ORACLE, "latest") not in NO_CODE
        if not self._takes_data_fee:
            return 0
        raw = _Numbered(self._chain_id, call, fees).unsigned(NONCE_LARGE).raw
        padded = raw + bytes(-len(raw) % 32)
        data = DATA_FEE + (32).to_bytes(32, "big") + len(raw).to_bytes(32, "big") + padded
        shown = await self._ask("eth_call", {"to": DATA_FEE_ORACLE, "data": _hex(data)}, "latest")
        return int.from_bytes(data_bytes(shown, 32, "getL1Fee"), "big")

    async def _ask(self, method: str, *params: Any) -> Any:
        """Ask one node after the other. Raises SendFailed with what the last one said; CallWouldFail on a revert."""
        said: list[str] = []
        for node in self._nodes:
            try:
                await node.ensure_chain(self._chain_id)
                return await node.call(method, *params)
            except NodeRefused as refused:
                if refused.code == EXECUTION_REVERTED or "revert" in refused.message.lower():
                    raise CallWouldFail(refused.message[:200]) from None
                said.append(str(refused))
            except ChainScanFailed as failed:
                said.append(str(failed))
        raise SendFailed("; ".join(said)[:500])

    async def _send(self, node: NodeRpc, signed: bytes) -> SendAnswer:
        try:
            await node.ensure_chain(self._chain_id)
            await node.call("eth_sendRawTransaction", _hex(signed))
        except NodeRefused as refused:
            known = any(word in refused.message.lower() for word in KNOWN_WORDS)
            return SendAnswer(Sent.KNOWN if known else Sent.REFUSED, refused.message)
        except ChainScanFailed as failed:
            return SendAnswer(Sent.UNCLEAR, str(failed)[:200])
        return SendAnswer(Sent.TAKEN)


@dataclass(frozen=True, slots=True)
class _Numbered:
    chain_id: int
    call: ChainCall
    quote: FeeQuote

    def unsigned(self, nonce: int | None) -> Unsigned:
        assert nonce is not None, "a transaction of an EVM chain has a nonce"
        fees = self.quote
        made = EvmTransaction.of(
            self.call, chain_id=self.chain_id, nonce=nonce, tip=fees.tip, fee=fees.price, gas=fees.gas
        )
        return Unsigned(made.unsigned(), None)


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _is_transfer(log: Any) -> bool:
    topics = as_list(as_object(log, "log").get("topics"), "log.topics")
    return len(topics) == 3 and topics[0] == TRANSFER_TOPIC


def _moved(log: Any) -> MovedToken:
    topics = [data_bytes(topic, 32, "log.topics") for topic in log["topics"]]
    value = int.from_bytes(data_bytes(log.get("data"), 32, "log.data"), "big")
    return MovedToken(data_bytes(log.get("address"), 20, "log.address"), topics[1][12:], topics[2][12:], value)
