"""Money that goes back, by an operator's form: a refund of a payment, the answer to a dispute. Who and why are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from orchestrator.database.unit import Row
from orchestrator.errors import Refusal
from orchestrator.payments import evidence
from orchestrator.payments.refund_book import RefundWanted
from orchestrator.services import Services
from orchestrator.web.dashboard import Dashboard
from orchestrator.web.sign_in import MAY_MOVE_MONEY, SIGNED_IN
from rates.money import WALLET_USD, Money, MoneyError

REASON_CHARS_MAX: Final = 200
SUMMARY_CHARS_MAX: Final = 20_000
DESTINATIONS: Final = frozenset({"source", "wallet", "address"})
_REFUND_ID: Final = re.compile(r"ref_[0-9a-f]{32}")
_log = structlog.get_logger("dashboard")


class BadForm(Exception):
    """A field of the form cannot be meant: the text says what to do."""


@dataclass(frozen=True, slots=True)
class MoneyBackDesk:
    services: Services
    board: Dashboard

    async def refund(self, request: web.Request) -> web.StreamResponse:
        """Refund a payment, whole or in part. The form carries the refund's id: sent twice, it is one refund."""
        merchant, payment = request.match_info["merchant"], request.match_info["payment"]
        back = f"/dashboard/payments/{merchant}/{payment}"
        person, form = request[SIGNED_IN], await request.post()
        if person.role not in MAY_MOVE_MONEY:
            return await self._refused(request, back, f"The role {person.role} looks; it moves no money.", 403)
        field = {
            name: str(form.get(name, "")).strip() for name in ("refund", "mode", "amount", "reason", "destination")
        }
        try:
            wanted = RefundWanted(
                _refund_id(field["refund"]), merchant, field["mode"], payment, _units(field["amount"]),
                _text(field["reason"], REASON_CHARS_MAX), _destination(field["destination"]), False,
                f"operator:{person.name}",
            )  # fmt: skip
            row = await self.services.refunds.request(wanted)
        except BadForm as bad:
            return await self._refused(request, back, str(bad), 422)
        except Refusal as refusal:
            return await self._refused(request, back, refusal.detail, refusal.status)
        if not _is_what(wanted, row):
            said = f"{row['id']} was asked for already, otherwise than this form says: load the payment's page again."
            return await self._refused(request, back, said, 409)
        _log.warning("refund_asked", refund=row["id"], payment=payment, operator=person.name)
        return web.Response(status=303, headers={"Location": back})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send our records and what the operator says to the rail, or give the dispute up: each once and finally."""
        back, person, form = "/dashboard/money-back", request[SIGNED_IN], await request.post()
        if person.role not in MAY_MOVE_MONEY:
            return await self._refused(request, back, f"The role {person.role} looks; it answers nothing.", 403)
        disputes, verb = self.services.disputes, request.match_info["verb"]
        try:
            dispute = await disputes.find(request.match_info["dispute"])
            if verb == "accept":
                await disputes.accept(dispute)
            else:
                summary = _text(str(form.get("summary", "")).strip(), SUMMARY_CHARS_MAX)
                dispute = await disputes.add_evidence(dispute, {"summary": summary})
                pack = await evidence.pack(self.services.reads, dispute)
                await disputes.submit(dispute, evidence.answer(pack))
        except BadForm as bad:
            return await self._refused(request, back, str(bad), 422)
        except Refusal as refusal:
            return await self._refused(request, back, refusal.detail, refusal.status)
        _log.warning("dispute_answered", dispute=dispute["id"], verb=verb, operator=person.name)
        return web.Response(status=303, headers={"Location": back})

    async def _refused(self, request: web.Request, back: str, said: str, status: int) -> web.Response:
        return await self.board.page(request, "not_done.html", {"said": said, "back": back}, status)


def _is_what(wanted: RefundWanted, row: Row) -> bool:
    """Say whether a refund is what a form asks for: after "back" and a change, the same id means something else."""
    same = all(row[name] == getattr(wanted, name) for name in ("payment_id", "reason", "destination"))
    return same and wanted.units in {None, row["units"]}


def _refund_id(text: str) -> str:
    if not _REFUND_ID.fullmatch(text):
        raise BadForm("Load the payment's page again: this form has no refund id.")
    return text


def _units(text: str) -> int | None:
    """Return USD/9; None for an empty field: all that is unspent."""
    if not text:
        return None
    try:
        units = Money.parse(text, WALLET_USD).units
    except MoneyError as error:
        raise BadForm(f"The amount is in US dollars, such as 5.00: {error}") from None
    if units <= 0:
        raise BadForm("The amount is above 0, or left out: all that is unspent.")
    return units


def _text(text: str, chars_max: int) -> str:
    if not 0 < len(text) <= chars_max:
        raise BadForm(f"Say why, in 1 to {chars_max} characters.")
    return text


def _destination(text: str) -> str:
    if text not in DESTINATIONS:
        raise BadForm("It goes to its source, to the wallet, or to the address that the customer confirmed.")
    return text
