"""Batches of payouts and held destinations, on the payouts page: who built or set it cannot approve or confirm it."""

from __future__ import annotations

from dataclasses import dataclass

import orjson
import structlog
from aiohttp import web

from orchestrator.errors import Refusal
from orchestrator.ledger.payout_batches import BatchWanted, file_headers
from orchestrator.services import Services
from orchestrator.web.payouts import HOME, PayoutDesk
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN

_log = structlog.get_logger("dashboard")


@dataclass(frozen=True, slots=True)
class BatchDesk:
    services: Services
    desk: PayoutDesk

    async def build(self, request: web.Request) -> web.StreamResponse:
        """Put every approved payout of a mode into a batch. The form's id makes it one batch, however often it is sent."""
        form = await request.post()
        batch, mode = str(form.get("batch", "")), request.match_info["mode"]
        if not batch.startswith("pob_") or not batch[4:].isalnum() or len(batch) > 80:
            return await self.desk.page(request, "The form is not ours.", 400)
        return await self._do(request, batch, "build", mode)

    async def act(self, request: web.Request) -> web.StreamResponse:
        return await self._do(request, request.match_info["batch"], request.match_info["verb"])

    async def confirm_destination(self, request: web.Request) -> web.StreamResponse:
        """Confirm the destination that the form showed, and no other."""
        merchant, seen = request.match_info["merchant"], str((await request.post()).get("seen", ""))
        return await self._do(request, merchant, "destination", seen)

    async def _do(self, request: web.Request, id_: str, verb: str, words: str = "") -> web.StreamResponse:
        person = request[SIGNED_IN]
        if person.role not in MAY_MOVE_MONEY:
            return await self.desk.page(request, f"The role {person.role} looks; it moves no money.", 403)
        batches, by = self.services.payout_batches, f"operator:{person.name}"
        answer: web.StreamResponse = web.Response(status=303, headers={"Location": HOME})
        try:
            match verb:
                case "build":
                    await batches.build(BatchWanted(id_, words, None, by))
                case "approve":
                    await batches.approve(id_, by)
                case "cancel":
                    await batches.cancel(id_, by)
                case "destination":
                    await self.services.payouts.confirm_destination(id_, _destination(words), by)
                case _:
                    content = await batches.fetch(id_, by)
                    answer = web.Response(body=content, headers=file_headers(id_, content))
        except Refusal as refusal:
            return await self.desk.page(request, f"{id_}: {refusal.detail}", refusal.status)
        _log.warning("payouts_decided", subject=id_, verb=verb, operator=person.name)
        return answer


def _destination(seen: str) -> dict[str, str]:
    """Return what the form showed; nothing where it is not what we wrote there."""
    try:
        found = orjson.loads(seen)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
