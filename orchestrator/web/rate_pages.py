"""The dashboard's page about exchange rates: what is exposed, how a rate moved, what the sources say."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import orjson
from aiohttp import web

from orchestrator.routing.exposure import chart, exposures, history, recorded_currencies, volatilities
from orchestrator.web.dashboard import Dashboard
from rates.agreement import decimal_text
from rates.money import WALLET_USD

CODE_CHARS_MAX = 8
ROWS_MAX = 30


@dataclass(frozen=True, slots=True)
class RatePages:
    board: Dashboard

    async def rates(self, request: web.Request) -> web.StreamResponse:
        """Exposure, and the history of one currency."""
        services = self.board.services
        known = await recorded_currencies(services.reads)
        asked = request.query.get("currency", "")[:CODE_CHARS_MAX].upper()
        currency = asked if asked in known else "EUR" if "EUR" in known else (known[0] if known else "")
        market, now = services.pricer.market, services.clock.now()
        rows = await history(services.reads, currency, ROWS_MAX)
        days = market.days(WALLET_USD.code, currency)
        context = {
            "exposures": [one.to_json() for one in await exposures(services.reads, market, now)],
            "known": known,
            "currency": currency,
            "points": chart(days),
            "first_day": min(days, default=None),
            "last_day": max(days, default=None),
            "lowest": decimal_text(min(days.values())) if days else "",
            "highest": decimal_text(max(days.values())) if days else "",
            "volatility_bps": volatilities(market, now).get(currency),
            "rows": [
                {
                    "as_of_us": row["as_of_us"],
                    "rate": decimal_text(Fraction(row["rate"])),
                    "sources": ", ".join(orjson.loads(row["sources"])),
                }
                for row in reversed(rows)
            ],
            "sources": market.statuses(),
            "marked": sorted(market.marked.items()),
        }
        return await self.board.page(request, "rates.html", context)
