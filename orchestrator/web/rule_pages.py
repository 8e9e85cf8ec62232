"""The dashboard's pages about rules: in force and on trial, every version and its difference, every stored decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import web
from sqlalchemy import select

from orchestrator.database.tables import Decision, table_of
from orchestrator.errors import Conflict, NotFound
from orchestrator.routing.explain import DecisionUnreadable, explain
from orchestrator.routing.schema import difference, moved_rules
from orchestrator.routing.versions import trial_shown
from orchestrator.web.dashboard import QUERY_CHARS_MAX, Dashboard

HISTORY_MAX: Final = 30
TRIALS_MAX: Final = 10
DECISIONS_MAX: Final = 50
NOTHING: Final = '{"defaults":{"offers":[]}}'


@dataclass(frozen=True, slots=True)
class RulePages:
    board: Dashboard

    async def rules(self, request: web.Request) -> web.StreamResponse:
        """What is in force, what the file is like, what is on trial, who changed what."""
        control = self.board.services.rules
        state = await control.versions.state()
        context = {
            **self.board.rules_context(),
            "status": control.status,
            "unusable": control.unusable,
            "state": state,
            "trial": None if state is None or state.trial is None else trial_shown(state.trial),
            "trials": [trial_shown(row) for row in await control.versions.trials(TRIALS_MAX)],
            "history": await control.versions.history(HISTORY_MAX),
        }
        return await self.board.page(request, "rules.html", context)

    async def version(self, request: web.Request) -> web.StreamResponse:
        """One version: who, why, and what it changed."""
        versions, wanted = self.board.services.rules.versions, request.match_info["hash"]
        try:
            row = await versions.version(wanted)
            parent = await versions.version(row["parent"]) if row["parent"] else None
        except (NotFound, Conflict):
            return await self.board.page(request, "absent.html", {"what": f"version {wanted}"}, 404)
        before = parent["canonical"] if parent else NOTHING
        names = ((row["parent"] or "nothing")[:12], row["hash"][:12])
        context = {
            "version": row,
            "moved": moved_rules(before, row["canonical"]),
            "lines": difference(before, row["canonical"], names).splitlines(),
        }
        return await self.board.page(request, "version.html", context)

    async def decisions(self, request: web.Request) -> web.StreamResponse:
        """The newest decisions of a merchant, or of everybody."""
        merchant, after = (request.query.get(name, "")[:QUERY_CHARS_MAX] for name in ("merchant", "after"))
        table = table_of(Decision)
        query = select(table).order_by(table.c.id.desc()).limit(DECISIONS_MAX + 1)
        if merchant:
            query = query.where(table.c.merchant_id == merchant)
        if after:
            query = query.where(table.c.id < after)
        rows = await self.board.services.reads.all(query)
        shown = [_line(row) for row in rows[:DECISIONS_MAX]]
        following = shown[-1]["id"] if len(rows) > DECISIONS_MAX else ""
        return await self.board.page(
            request, "decisions.html", {"rows": shown, "merchant": merchant, "following": following}
        )

    async def decision(self, request: web.Request) -> web.StreamResponse:
        """Why a session was offered what it was, in the words of the rules that decided it."""
        merchant, wanted = request.match_info["merchant"], request.match_info["decision"]
        table = table_of(Decision)
        row = await self.board.services.reads.one(
            select(table).where(table.c.merchant_id == merchant, table.c.id == wanted)
        )
        if row is None:
            return await self.board.page(request, "absent.html", {"what": f"decision {wanted} of {merchant}"}, 404)
        ruleset = await self.board.services.rules.ruleset(row["ruleset_hash"])
        why: dict[str, Any]
        try:
            why = explain(row["body"], ruleset)
        except DecisionUnreadable as error:
            why = {"unreadable": str(error)}
        return await self.board.page(request, "decision.html", {"row": row, "why": why})


def _line(row: dict[str, Any]) -> dict[str, Any]:
    stored = orjson.loads(row["body"])
    offers = stored.get("offers", [])
    return {
        "id": row["id"],
        "merchant": row["merchant_id"],
        "mode": row["mode"],
        "created_us": row["created_us"],
        "hash": row["ruleset_hash"],
        "country": stored["facts"]["country"],
        "amount": stored["facts"]["amount_usd"],
        "rule": offers[0]["rule"] if offers else stored["source"],
        "offers": [offer["method"] for offer in offers],
    }
