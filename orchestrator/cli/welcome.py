"""What ``make run`` prints: where to look, a link to pay, a key to use, a line to copy. And buyers, once."""

from __future__ import annotations

import sys

import aiohttp

from orchestrator.cli.buyers import BUYERS, Shop
from orchestrator.cli.console import Failure, print_table
from orchestrator.cli.demo import play_buyers
from orchestrator.services import Services


async def welcome(services: Services, *, play_buyers_once: bool) -> None:
    """Make a merchant, a key and an open session; play the demo's buyers where asked."""
    url = services.settings.service.public_url
    sandbox_url = f"http://127.0.0.1:{services.settings.service.port + 1}"
    async with aiohttp.ClientSession() as http:
        try:
            shop = await Shop.open(http, url, services.secrets.admin_token, sandbox_url)
            amount = {"amount": "20.00", "currency": "USD"}
            body = {"customer": {"reference": "you", "country": "BR"}, "amount": amount, "locale": "en"}
            session = await shop.call("POST", "/v1/checkout/sessions", body)
            _print_links(services, shop, session["url"])
            if play_buyers_once:
                print("Buyers of nine countries are topping up ...", flush=True)
                played = await play_buyers(shop, BUYERS)
                columns = ("country", "story", "rail", "method", "quoted", "credited", "seconds", "state")
                print_table(columns, [one.row() for one in played])
                print("\nCrossrail is up. Ctrl-C stops it.", flush=True)
        except Failure as failure:
            print(f"crossrail: the demo's buyers stopped: {failure}", file=sys.stderr, flush=True)


def _print_links(services: Services, shop: Shop, checkout: str) -> None:
    url = services.settings.service.public_url
    name = services.settings.admin.operator_name
    curl = (
        f"curl -s {url}/v1/checkout/sessions -H 'Authorization: Bearer {shop.key}' -H 'Content-Type: application/json' "
        """-d '{"customer":{"reference":"alice","country":"NL"},"amount":{"amount":"20.00","currency":"USD"}}'"""
    )
    print(f"""
Crossrail's sandbox is up: every rail is a simulator on this machine, no real money moves.

  dashboard   {url}/dashboard   login {name} / {services.secrets.operator_password}
  checkout    {checkout}
  test key    {shop.key}
  API docs    {url}/docs

  {curl}
""", flush=True)  # fmt: skip
