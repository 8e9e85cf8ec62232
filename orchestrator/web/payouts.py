"""Payouts that wait for a person: an operator approves, confirms or fails them. Whoever asked cannot approve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog
from aiohttp import web
from sqlalchemy import select

from orchestrator.database.reads import Reads
from orchestrator.database.tables import Account, Merchant, Payout, PayoutBatch, table_of
from orchestrator.database.unit import Row
from orchestrator.errors import Refusal
from orchestrator.ids import new_id
from orchestrator.ledger.merchant_statement import SIDES, merchant_statement
from orchestrator.ledger.payouts import payout_object
from orchestrator.metering.merchant_paper import as_file
from orchestrator.metering.periods import span_of
from orchestrator.metering.usage_input import period_of, period_of_day
from orchestrator.services import Services
from orchestrator.web.dashboard import Dashboard
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN
from rates.money import WALLET_USD

HOME: Final = "/dashboard/payouts"
SHOWN_MAX: Final = 100
BATCHES_SHOWN_MAX: Final = 50
_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class PayoutDesk:
    services: Services
    board: Dashboard

    async def show(self, request: web.Request) -> web.StreamResponse:
        return await self.page(request)

    async def act(self, request: web.Request) -> web.StreamResponse:
        """Take one form: its token was checked when it came in."""
        person = request[SIGNED_IN]
        if person.role not in MAY_MOVE_MONEY:
            return await self.page(request, f"The role {person.role} looks; it moves no money.", 403)
        payout, verb = request.match_info["payout"], request.match_info["verb"]
        words = str((await request.post()).get("words", "")).strip()
        payouts = self.services.payouts
        try:
            match verb:
                case "approve":
                    await payouts.approve(payout, f"operator:{person.name}")
                case "confirm":
                    await payouts.confirm(payout, words)
                case "return":
                    await payouts.take_back(payout, words)
                case _:
                    await payouts.fail(payout, words)
        except Refusal as refusal:
            return await self.page(request, f"{payout}: {refusal.detail}", refusal.status)
        _log.warning("payout_decided", payout=payout, verb=verb, operator=person.name)
        return web.Response(status=303, headers={"Location": HOME})

    async def statement(self, request: web.Request) -> web.StreamResponse:
        """A merchant's statement of one month: a page, a CSV or a PDF."""
        merchant, mode = request.match_info["merchant"], request.match_info["mode"]
        try:
            span = span_of(request.query.get("period", ""))
            found = await merchant_statement(self.services.reads, merchant, mode, span)
        except Refusal as refusal:
            return await self.page(request, f"{merchant}: {refusal.detail}", refusal.status)
        body, headers = as_file(found, request.match_info["form"])
        return web.Response(body=body, headers=headers)

    async def page(self, request: web.Request, said: str = "", status: int = 200) -> web.Response:
        table = table_of(Payout)
        reads = self.services.reads
        query = select(table).order_by(table.c.id.desc()).limit(SHOWN_MAX)
        waiting = await reads.all(query.where(table.c.status.in_(("requested", "sent"))))
        ended = await reads.all(query.where(table.c.status.not_in(("requested", "sent"))))
        context = {
            "balances": await self._balances(),
            **await _batches_shown(reads),
            "months": _months(self.services.clock.now_us()),
            "waiting": [_shown(row) for row in waiting],
            "ended": [_shown(row) for row in ended],
            "said": said,
            "may_act": request[SIGNED_IN].role in MAY_MOVE_MONEY,
            "myself": f"operator:{request[SIGNED_IN].name}",
        }
        return await self.board.page(request, "payouts.html", context, status)

    async def _balances(self) -> list[dict[str, Any]]:
        """Return what each merchant has in its own accounts, USD/9 by their names, where there is anything."""
        table = table_of(Account)
        rows = await self.services.reads.all(
            select(table.c.merchant_id, table.c.mode, table.c.code, table.c.balance)
            .where(
                table.c.code.in_(SIDES), table.c.subject == "", table.c.asset == str(WALLET_USD), table.c.balance != 0
            )
            .order_by(table.c.merchant_id, table.c.mode)
        )
        found: dict[tuple[str, str], dict[str, int]] = {}
        for row in rows:
            sides = found.setdefault((row["merchant_id"], row["mode"]), dict.fromkeys(SIDES.values(), 0))
            sides[SIDES[row["code"]]] = -row["balance"]
        return [{"merchant": merchant, "mode": mode, **sides} for (merchant, mode), sides in found.items()]


def _months(now_us: int) -> list[str]:
    """Return this month and the one before it."""
    this = period_of(now_us)
    return [this, period_of_day(span_of(this).first - 1)]


def _shown(row: Row) -> dict[str, Any]:
    destination = payout_object(row)["destination"]
    return {**row, "destination": ", ".join(f"{name} {text}" for name, text in sorted(destination.items()))}


async def _batches_shown(reads: Reads) -> dict[str, Any]:
    """Return what the payouts page shows of batches and of destinations that wait to be confirmed."""
    batch, merchant = table_of(PayoutBatch), table_of(Merchant)
    held = select(merchant).where(merchant.c.destination_held == 1).order_by(merchant.c.id).limit(BATCHES_SHOWN_MAX)
    return {
        "batches": await reads.all(select(batch).order_by(batch.c.id.desc()).limit(BATCHES_SHOWN_MAX)),
        "new_batches": {mode: new_id("pob") for mode in ("live", "test")},
        "held": [_held(row) for row in await reads.all(held)],
    }


def _held(row: Row) -> dict[str, Any]:
    destination: dict[str, str] = orjson.loads(row["payout_destination"])
    return {"merchant": row["id"], "seen": row["payout_destination"], "by": row["destination_by"],
            "words": ", ".join(f"{name} {text}" for name, text in sorted(destination.items()))}  # fmt: skip
