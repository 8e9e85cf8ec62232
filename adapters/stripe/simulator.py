"""Stripe's API as far as hosted Checkout and saved cards need it, in memory, over a real socket. Never imports adapter or wire.

Idempotency as https://docs.stripe.com/api/idempotent_requests has it: the first answer of a key is given again, other
parameters under one key are an error, and what was refused before anything began is not kept. (Requests that run at
the same time under one key, 409, cannot happen here: a request is handled without a pause.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from aiohttp import web

from adapters.base import SimulatorSettings
from adapters.kit.simulator import WebhookSender, add_control, api
from adapters.stripe import simulator_money as money
from adapters.stripe.simulator_page import add_page
from adapters.stripe.simulator_payouts import find_payout, lines_of, payouts
from adapters.stripe.simulator_saved import cancel_intent, charge_saved, find_intent
from adapters.stripe.simulator_state import State, StripeSwitches
from adapters.stripe.simulator_wire import (
    Object,
    Params,
    Refused,
    created_within,
    matches_query,
    missing,
    new_id,
    page_of,
    parse_form,
    read_query,
)

Action = Callable[[web.Request, Params], Object]
KEYS_MAX: Final = 100_000
"""The oldest go first; Stripe itself may drop a key after 24 hours."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that an idempotency key gives again."""

    fingerprint: tuple[str, tuple[tuple[str, str], ...]]
    body: str
    status: int = 200


@dataclass(slots=True)
class Api:
    """The endpoints. Each returns the object to answer with, or raises Refused."""

    state: State
    api_key: str
    kept: dict[str, Kept] = field(default_factory=dict)

    def endpoint(self, action: Action) -> Callable[[web.Request], Any]:
        async def handle(request: web.Request) -> web.Response:
            try:
                self._authenticate(request)
                pairs = await self._pairs(request)
                key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
                return self._once(key, request, pairs, action)
            except Refused as refused:
                return _answer(refused.status, json.dumps(refused.body))

        return handle

    def _once(
        self, key: str | None, request: web.Request, pairs: Sequence[tuple[str, str]], action: Action
    ) -> web.Response:
        fingerprint = (request.path, tuple(sorted(pairs)))
        kept = self.kept.get(key) if key else None
        if key and kept is not None:
            if kept.fingerprint != fingerprint:
                raise Refused(
                    400,
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{key}' if you meant to execute a different request.",
                    type="idempotency_error",
                )
            return _answer(kept.status, kept.body, {"Idempotent-Replayed": "true"})
        status = 200
        try:
            body = json.dumps(action(request, parse_form(pairs)), indent=2)
        except Refused as refused:
            if not refused.tried:
                raise
            status, body = refused.status, json.dumps(refused.body, indent=2)
        if key:
            self.kept[key] = Kept(fingerprint, body, status)
            if len(self.kept) > KEYS_MAX:
                del self.kept[next(iter(self.kept))]
        return _answer(status, body)

    def _authenticate(self, request: web.Request) -> None:
        scheme, _, value = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Basic":
            try:
                value = base64.b64decode(value, validate=True).decode().partition(":")[0]
            except ValueError:
                value = ""
        if not value:
            raise Refused(401, "You did not provide an API key.")
        if value != self.api_key:
            raise Refused(401, f"Invalid API Key provided: {value[:7]}{'*' * 8}{value[-4:]}")

    async def _pairs(self, request: web.Request) -> list[tuple[str, str]]:
        if request.method == "GET":
            return list(request.query.items())
        return [(name, value) for name, value in (await request.post()).items() if isinstance(value, str)]

    # --- checkout sessions ----------------------------------------------------------------------------------------

    def create_session(self, _request: web.Request, params: Params) -> Object:
        return self._expanded(self.state.create_session(params), params)

    def retrieve_session(self, request: web.Request, params: Params) -> Object:
        return self._expanded(self.state.session(request.match_info["id"]), params)

    def expire_session(self, request: web.Request, params: Params) -> Object:
        return self._expanded(self.state.expire_session(request.match_info["id"]), params)

    def list_sessions(self, _request: web.Request, params: Params) -> Object:
        found = [
            session
            for session in _newest_first(self.state.sessions)
            if created_within(session, params.get("created"))
            and params.get("payment_intent") in {None, session["payment_intent"]}
            and params.get("status") in {None, session["status"]}
        ]
        return page_of(found, params, "/v1/checkout/sessions")

    # --- payment intents, events ----------------------------------------------------------------------------------

    def create_intent(self, _request: web.Request, params: Params) -> Object:
        return self._expanded(charge_saved(self.state, params), params)

    def cancel_intent(self, request: web.Request, params: Params) -> Object:
        return self._expanded(cancel_intent(self.state, request.match_info["id"]), params)

    def retrieve_intent(self, request: web.Request, params: Params) -> Object:
        return self._expanded(find_intent(self.state, request.match_info["id"]), params)

    def list_intents(self, _request: web.Request, params: Params) -> Object:
        found = [i for i in _newest_first(self.state.intents) if created_within(i, params.get("created"))]
        return page_of(found, params, "/v1/payment_intents")

    def search_intents(self, _request: web.Request, params: Params) -> Object:
        lag_seconds = self.state.switches.search_lag_ms / 1000
        visible = [i for i in _newest_first(self.state.intents) if i["created"] + lag_seconds <= self.state.clock()]
        clauses = read_query(str(params.get("query", "")))
        found = [intent for intent in visible if matches_query(clauses, intent)]
        page = page_of(found, params, "/v1/payment_intents/search")
        return {**page, "object": "search_result", "next_page": None}

    def list_events(self, _request: web.Request, params: Params) -> Object:
        found = [
            event
            for event in _newest_first(self.state.events)
            if created_within(event, params.get("created")) and params.get("type") in {None, event["type"]}
        ]
        return page_of(found, params, "/v1/events")

    def retrieve_event(self, request: web.Request, _params: Params) -> Object:
        event = self.state.events.get(request.match_info["id"])
        if event is None:
            raise missing("event", request.match_info["id"])
        return event

    def create_refund(self, _request: web.Request, params: Params) -> Object:
        return dict(money.create_refund(self.state, params))

    def retrieve_refund(self, request: web.Request, _params: Params) -> Object:
        return money.find_refund(self.state, request.match_info["id"])

    def list_refunds(self, _request: web.Request, params: Params) -> Object:
        wanted = params.get("payment_intent")
        found = [one for one in _newest_first(self.state.refunds) if wanted in {None, one["payment_intent"]}]
        return page_of(found, params, "/v1/refunds")

    def list_disputes(self, _request: web.Request, params: Params) -> Object:
        found = [one for one in _newest_first(self.state.disputes) if created_within(one, params.get("created"))]
        return page_of(found, params, "/v1/disputes")

    def retrieve_dispute(self, request: web.Request, _params: Params) -> Object:
        return money.find_dispute(self.state, request.match_info["id"])

    def answer_dispute(self, request: web.Request, params: Params) -> Object:
        return dict(money.answer_dispute(self.state, request.match_info["id"], params))

    def close_dispute(self, request: web.Request, _params: Params) -> Object:
        return dict(money.accept_dispute(self.state, request.match_info["id"]))

    def capture_intent(self, request: web.Request, params: Params) -> Object:
        return self._expanded(money.capture(self.state, request.match_info["id"], params), params)

    def list_balance(self, _request: web.Request, params: Params) -> Object:
        lines = lines_of(self.state, _newest_first(self.state.balance), params)
        page = page_of(lines, params, "/v1/balance_transactions")
        if params.get("expand") == ["data.source"]:
            shelves = {**self.state.charges, **self.state.refunds, **self.state.disputes, **self.state.payouts}
            page["data"] = [{**line, "source": shelves.get(line["source"], line["source"])} for line in page["data"]]
        return page

    def retrieve_payout(self, request: web.Request, _params: Params) -> Object:
        return find_payout(self.state, request.match_info["id"])

    def retrieve_balance(self, _request: web.Request, _params: Params) -> Object:
        nothing = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
        return {"object": "balance", "available": nothing, "pending": nothing, "livemode": False}

    def _expanded(self, found: Object, params: Params) -> Object:
        """Put objects in the place of ids, as https://docs.stripe.com/api/expanding_objects describes."""
        wanted = params.get("expand", [])
        shown = dict(found)
        for path in wanted if isinstance(wanted, list) else []:
            node = shown
            for name in str(path).split("."):
                shelf = self._shelf(name)
                if shelf is None or name not in node:
                    raise Refused(400, f"This property cannot be expanded ({path}).")
                if isinstance(node[name], str):
                    node[name] = dict(shelf[node[name]])
                if node[name] is None:
                    break
                node = node[name]
        return shown

    def _shelf(self, name: str) -> dict[str, Object] | None:
        state = self.state
        return {"payment_intent": state.intents, "latest_charge": state.charges, "payment_method": state.used}.get(name)


def _newest_first(shelf: dict[str, Object]) -> list[Object]:
    return list(reversed(shelf.values()))


def _answer(status: int, body: str, headers: dict[str, str] | None = None) -> web.Response:
    every = {"Request-Id": new_id("req_", 14), **(headers or {})}
    return web.Response(status=status, text=body, content_type="application/json", headers=every)


def _refuse(status: int) -> web.Response:
    said = {"type": "api_error" if status >= 500 else "invalid_request_error", "message": f"Simulated {status}."}
    if status in {409, 429}:
        said["code"] = "rate_limit" if status == 429 else "idempotency_key_in_use"
    return _answer(status, json.dumps({"error": said}))


def build(settings: SimulatorSettings) -> web.Application:
    """Build the application; its state lives as long as it does."""
    switches = StripeSwitches()
    sender = WebhookSender(settings.webhook_url, switches)
    state = State(settings.base_url, tuple(settings.options["webhook_secrets"]), switches, sender)
    state.paid = money.after_payment
    calls = Api(state, settings.options["api_key"])
    app = web.Application()
    for method, path, action in (
        ("POST", "/v1/checkout/sessions", calls.create_session),
        ("GET", "/v1/checkout/sessions", calls.list_sessions),
        ("GET", "/v1/checkout/sessions/{id}", calls.retrieve_session),
        ("POST", "/v1/checkout/sessions/{id}/expire", calls.expire_session),
        ("POST", "/v1/payment_intents", calls.create_intent),
        ("POST", "/v1/payment_intents/{id}/cancel", calls.cancel_intent),
        ("GET", "/v1/payment_intents", calls.list_intents),
        ("GET", "/v1/payment_intents/search", calls.search_intents),
        ("GET", "/v1/payment_intents/{id}", calls.retrieve_intent),
        ("POST", "/v1/payment_intents/{id}/capture", calls.capture_intent),
        ("POST", "/v1/refunds", calls.create_refund),
        ("GET", "/v1/refunds", calls.list_refunds),
        ("GET", "/v1/refunds/{id}", calls.retrieve_refund),
        ("GET", "/v1/disputes", calls.list_disputes),
        ("GET", "/v1/disputes/{id}", calls.retrieve_dispute),
        ("POST", "/v1/disputes/{id}", calls.answer_dispute),
        ("POST", "/v1/disputes/{id}/close", calls.close_dispute),
        ("GET", "/v1/balance_transactions", calls.list_balance),
        ("GET", "/v1/balance", calls.retrieve_balance),
        ("GET", "/v1/payouts/{id}", calls.retrieve_payout),
        ("GET", "/v1/events", calls.list_events),
        ("GET", "/v1/events/{id}", calls.retrieve_event),
    ):
        app.router.add_route(method, path, api(switches, calls.endpoint(action), _refuse))
    add_page(app, state)
    add_control(app, switches, sender)
    app.router.add_post("/_bank/disputes", _disputes(state))
    app.router.add_post("/_bank/refunds", _refunds(state))
    app.router.add_post("/_bank/settles", _settles(state))
    app.router.add_post("/_bank/payouts", payouts(state))
    return app


def _refunds(state: State) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What becomes of every refund later, now."""

    async def refunds(_request: web.Request) -> web.Response:
        for refund in state.refunds.values():
            money.settle_refund(state, refund)
        return web.json_response({"refunds": len(state.refunds)})

    return refunds


def _settles(state: State) -> Callable[[web.Request], Awaitable[web.Response]]:
    """From now on the account holds charges of a currency in another: ``{"from": "eur", "to": "usd", "rate": "1.08"}``."""

    async def settles(request: web.Request) -> web.Response:
        asked = await request.json()
        state.settles[asked["from"]] = (asked["to"], Decimal(asked["rate"]))
        return web.json_response(asked)

    return settles


def _disputes(state: State) -> Callable[[web.Request], Awaitable[web.Response]]:
    """What a cardholder's bank does, whenever it likes: ``{"payment_intent": "pi_...", "reason": "fraudulent"}``.

    With ``"status": "warning_needs_response"`` it only asks.
    """

    async def disputes(request: web.Request) -> web.Response:
        asked = await request.json()
        intent = state.intents.get(asked["payment_intent"])
        if intent is None or intent["status"] != "succeeded":
            return web.json_response({"error": "no such payment was made"}, status=404)
        charge = state.charges[intent["latest_charge"]]
        reason, status = asked.get("reason", "fraudulent"), asked.get("status", "needs_response")
        return web.json_response(money.open_dispute(state, charge, reason, status))

    return disputes
