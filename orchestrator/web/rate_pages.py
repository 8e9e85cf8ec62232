"""The dashboard's page about exchange rates: what is exposed, how a rate moved, what the sources say."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from aiohttp import web

from orchestrator.routing.exposure import chart, exposures, history, recorded_currencies
from orchestrator.web.dashboard import Dashboard
from rates.agreement import decimal_text

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
        rows = await history(services.reads, currency)
        rates = [Fraction(row["rate"]) for row in rows]
        context = {
            "exposures": [
                one.to_json() for one in await exposures(services.reads, services.pricer.market, services.clock.now())
            ],
            "known": known,
            "currency": currency,
            "points": chart(rows),
            "lowest": decimal_text(min(rates)) if rates else "",
            "highest": decimal_text(max(rates)) if rates else "",
            "rows": [
                {"as_of_us": row["as_of_us"], "rate": decimal_text(Fraction(row["rate"])), "sources": row["sources"]}
                for row in reversed(rows[-ROWS_MAX:])
            ],
            "sources": services.pricer.market.statuses(),
        }
        return await self.board.page(request, "rates.html", context)
