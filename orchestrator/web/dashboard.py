"""The operators' pages: what happened, how the rails are, which rules are in force. They look; payouts and reviews are decided."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import orjson
from aiohttp import web
from babel import Locale
from ruamel.yaml import YAML
from sqlalchemy import select

from orchestrator.clock import from_us
from orchestrator.database.tables import ChainCursor, table_of
from orchestrator.ids import new_id
from orchestrator.papers import formatting as show
from orchestrator.payments.payment import Status
from orchestrator.payments.stored_webhooks import StoredWebhooks
from orchestrator.routing.conditions import describe
from orchestrator.routing.ruleset import Offer, Ruleset
from orchestrator.services import Services
from orchestrator.web.door import rendered
from orchestrator.web.figures import figures
from orchestrator.web.proof import proof_state
from orchestrator.web.records import payment_file, payments_page
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN, SignIn
from rates.money import WALLET_USD, Asset, Money

ENGLISH: Final = Locale.parse("en")
QUERY_CHARS_MAX: Final = 100


def money_text(units: int, asset: str = str(WALLET_USD)) -> str:
    """Template filter: units of an asset, for reading."""
    return show.money(Money(units, Asset.parse(asset)), ENGLISH)


def time_text(us: int) -> str:
    """Template filter: UTC to the millisecond."""
    return from_us(us).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def json_text(value: Any) -> str:
    """Template filter: a body as readable JSON."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


FILTERS: Final = {"money": money_text, "time": time_text, "json": json_text}


@dataclass(frozen=True, slots=True)
class Dashboard:
    services: Services
    sign_in: SignIn

    async def page(
        self, request: web.Request, template: str, context: dict[str, Any], status: int = 200
    ) -> web.Response:
        """Render a page in the frame that all of them have."""
        person = request[SIGNED_IN]
        frame = {
            "operator": person,
            "csrf": self.sign_in.csrf(person),
            "mode": self.services.settings.mode.value,
            "path": request.path,
            "now": time_text(self.services.clock.now_us()),
            "proof": await proof_state(self.services.reads, self.services.clock.now_us()),
        }
        return rendered(request, template, frame | context, status)

    async def overview(self, request: web.Request) -> web.StreamResponse:
        services = self.services
        found = await figures(services.reads, services.clock)
        context = {
            "figures": found,
            "credited": money_text(found.credited_today.units),
            "rails": self._rails(),
            "sources": services.pricer.market.statuses(),
        }
        return await self.page(request, "overview.html", context)

    async def payments(self, request: web.Request) -> web.StreamResponse:
        asked = {name: request.query.get(name, "")[:QUERY_CHARS_MAX] for name in ("status", "merchant", "after")}
        rows, following = await payments_page(self.services.reads, **asked)
        context = {
            "rows": rows,
            "following": following,
            "asked": asked,
            "statuses": [status.value for status in Status],
        }
        return await self.page(request, "payments.html", context)

    async def payment(self, request: web.Request) -> web.StreamResponse:
        merchant, payment_id = request.match_info["merchant"], request.match_info["payment"]
        found = await payment_file(self.services.reads, merchant, payment_id, self.services.rules)
        if found is None:
            return await self.page(request, "absent.html", {"what": f"payment {payment_id} of {merchant}"}, 404)
        context = {
            "file": found,
            "may_act": request[SIGNED_IN].role in MAY_MOVE_MONEY,
            "new_refund": new_id("ref"),
            "webhooks": await StoredWebhooks(self.services.inbox).of_payment(merchant, payment_id),
        }
        return await self.page(request, "payment.html", context)

    async def rails(self, request: web.Request) -> web.StreamResponse:
        cursors = await self.services.reads.all(select(table_of(ChainCursor)).order_by("network"))
        return await self.page(request, "rails.html", {"rails": self._rails(), "cursors": cursors})

    def rules_context(self) -> dict[str, Any]:
        """Return the rules in force, for their page."""
        ruleset = self.services.routing.ruleset
        rules = [
            {
                "id": rule.id,
                "when": [describe(condition) for condition in rule.conditions],
                "offers": [offer_text(offer) for offer in rule.offers],
                "owner": rule.owner or "",
                "expires": rule.expires.isoformat() if rule.expires else "",
            }
            for rule in ruleset.rules
        ]
        return {
            "ruleset": ruleset,
            "rules": rules,
            "defaults": [offer_text(offer) for offer in ruleset.defaults],
            "yaml": yaml_text(ruleset),
        }

    def _rails(self) -> list[dict[str, Any]]:
        now = self.services.clock.now()
        return [
            {
                "rail": rail,
                "account": account,
                "mode": adapter.account.mode.value,
                "method": capability.method,
                "report": self.services.health.report((rail, account, capability.method), now),
            }
            for (rail, account), adapter in self.services.rails.items()
            for capability in adapter.capabilities
        ]


def offer_text(offer: Offer) -> str:
    """Return an offer as a rule writes it: ``pix on adyen (soft decline: next)``."""
    at = "" if offer.rail is None else f" on {offer.rail}" + (f"/{offer.account}" if offer.account else "")
    soft = "" if offer.on_decline.soft == "ask" else f" (soft decline: {offer.on_decline.soft})"
    return f"{offer.method}{at}{soft}"


def yaml_text(ruleset: Ruleset) -> str:
    """Return the routing block in force as YAML. It is all there is: keys and secrets stand in other blocks."""
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(orjson.loads(ruleset.canonical), stream)
    return stream.getvalue()
