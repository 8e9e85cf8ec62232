"""The hosted payment page: ``GET {base}/c/pay/{session}`` for a person, ``POST`` for a form or a script.

A script posts JSON ``{"card": "4242 4242 4242 4242"}``, ``{"authenticate": true}`` for the 3-D Secure step, or
``{"choice": "paid" | "refused" | "pending"}`` where the page is not for cards, with
``Accept: application/json`` and reads ``{status, message, code, payment_intent, redirect}``.
"""

from __future__ import annotations

from dataclasses import asdict
from html import escape
from typing import Any, Final

from aiohttp import web

from adapters.stripe.simulator_objects import CARDS
from adapters.stripe.simulator_state import Outcome, State
from adapters.stripe.simulator_wire import Object, Refused, shown_amount

STYLE: Final = """
:root{color-scheme:light dark}*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;background:#f3f4f8;color:#1a1f36}
.banner{background:#b42318;color:#fff;text-align:center;padding:.6rem 1rem;font-weight:700;letter-spacing:.04em}
main{max-width:26rem;margin:1.25rem auto;padding:1.5rem;background:#fff;border-radius:14px;
box-shadow:0 8px 30px rgba(20,25,60,.12)}
.amount{font-size:2.1rem;font-weight:700;margin:.1rem 0 1.1rem}.what{color:#697386;margin:0}
label{display:block;font-weight:600;margin:0 0 .3rem}
input{width:100%;padding:.75rem;font:inherit;border:1px solid #c9cfdb;border-radius:8px;background:#fff;color:#1a1f36}
button{width:100%;padding:.8rem;margin-top:.7rem;font:inherit;font-weight:600;border:0;border-radius:8px;
background:#4f46e5;color:#fff;cursor:pointer}
button.plain{background:#eceef5;color:#1a1f36;font-weight:500;text-align:left;display:flex;gap:.6rem;
justify-content:space-between;flex-wrap:wrap;margin-top:.4rem;padding:.6rem .75rem}
.error{background:#fef3f2;color:#b42318;border:1px solid #fda29b;border-radius:8px;padding:.7rem;margin:0 0 1rem}
h2{font-size:1rem;margin:1.4rem 0 .2rem}a{color:#4f46e5}code{font-size:.85em}
@media(prefers-color-scheme:dark){body{background:#11131c;color:#e6e8f0}main{background:#1b1f2e}
input{background:#11131c;color:#e6e8f0;border-color:#3a4058}button.plain{background:#2a3046;color:#e6e8f0}
.what{color:#9aa3b8}a{color:#a5b4fc}}
@media(max-width:30rem){main{margin:0;border-radius:0;min-height:90vh;box-shadow:none}}
"""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def add_page(app: web.Application, state: State) -> None:
    """Add the page's two routes."""

    async def show(request: web.Request) -> web.Response:
        try:
            session = state.session(request.match_info["id"])
        except Refused:
            return _html(404, "<p>There is no such payment page.</p>")
        return _html(200, _body(state, session, error=""))

    async def act(request: web.Request) -> web.Response:
        fields = await _fields(request)
        session_id = request.match_info["id"]
        try:
            if "authenticate" in fields:
                confirmed = fields["authenticate"] in {True, "yes"}
                outcome = state.authenticate(session_id, confirmed=confirmed)
            elif "choice" in fields:
                outcome = state.choose(session_id, str(fields["choice"]))
            else:
                outcome = state.pay(session_id, str(fields.get("card", "")))
        except Refused as refused:
            return web.json_response(refused.body, status=refused.status)
        if "application/json" in request.headers.get("Accept", ""):
            return web.json_response(asdict(outcome))
        return _next_page(state, session_id, outcome)

    app.router.add_get("/c/pay/{id}", show)
    app.router.add_post("/c/pay/{id}", act)


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        return dict(await request.post())
    try:
        fields = await request.json()
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise web.HTTPBadRequest(text='the body is a JSON object such as {"card": "4242424242424242"}')
    return fields


def _next_page(state: State, session_id: str, outcome: Outcome) -> web.Response:
    if outcome.status == "succeeded" and outcome.redirect:
        raise web.HTTPSeeOther(outcome.redirect)
    error = outcome.message if outcome.status == "declined" else ""
    return _html(200, _body(state, state.session(session_id), error=error))


def _body(state: State, session: Object, *, error: str) -> str:
    amount = escape(shown_amount(session["amount_total"], session["currency"]))
    kind = session["payment_method_types"][0]
    title = "Card payment" if kind == "card" else escape(kind.replace("_", " ").title())
    parts = [f'<p class="what">{title}</p><p class="amount">{amount}</p>']
    if error:
        parts.append(f'<p class="error" role="alert">{escape(error)} You can try again.</p>')
    if session["status"] == "complete" and session["payment_status"] == "unpaid":
        parts.append(f"<p>Waiting for the money. Days later:</p>{_local_form('')}")
    elif session["status"] != "open":
        parts.append(f"<p>This payment is {escape(str(session['status']))}.</p>")
    elif session["id"] in state.methods:
        parts.append(
            '<p>3-D Secure: your bank asks you to confirm this payment.</p><form method="post">'
            '<button id="confirm" name="authenticate" value="yes">Confirm</button>'
            '<button class="plain" name="authenticate" value="no">Refuse</button></form>'
        )
    elif kind == "card":
        parts.append(_card_form())
    else:
        parts.append(_local_form(kind))
    if session["cancel_url"] and session["payment_status"] != "paid":
        parts.append(f'<p><a href="{escape(session["cancel_url"], quote=True)}">Back to the shop</a></p>')
    return "".join(parts)


def _card_form() -> str:
    cards = "".join(
        f'<button class="plain" name="card" value="{card.number}"><code>{_grouped(card.number)}</code>'
        f"<span>{escape(card.shown)}</span></button>"
        for card in CARDS.values()
    )
    return (
        '<form method="post"><label for="card">Card number</label>'
        '<input id="card" name="card" inputmode="numeric" autocomplete="off" value="4242 4242 4242 4242">'
        '<button id="pay">Pay</button></form><form method="post"><h2>Test cards</h2>' + cards + "</form>"
    )


def _local_form(kind: str) -> str:
    """Return the buttons of a method that is no card; without a kind those of one that is already pending."""
    later = '<button class="plain" name="choice" value="pending">Pay later (bank or voucher)</button>' if kind else ""
    return (
        '<form method="post"><button id="pay" name="choice" value="paid">Pay</button>'
        f'<button class="plain" id="decline" name="choice" value="refused">Refuse</button>{later}</form>'
    )


def _grouped(number: str) -> str:
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _html(status: int, body: str) -> web.Response:
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Card payment (simulator)</title>'
        f"<style>{STYLE}</style></head><body>"
        '<div class="banner">SIMULATOR · not Stripe, no real money</div>'
        f"<main>{body}</main></body></html>"
    )
    return web.Response(status=status, text=page, content_type="text/html", headers=HEADERS)
