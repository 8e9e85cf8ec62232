"""A simulated chain node as a web application: JSON-RPC, a control for tests, and a page on which the buyer pays.

POST {base}, {base}/ or {base}/jsonrpc      JSON-RPC, also in batches
GET  {base}/                                the buyer's page
GET  {base}/_control                        head, finalized, pending, switches
POST {base}/_control                        one or more of
    {"pay": {"token": "USDT", "to": "<address>", "amount": "20.00"}}    mined in the next block; answers tx_hash
             also "from", "transfers": n in one transaction, "foreign_logs": n before each transfer,
             "fails": true (receipt status 0); "token" may be any contract address: a look-alike
    {"crowd": n}          a transaction with n logs of foreign contracts (fills the bloom filter)
    {"mine": n}           n blocks now
    {"automine": false}   no block by the clock any more
    {"reorg": depth, "requeue": true}   replaces the newest blocks; their transactions are pending again, or gone
    {"faults": {"http200_error": n, "empty_logs": n, "empty_receipts": n, "down": n, "rate_limited": n,
                "drop_answer": n, "lag": blocks, "delay_ms": n}}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson
from aiohttp import web

from adapters.base import SimulatorSettings
from adapters.kit.chain import buyer_page
from adapters.kit.chain.simulated_chain import (
    BLOCKS_MADE_AT_ONCE_MAX,
    STRANGERS,
    Log,
    SimulatedChain,
    Token,
    Transaction,
    foreign_log,
    transfer_log,
)
from adapters.kit.chain.simulated_rpc import NodeKind, RpcError, SimulatedNode
from adapters.kit.chain.simulated_wallet import WalletApi
from adapters.kit.simulator import Handler, Switches, api

EVM_NODE: Final = NodeKind(
    name="evm",
    client="Simulator/evm",
    has_bloom=True,
    finality_blocks=64,  # two epochs of 32 slots
    refused_tags=frozenset(),
    keeps_logs_of_failures=False,
    unknown_block=(-32000, "unknown block"),
    calls_newest_only=False,
    no_contract=None,
)
TRON_NODE: Final = NodeKind(
    name="tron",
    client="Simulator/java-tron",
    has_bloom=False,
    finality_blocks=19,  # more than two thirds of 27 super representatives
    refused_tags=frozenset({"pending", "safe"}),
    keeps_logs_of_failures=True,
    unknown_block=(-32602, "invalid blockHash"),
    calls_newest_only=True,
    no_contract=(-32600, "Contract validate error : smart contract does not exist"),
)

TRON_RATE_LIMIT: Final = {"Error": "class java.lang.IllegalAccessException : lack of computing resources"}


@dataclass(slots=True)
class NodeSwitches(Switches):
    """The kit's switches, and those of a node. Those about webhooks and declines mean nothing to a chain."""

    http200_error: int = 0
    """So many calls answer HTTP 200 with java-tron's rate limit, outside JSON-RPC."""
    empty_logs: int = 0
    """So many eth_getLogs answer an empty list."""
    empty_receipts: int = 0
    """So many eth_getBlockReceipts answer an empty list."""
    lag: int = 0
    """The node shows so many blocks less than there are."""


class BadRequest(ValueError):
    """Control or page: what was asked for makes no sense; the text says why."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class NodeSimulator:
    """One chain, its node, its switches."""

    def __init__(self, settings: SimulatorSettings, kind: NodeKind, now: Callable[[], datetime]) -> None:
        options = settings.options
        tokens = [
            Token(code, str(given.get("symbol") or code), buyer_page.read_address(given["contract"]), given["decimals"])
            for code, given in options["tokens"].items()
        ]
        self.settings = settings
        self.tokens = {token.code: token for token in tokens}
        # What the account calls final is final here, so that a sandbox with blocks of a second does not wait for minutes.
        finality_blocks = int(options.get("confirmations", kind.finality_blocks + 1)) - 1
        kind = replace(kind, finality_blocks=finality_blocks)
        self.chain = SimulatedChain(int(options["chain_id"]), float(options["block_seconds"]), now)
        self.node = SimulatedNode(kind, self.chain, {token.contract: token for token in tokens})
        self.switches = NodeSwitches()

    def limited(self, call: Handler) -> Handler:
        """Answer java-tron's rate limit where it is switched on, in its HTTP API as in JSON-RPC."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response(TRON_RATE_LIMIT) if self.switches.take("http200_error") else await call(request)

        return answer

    # --- JSON-RPC -------------------------------------------------------------------------------------------------

    async def rpc(self, request: web.Request) -> web.StreamResponse:
        if self.switches.take("http200_error"):
            return web.json_response(TRON_RATE_LIMIT)
        try:
            body = orjson.loads(await request.read())
        except orjson.JSONDecodeError:
            return _json({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "JSON parse error"}})
        answer = [self._one(call) for call in body] if isinstance(body, list) else self._one(body)
        return _json(answer)

    def _one(self, call: Any) -> dict[str, Any]:
        if not isinstance(call, dict) or not isinstance(call.get("params", []), list):
            return {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}}
        method = str(call.get("method"))
        self.chain.lag_blocks = self.switches.lag
        try:
            result = self.node.answer(method, call.get("params", []))
        except RpcError as error:
            failure = {"code": error.code, "message": error.message}
            return {"jsonrpc": "2.0", "id": call.get("id"), "error": failure}
        if (method == "eth_getLogs" and self.switches.take("empty_logs")) or (
            method == "eth_getBlockReceipts" and self.switches.take("empty_receipts")
        ):
            result = []
        return {"jsonrpc": "2.0", "id": call.get("id"), "result": result}

    # --- control --------------------------------------------------------------------------------------------------

    async def show(self, _request: web.Request) -> web.Response:
        return _json(self._state())

    async def control(self, request: web.Request) -> web.Response:
        try:
            wanted = orjson.loads(await request.read())
            if not isinstance(wanted, dict):
                raise BadRequest("the body is a JSON object")
            answer = self._act(wanted)
        except (ValueError, TypeError, KeyError) as error:
            return _json({"error": f"{type(error).__name__}: {error}"}, status=400)
        return _json({**answer, **self._state()})

    def _act(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        commands = {"faults", "automine", "pay", "crowd", "reorg", "requeue", "mine"}
        switches = {name: value for name, value in wanted.items() if name not in commands}
        self.switches.change({**wanted.get("faults", {}), **switches})
        self.chain.catch_up()
        answer: dict[str, Any] = {}
        if "automine" in wanted:
            self.chain.automine = bool(wanted["automine"])
        if "reorg" in wanted:
            depth = _count(wanted["reorg"], "reorg")
            self.chain.reorganise(depth, requeue=bool(wanted.get("requeue", True)))
        if "crowd" in wanted:
            logs = tuple(foreign_log() for _ in range(_count(wanted["crowd"], "crowd")))
            answer["tx_hash"] = self.chain.submit(STRANGERS[0], STRANGERS[1], logs).hash
        if "pay" in wanted:
            answer["tx_hash"] = self.pay(wanted["pay"]).hash
        if "mine" in wanted:
            self.chain.mine(_count(wanted["mine"], "mine"))
        return answer

    def _state(self) -> dict[str, Any]:
        return {
            "head": self.chain.head,
            "finalized": self.node.height_of("finalized"),
            "pending": [transaction.hash for transaction in self.chain.pending],
            "switches": asdict(self.switches),
        }

    def pay(self, wanted: Mapping[str, Any]) -> Transaction:
        """Queue a buyer's transaction for the next block, behind one between strangers. Raises BadRequest."""
        contract, decimals = self._contract(str(wanted.get("token", next(iter(self.tokens)))))
        recipient = buyer_page.read_address(str(wanted["to"]))
        sender = buyer_page.read_address(str(wanted["from"])) if "from" in wanted else b"\x0b" * 20
        value = _raw_amount(str(wanted["amount"]), decimals)
        logs: list[Log] = []
        for _ in range(_count(wanted.get("transfers", 1), "transfers")):
            logs += [foreign_log() for _ in range(int(wanted.get("foreign_logs", 0)))]
            logs.append(transfer_log(contract, sender, recipient, value))
        if not self.chain.pending:  # so that the log's index in the block is not its place in its receipt
            watched = next(iter(self.tokens.values())).contract
            self.chain.submit(STRANGERS[0], watched, (transfer_log(watched, STRANGERS[0], STRANGERS[1], 1),))
        return self.chain.submit(sender, contract, tuple(logs), ok=not wanted.get("fails", False))

    def _contract(self, token: str) -> tuple[bytes, int]:
        known = self.tokens.get(token)
        return (known.contract, known.decimals) if known else (buyer_page.read_address(token), 6)

    # --- the buyer's page -----------------------------------------------------------------------------------------

    async def page(self, request: web.Request) -> web.Response:
        return self._page(dict(request.query))

    async def pay_by_hand(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        try:
            paid = self.pay({name: form[name].strip() for name in ("token", "to", "amount")})
        except (ValueError, KeyError) as error:
            return self._page(form, error=str(error), status=400)
        return self._page({}, tx_hash=paid.hash)

    def _page(self, form: Mapping[str, str], tx_hash: str = "", error: str = "", status: int = 200) -> web.Response:
        html = buyer_page.render(
            network=str(self.settings.options.get("network", self.node.kind.name)),
            action=f"{self.settings.base_url}/pay",
            tokens=list(self.tokens),
            form=form,
            block_seconds=float(self.settings.options["block_seconds"]),
            tx_hash=tx_hash,
            error=error,
        )
        return web.Response(text=html, content_type="text/html", status=status)


def node_application(
    settings: SimulatorSettings, kind: NodeKind, now: Callable[[], datetime] = utc_now
) -> web.Application:
    """Return one simulated node; ``settings.options`` are those of the rail account."""
    simulator = NodeSimulator(settings, kind, now)
    app = web.Application(client_max_size=4 * 1024 * 1024)
    rpc = api(simulator.switches, simulator.rpc, _busy)
    for path in ("", "/", "/jsonrpc"):
        app.router.add_post(path, rpc)
    for path in ("", "/"):
        app.router.add_get(path, simulator.page)
    if kind.name == TRON_NODE.name:
        wallet = WalletApi(simulator.chain, simulator.node.kind.finality_blocks, now)
        wallet.routes(app, lambda call: api(simulator.switches, simulator.limited(call), _busy))
    app.router.add_post("/pay", simulator.pay_by_hand)
    app.router.add_get("/_control", simulator.show)
    app.router.add_post("/_control", simulator.control)
    return app


def _busy(status: int) -> web.Response:
    return web.Response(text="busy", status=status)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), content_type="application/json", status=status)


def _count(value: Any, name: str) -> int:
    if type(value) is not int or not 1 <= value <= BLOCKS_MADE_AT_ONCE_MAX:
        raise BadRequest(f"{name} is a whole number from 1 to {BLOCKS_MADE_AT_ONCE_MAX}")
    return value


def _raw_amount(text: str, decimals: int) -> int:
    try:
        raw = Decimal(text).scaleb(decimals)
    except InvalidOperation:
        raise BadRequest("the amount is a decimal number such as 20.00") from None
    if not raw.is_finite() or raw != raw.to_integral_value() or not 0 <= raw < 2**256:
        raise BadRequest(f"the amount is from 0 up and has at most {decimals} decimals")
    return int(raw)
