"""Tally's side: three calls, a page that pays, signed webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from aiohttp import web

from adapters.base import SimulatorSettings
from adapters.kit.simulator import Switches, WebhookSender, add_control, api


def build(settings: SimulatorSettings) -> web.Application:
    """SIMULATOR of this rail; its state lives as long as the application."""
    switches, payments = Switches(), dict[str, dict[str, Any]]()
    sender = WebhookSender(settings.webhook_url, switches)

    def allowed(request: web.Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {settings.options['key']}":
            raise web.HTTPUnauthorized

    async def create(request: web.Request) -> web.Response:
        allowed(request)
        asked = await request.json()
        name = f"t_{asked['reference']}"
        page = f"{settings.base_url}/page/{name}"
        fresh = {**asked, "id": name, "page": page, "status": "open", "at": int(time.time())}
        return web.json_response(payments.setdefault(name, fresh))

    async def show(request: web.Request) -> web.Response:
        allowed(request)
        return web.json_response(payments[request.match_info["id"]])

    async def cancel(request: web.Request) -> web.Response:
        allowed(request)
        payment = payments[request.match_info["id"]]
        if payment["status"] == "open":
            payment["status"] = "cancelled"
        return web.json_response(payment)

    async def pay(request: web.Request) -> web.Response:
        payment = payments[request.match_info["id"]]
        if payment["status"] == "open":
            payment.update(status="paid", cents=payment["cents"] + switches.wrong_amount)
            body = json.dumps(payment).encode()
            mac = hmac.new(str(settings.options["webhook_secret"]).encode(), body, hashlib.sha256).hexdigest()
            sender.send("paid", lambda: (body, {"x-tally-signature": mac}))
        return web.json_response(payment)

    app = web.Application()
    for method, path, handler in (
        ("POST", "/payments", create),
        ("GET", "/payments/{id}", show),
        ("POST", "/payments/{id}/cancel", cancel),
    ):
        app.router.add_route(method, path, api(switches, handler, lambda status: web.Response(status=status)))
    app.router.add_post("/page/{id}", pay)
    add_control(app, switches, sender)
    return app
