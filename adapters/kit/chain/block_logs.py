"""From a block's raw logs to what concerns us: transfers to our addresses, unknown tokens, acts of administrators. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.base import BlockHeader, ChainScanFailed, ChainToken, TokenAlarm
from adapters.kit.chain.admin_log import ADMIN_TOPICS, read_alarm
from adapters.kit.chain.rpc import as_list, as_object, data_bytes, quantity
from adapters.kit.chain.transfer_log import TRANSFER_TOPIC, TransferLog, read_transfer

IsOurs = Callable[[bytes], bool]
WATCHED_TOPICS: Final = [TRANSFER_TOPIC, *ADMIN_TOPICS]
"""One question of several topics costs the node one call."""
TRANSFER_TOPICS: Final = 3


@dataclass(frozen=True, slots=True)
class Findings:
    """What one block holds for us, before the receipts are read."""

    hits: tuple[TransferLog, ...]
    """Transfers of registered tokens, zero values dropped: anybody can emit those from any address."""
    strangers: tuple[TransferLog, ...]
    """Transfers to us of contracts that are in no registry."""
    alarms: tuple[TokenAlarm, ...]

    @property
    def transactions(self) -> list[str]:
        return sorted({log.tx_hash for log in (*self.hits, *self.strangers)})


class LogReader:
    """Reads the logs of one chain's blocks."""

    def __init__(self, tokens: Sequence[ChainToken], *, unknown_tokens: bool) -> None:
        self._tokens: Mapping[bytes, ChainToken] = {token.contract: token for token in tokens}
        self._unknown_tokens = unknown_tokens
        self._by_text = {"0x" + token.contract.hex(): token for token in tokens}

    def find(self, header: BlockHeader, logs: Sequence[Any], is_ours: IsOurs) -> Findings:
        """Read one block's logs. Raises ChainScanFailed where one of them cannot be believed."""
        hits: dict[int, TransferLog] = {}
        strangers: dict[int, TransferLog] = {}
        alarms: list[TokenAlarm] = []
        for raw in logs:
            log = read_transfer(raw, header.hash, header.number, self._tokens)
            if log is None:
                self._other(raw, header, is_ours, strangers, alarms)
                continue
            if log.value == 0 or not is_ours(log.recipient):
                continue
            if log.log_index in hits:
                raise ChainScanFailed(f"log {log.log_index} of block {header.hash} came twice")
            hits[log.log_index] = log
        return Findings(
            tuple(hits[index] for index in sorted(hits)),
            tuple(strangers[index] for index in sorted(strangers)),
            tuple(alarms),
        )

    def _other(
        self,
        raw: Any,
        header: BlockHeader,
        is_ours: IsOurs,
        strangers: dict[int, TransferLog],
        alarms: list[TokenAlarm],
    ) -> None:
        contract = data_bytes(as_object(raw, "log").get("address"), 20, "log.address")
        token = self._tokens.get(contract)
        if token is not None:
            alarm = read_alarm(raw, token, is_ours)
            if alarm is not None:
                alarms.append(alarm)
        elif self._unknown_tokens and _is_plain_transfer(raw):
            log = read_transfer(raw, header.hash, header.number, {contract})
            if log is not None and log.value and is_ours(log.recipient):
                strangers[log.log_index] = log

    def sift(self, logs: Sequence[Any], is_ours: IsOurs) -> dict[int, list[Any]]:
        """Return, by block number, the raw logs of a range that may concern us. Cheap: a range has thousands of logs.

        Raises ChainScanFailed where a log has no shape.
        """
        kept: dict[int, list[Any]] = {}
        known = self._by_text
        try:
            for raw in logs:
                topics = raw["topics"]
                if topics[0] == TRANSFER_TOPIC:
                    if raw["address"].lower() not in known and len(topics) != TRANSFER_TOPICS:
                        continue
                    if not is_ours(bytes.fromhex(topics[2][26:])):
                        continue
                kept.setdefault(quantity(raw["blockNumber"], "log.blockNumber"), []).append(raw)
        except (TypeError, KeyError, IndexError, ValueError, AttributeError):
            raise ChainScanFailed("a log of a range has no address, topics or block") from None
        return kept


def _is_plain_transfer(raw: Any) -> bool:
    """Say whether it has the shape of a fungible token's transfer (others keep a name or an id in the topics)."""
    topics = as_list(raw.get("topics"), "log.topics")
    data = raw.get("data")
    return len(topics) == TRANSFER_TOPICS and topics[0] == TRANSFER_TOPIC and isinstance(data, str) and len(data) == 66
