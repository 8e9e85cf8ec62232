"""Adyen's side: payment links over HTTP, a hosted page, signed webhooks.

    GET/POST {base}/_control           fault switches (adapters/kit/simulator.py)
    POST  {base}/v72/paymentLinks      GET, PATCH {base}/v72/paymentLinks/{id}
    GET   {base}/pay/{id}              the hosted page
    POST  {base}/pay/{id}              the buyer's choice: a form, or JSON {"outcome": ...}, answered in JSON

Outcomes: ``paid``, ``refused`` (with ``reason``, Adyen's number or text), ``pending`` (gone to the bank; choose again
later), ``abandoned`` (never came back). The JSON answer is {status, message, code, psp_reference, link_status, redirect}. Sources stand in simulator_state.py; errors as in
https://docs.adyen.com/development-resources/error-codes.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from adapters.adyen.simulator_money import Books, NotPossible
from adapters.adyen.simulator_page import page
from adapters.adyen.simulator_state import LINKS_MAX, Bank, Link, Step, new_reference, now
from adapters.base import SimulatorSettings
from adapters.kit.simulator import Handler, Switches, WebhookSender, add_control, api

EXPIRY_DAYS_MAX: Final = 70
BODY_BYTES_MAX: Final = 100_000
OPENED: Final = "DISPUTE_OPENED_WITH_CHARGEBACK"
BANK: Final = (
    "chargeback", "second_chargeback", "unannounced_chargeback", "opening_chargeback", "capture_failed",
)  # fmt: skip
"""What a bank or scheme does with a payment that stands."""
OUTCOMES: Final = ("paid", "refused", "pending", "abandoned", *BANK)


class _No(Exception):
    """Adyen's error envelope."""

    def __init__(self, status: int, code: str, message: str, kind: str = "validation") -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.kind = status, code, message, kind

    def answer(self) -> web.Response:
        return web.json_response(
            {
                "status": self.status,
                "errorCode": self.code,
                "message": self.message,
                "errorType": self.kind,
                "pspReference": new_reference(),
            },
            status=self.status,
        )


def _answering(handler: Handler) -> Handler:
    """Turn a refusal into Adyen's error envelope."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _No as no:
            return no.answer()

    return answer


def _refuse(status: int) -> web.Response:
    if status == 429:
        return _No(429, "010", "Too many requests", "security").answer()
    if status == 409:
        # https://docs.adyen.com/development-resources/api-idempotency: 422 while the first request is still running
        return _No(422, "704", "request already processed or in progress").answer()
    return _No(status, "999", "Service unavailable", "internal").answer()


@dataclass(slots=True)
class AdyenSwitches(Switches):
    refund_fails: str = ""
    """Every refund is received, and then fails with this reason."""


class _Simulator:
    """The handlers, and the account that they answer for."""

    def __init__(self, settings: SimulatorSettings) -> None:
        options = settings.options
        self.base_url = settings.base_url
        self.api_key = str(options["api_key"])
        self.merchant_account = str(options["merchant_account"])
        self.switches = AdyenSwitches()
        self.modified: dict[str, tuple[str, dict[str, Any]]] = {}
        self.sender = WebhookSender(settings.webhook_url, self.switches)
        self.bank = Bank(
            bytes.fromhex(str(options["hmac_keys"][0])),
            live=False,
            merchant_account=self.merchant_account,
            sender=self.sender,
        )
        self.books = Books(self.bank, self.merchant_account)
        self.bank.paid = self.books.settle

    # --- the API ------------------------------------------------------------------------------------------------

    def _let_in(self, request: web.Request) -> None:
        if not hmac.compare_digest(request.headers.get("x-api-key", "").encode(), self.api_key.encode()):
            raise _No(401, "000", "HTTP Status Response - Unauthorized", "security")

    async def create(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 64:
            raise _No(422, "702", "Idempotency-Key is too long")
        if key in self.bank.answers:
            status, body = self.bank.answers[key]
        else:
            status, body = 201, self._new_link(await _json(request)).shown()
            if key:
                self.bank.answers[key] = status, body
        return web.json_response(body, status=status, headers={"Idempotency-Key": key} if key else {})

    def _new_link(self, body: Mapping[str, Any]) -> Link:
        for name in ("reference", "merchantAccount"):
            if not isinstance(body.get(name), str) or not body[name]:
                raise _No(422, "130", f"Required field '{name}' is not provided.")
        if body["merchantAccount"] != self.merchant_account:
            raise _No(403, "901", "Invalid Merchant Account", "security")
        amount = body.get("amount")
        if not isinstance(amount, dict) or type(amount.get("value")) is not int or amount["value"] <= 0:
            raise _No(422, "137", "Invalid amount specified")
        if not isinstance(amount.get("currency"), str) or len(amount["currency"]) != 3:
            raise _No(422, "138", "Unsupported currency specified")
        allowed = body.get("allowedPaymentMethods", [])
        if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
            raise _No(400, "702", "Unexpected value for allowedPaymentMethods")
        if len(str(body.get("description", ""))) > 280:
            raise _No(422, "702", "description is too long")
        if len(self.bank.links) >= LINKS_MAX:
            raise _No(500, "999", "This simulator is full: start it again", "internal")
        link_id = "PL" + new_reference()
        url = f"{self.base_url}/pay/{link_id}"
        link = Link(link_id, dict(body), url, _expiry(body.get("expiresAt")))
        self.bank.links[link_id] = link
        return link

    def _find(self, request: web.Request) -> Link:
        link = self.bank.links.get(request.match_info["id"])
        if link is None:
            raise _No(422, "702", "Payment link not found")  # v71 describes no 404
        link.refresh()
        return link

    async def show(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        return web.json_response(self._find(request).shown())

    async def change(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        link = self._find(request)
        if (await _json(request)).get("status") != "expired":
            raise _No(422, "702", "status can become expired only")
        if link.status not in {"active", "expired"}:
            raise _No(422, "702", f"A payment link that is {link.status} cannot be expired")
        if link.status == "active":
            link.become("expired")
        return web.json_response(link.shown())

    # --- money that was taken -----------------------------------------------------------------------------------

    async def modify(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        body, psp, what = await _json(request), request.match_info["psp"], request.match_info["what"]
        key, fingerprint = request.headers.get("Idempotency-Key", ""), json.dumps([psp, what, body], sort_keys=True)
        if key in self.modified:
            kept, answer = self.modified[key]
            if kept != fingerprint:
                raise _No(422, "703", "Idempotency-Key was used with another request")
            return web.json_response(answer, status=201)
        try:
            match what:
                case "refunds":
                    answer = self.books.refund(psp, body, fails=self.switches.refund_fails)
                case "captures":
                    answer = self.books.capture(psp, body)
                case _:
                    answer = self.books.cancel(psp, body)
        except NotPossible as no:
            raise _No(422, "167", str(no)) from None
        if key:
            self.modified[key] = fingerprint, answer
        return web.json_response(answer, status=201)

    async def methods(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        if (await _json(request)).get("merchantAccount") != self.merchant_account:
            raise _No(403, "901", "Invalid Merchant Account", "security")
        return web.json_response({"paymentMethods": [{"name": "iDEAL", "type": "ideal"}]})

    async def dispute(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        call, body, key = request.match_info["call"], await _json(request), request.headers.get("Idempotency-Key", "")
        fingerprint = json.dumps([call, body], sort_keys=True)
        kept, answer = self.modified.get(key, ("", {}))
        if kept and kept != fingerprint:
            raise _No(422, "703", "Idempotency-Key was used with another request")
        if not kept:
            answer = self.books.dispute(call, body)
            if key:
                self.modified[key] = fingerprint, answer
        return web.json_response(answer)

    async def report(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        text = self.books.batch(int(request.match_info["batch"]))
        if text is None:
            raise web.HTTPNotFound
        return web.Response(text=text, content_type="text/csv")

    # --- the buyer ----------------------------------------------------------------------------------------------

    async def show_page(self, request: web.Request) -> web.StreamResponse:
        try:
            return _html(page(self._find(request)))
        except _No:
            return _html("<h1>No such payment</h1>", status=404)

    async def choose(self, request: web.Request) -> web.StreamResponse:
        link = self._find(request)
        sent_json = request.content_type == "application/json"
        choice = await _json(request) if sent_json else dict(await request.post())
        step = self._act(link, str(choice.get("outcome", "")), str(choice.get("reason", "2")))
        if sent_json or "application/json" in request.headers.get("Accept", ""):
            return web.json_response(
                {**asdict(step), "link_status": link.status, "redirect": link.body.get("returnUrl")}
            )
        return _html(page(link, said=step.message))

    def _of_bank(self, outcome: str, psp: str) -> str:
        match outcome:
            case "second_chargeback":
                return self.books.charge_back_again(psp)
            case "unannounced_chargeback":
                return self.books.charge_back(psp, (OPENED, "CHARGEBACK"))
            case "opening_chargeback":
                return self.books.charge_back(psp, (OPENED,))
            case "capture_failed":
                return self.books.fail_capture(psp)
            case _:
                return self.books.charge_back(psp)

    def _act(self, link: Link, outcome: str, reason: str) -> Step:
        """Do what the buyer chose."""
        if outcome not in OUTCOMES:
            raise _No(422, "702", f"outcome is one of {', '.join(OUTCOMES)}")
        if outcome in BANK and link.status == "completed":
            return Step(
                "disputed", "Your bank has the dispute.", psp_reference=self._of_bank(outcome, link.psp_reference)
            )
        if link.status not in {"active", "paymentPending"}:
            return Step("closed", f"This payment link is {link.status}.")
        if self.switches.decline and outcome in {"paid", "pending"}:
            outcome, reason = "refused", self.switches.decline
        match outcome:
            case "paid":
                return self.bank.pay(link)
            case "refused":
                return self.bank.refuse(link, reason)
            case "pending":
                return self.bank.begin(link)
            case _:
                return self.bank.abandon(link)


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.read())
    except ValueError:
        raise _No(400, "702", "Unexpected input: the body is not JSON") from None
    if not isinstance(body, dict):
        raise _No(400, "702", "Unexpected input: the body is not an object")
    return body


def _expiry(text: object) -> datetime:
    if text is None:
        return now() + timedelta(hours=24)
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise _No(422, "702", "expiresAt is not an ISO 8601 date") from None
    if moment.tzinfo is None:
        raise _No(422, "702", "expiresAt has no time zone")
    if not now() < moment <= now() + timedelta(days=EXPIRY_DAYS_MAX):
        raise _No(422, "702", f"expiresAt is in the past, or more than {EXPIRY_DAYS_MAX} days away")
    return moment.astimezone(UTC)


def _html(text: str, status: int = 200) -> web.Response:
    return web.Response(
        text=text,
        status=status,
        content_type="text/html",
        headers={
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
            "cache-control": "no-store",
        },
    )


def build_simulator(settings: SimulatorSettings) -> web.Application:
    """SIMULATOR of this rail. Options: api_key, merchant_account, hmac_keys (the first one signs)."""
    simulator = _Simulator(settings)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    links = "/v72/paymentLinks"
    for method, path, handler in (
        ("POST", links, simulator.create),
        ("GET", links + "/{id}", simulator.show),
        ("PATCH", links + "/{id}", simulator.change),
    ):
        app.router.add_route(method, path, api(simulator.switches, _answering(handler), _refuse))
    for method, path, handler in (
        ("POST", "/v72/payments/{psp}/{what:refunds|captures|cancels}", simulator.modify),
        ("POST", "/v72/paymentMethods", simulator.methods),
        ("POST", "/ca/services/DisputeService/v30/{call}", simulator.dispute),
        (
            "GET",
            f"/reports/download/MerchantAccount/{simulator.merchant_account}/settlement_detail_report_batch_{{batch}}.csv",
            simulator.report,
        ),
    ):
        app.router.add_route(method, path, api(simulator.switches, _answering(handler), _refuse))
    app.router.add_get("/pay/{id}", simulator.show_page)
    app.router.add_post("/pay/{id}", _answering(simulator.choose))
    add_control(app, simulator.switches, simulator.sender)
    return app
