"""The JSON-RPC methods of a simulated node, as the execution API and java-tron's documentation have them.

Sources: https://ethereum.github.io/execution-apis/, https://eips.ethereum.org/EIPS/eip-234 (logs by block hash),
Ethereum Yellow Paper 4.4.3 (bloom), https://tronprotocol.github.io/documentation-en/api/json-rpc/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from eth_hash.auto import keccak

from adapters.kit.chain.simulated_chain import TRANSFER, Block, Log, SimulatedChain, Token, Transaction

RANGE_MAX: Final = 5000
SYMBOL: Final = keccak(b"symbol()")[:4].hex()
DECIMALS: Final = keccak(b"decimals()")[:4].hex()
BALANCE_OF: Final = keccak(b"balanceOf(address)")[:4].hex()
ZERO_32: Final = "0x" + "0" * 64


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What differs between geth's family and java-tron."""

    name: str
    client: str
    has_bloom: bool
    finality_blocks: int
    refused_tags: frozenset[str]
    keeps_logs_of_failures: bool
    """java-tron says to look at the status before the logs; an EVM receipt of a failure has none."""
    unknown_block: tuple[int, str]
    calls_newest_only: bool
    """java-tron answers eth_call for no other block."""
    no_contract: tuple[int, str] | None
    """The error of eth_call where there is no contract; None = the empty answer 0x."""


class SimulatedNode:
    """Answers one JSON-RPC method after the other from one chain."""

    def __init__(self, kind: NodeKind, chain: SimulatedChain, tokens: Mapping[bytes, Token]) -> None:
        self.kind = kind
        self.chain = chain
        self._tokens = tokens
        self._methods: dict[str, Callable[[list[Any]], Any]] = {
            "web3_clientVersion": lambda _: kind.client,
            "net_version": lambda _: str(chain.chain_id),
            "eth_chainId": lambda _: hex(chain.chain_id),
            "eth_blockNumber": lambda _: hex(chain.head),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getLogs": self._logs,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getCode": self._code,
            "eth_getStorageAt": lambda _: ZERO_32,  # its tokens are no proxies
            "eth_call": self._call,
        }

    def answer(self, method: str, params: list[Any]) -> Any:
        """Return the result. Raises RpcError."""
        handler = self._methods.get(method)
        if handler is None:
            raise RpcError(-32601, f"the method {method} does not exist/is not available")
        try:
            return handler(params)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError):
            raise RpcError(-32602, "invalid params") from None

    def height_of(self, tag: str) -> int:
        if tag in self.kind.refused_tags:
            raise RpcError(-32602, f"TAG {tag} not supported")
        if tag in {"latest", "pending"}:
            return self.chain.head
        if tag in {"finalized", "safe"}:
            return max(0, self.chain.head - self.kind.finality_blocks)
        return 0 if tag == "earliest" else int(tag, 16)

    def _block_by_number(self, params: list[Any]) -> Any:
        block = self.chain.block(self.height_of(params[0]))
        return self._show_block(block, full=params[1]) if block else None

    def _block_by_hash(self, params: list[Any]) -> Any:
        block = self.chain.block_by_hash(params[0])
        return self._show_block(block, full=params[1]) if block else None

    def _show_block(self, block: Block, *, full: bool) -> dict[str, Any]:
        bloom = 0
        if self.kind.has_bloom:
            for transaction in block.transactions:
                for log in self._kept_logs(transaction):
                    bloom |= _bloom(log)
        return {
            "number": hex(block.number),
            "hash": block.hash,
            "parentHash": block.parent_hash,
            "timestamp": hex(block.timestamp),
            "logsBloom": f"0x{bloom:0512x}",
            "miner": "0x" + "0" * 40,
            "nonce": "0x" + "0" * 16,
            "sha3Uncles": ZERO_32,
            "transactionsRoot": ZERO_32,
            "receiptsRoot": ZERO_32,
            "stateRoot": ZERO_32,
            "mixHash": ZERO_32,
            "difficulty": "0x0",
            "totalDifficulty": "0x0",
            "extraData": "0x",
            "size": "0x400",
            "gasLimit": "0x1c9c380",
            "gasUsed": hex(64_285 * len(block.transactions)),
            "baseFeePerGas": "0x0",
            "uncles": [],
            "transactions": [
                self._show_transaction(block, place) if full else transaction.hash
                for place, transaction in enumerate(block.transactions)
            ],
        }

    def _show_transaction(self, block: Block, place: int) -> dict[str, Any]:
        transaction = block.transactions[place]
        return {
            "hash": transaction.hash,
            "blockHash": block.hash,
            "blockNumber": hex(block.number),
            "transactionIndex": hex(place),
            "from": "0x" + transaction.sender.hex(),
            "to": "0x" + transaction.to.hex(),
            "value": "0x0",
            "gas": "0xfb1d",
            "gasPrice": "0x64",
            "input": "0x",
            "nonce": "0x0",
            "type": "0x0",
        }

    def _kept_logs(self, transaction: Transaction) -> tuple[Log, ...]:
        return transaction.logs if transaction.ok or self.kind.keeps_logs_of_failures else ()

    def _shown_logs(self, block: Block) -> Iterator[tuple[int, Log, dict[str, Any]]]:
        """Yield the transaction's place, the log and how it is shown; the index counts over the whole block."""
        index = 0
        for place, transaction in enumerate(block.transactions):
            for log in self._kept_logs(transaction):
                shown = {
                    "address": "0x" + log.address.hex(),
                    "topics": ["0x" + topic.hex() for topic in log.topics],
                    "data": "0x" + log.data.hex(),
                    "blockHash": block.hash,
                    "blockNumber": hex(block.number),
                    "blockTimestamp": hex(block.timestamp),
                    "transactionHash": transaction.hash,
                    "transactionIndex": hex(place),
                    "logIndex": hex(index),
                    "removed": False,
                }
                yield place, log, shown
                index += 1

    def _logs(self, params: list[Any]) -> list[Any]:
        wanted = params[0]
        if "blockHash" in wanted:
            if "fromBlock" in wanted or "toBlock" in wanted:
                raise RpcError(-32602, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
            block = self.chain.block_by_hash(wanted["blockHash"])
            if block is None:
                raise RpcError(*self.kind.unknown_block)
            blocks: list[Block] = [block]
        else:
            first = self.height_of(wanted.get("fromBlock", "latest"))
            last = self.height_of(wanted.get("toBlock", "latest"))
            if last - first >= RANGE_MAX:
                raise RpcError(-32602, f"exceed max block range: {RANGE_MAX}")
            blocks = list(self.chain.blocks_with_transactions(first, last))
        return [shown for block in blocks for _, _, shown in self._shown_logs(block) if _matches(shown, wanted)]

    def _receipt(self, params: list[Any]) -> Any:
        found = self.chain.find(params[0])
        return self._show_receipt(*found) if found else None

    def _block_receipts(self, params: list[Any]) -> Any:
        given: str = params[0]
        block = self.chain.block_by_hash(given) if len(given) == 66 else self.chain.block(self.height_of(given))
        return [self._show_receipt(block, place) for place in range(len(block.transactions))] if block else None

    def _show_receipt(self, block: Block, place: int) -> dict[str, Any]:
        transaction = block.transactions[place]
        bloom = 0
        if self.kind.has_bloom:
            for log in self._kept_logs(transaction):
                bloom |= _bloom(log)
        return {
            "transactionHash": transaction.hash,
            "transactionIndex": hex(place),
            "blockHash": block.hash,
            "blockNumber": hex(block.number),
            "from": "0x" + transaction.sender.hex(),
            "to": "0x" + transaction.to.hex(),
            "cumulativeGasUsed": hex(64_285 * (place + 1)),
            "gasUsed": hex(64_285),
            "effectiveGasPrice": "0x64",
            "contractAddress": None,
            "logs": [shown for where, _, shown in self._shown_logs(block) if where == place],
            "logsBloom": f"0x{bloom:0512x}",
            "status": "0x1" if transaction.ok else "0x0",
            "type": "0x0",
        }

    def _code(self, params: list[Any]) -> str:
        return "0x6080604052" if bytes.fromhex(params[0][2:]) in self._tokens else "0x"

    def _balance(self, token: Token, holder: bytes, height: int) -> int:
        """Return what the transfers of the chain had left on an address (no address began with anything)."""
        balance, word = 0, holder.rjust(32, b"\0")
        for block in self.chain.blocks_with_transactions(0, height):
            for transaction in block.transactions:
                for log in transaction.logs if transaction.ok else ():
                    if log.address == token.contract and log.topics[0] == TRANSFER:
                        value = int.from_bytes(log.data, "big")
                        balance += value * ((log.topics[2] == word) - (log.topics[1] == word))
        return max(0, balance)

    def _call(self, params: list[Any]) -> str:
        call, tag = params[0], str(params[1]) if len(params) > 1 else "latest"
        if self.kind.calls_newest_only and tag != "latest":
            raise RpcError(-32602, "QUANTITY not supported, just support TAG as latest")
        data = str(call.get("input") or call.get("data") or "0x")[2:]
        token = self._tokens.get(bytes.fromhex(call["to"][2:]))
        if token is None:
            if self.kind.no_contract is None:
                return "0x"
            raise RpcError(*self.kind.no_contract)
        if data.startswith(DECIMALS):
            return f"0x{token.decimals:064x}"
        if data.startswith(BALANCE_OF):
            return f"0x{self._balance(token, bytes.fromhex(data[32:72]), self.height_of(tag)):064x}"
        if data.startswith(SYMBOL):
            text = token.symbol.encode()
            padded = text.ljust(-(-len(text) // 32) * 32, b"\0")
            return f"0x{32:064x}{len(text):064x}{padded.hex()}"
        raise RpcError(3, "execution reverted")


def _matches(shown: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    addresses = wanted.get("address")
    if isinstance(addresses, str):
        addresses = [addresses]
    if addresses and shown["address"] not in {str(address).lower() for address in addresses}:
        return False
    topics = shown["topics"]
    for place, allowed in enumerate(wanted.get("topics") or []):
        if allowed is None:
            continue
        options = [allowed] if isinstance(allowed, str) else allowed
        if place >= len(topics) or topics[place] not in {str(option).lower() for option in options}:
            return False
    return True


def _bloom(log: Log) -> int:
    bloom = 0
    for item in (log.address, *log.topics):
        digest = keccak(item)
        for start in range(0, 6, 2):
            bloom |= 1 << (int.from_bytes(digest[start : start + 2], "big") % 2048)
    return bloom
