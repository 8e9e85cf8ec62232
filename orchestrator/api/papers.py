"""Receipts of top-ups and invoices of usage cycles: JSON, a page to print, or a PDF."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import Field

from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Shown
from orchestrator.metering.invoices import Invoices, invoice_object, invoice_paper
from orchestrator.papers import layout
from orchestrator.papers.layout import PAGE_HEADERS
from orchestrator.papers.words import language_of
from orchestrator.payments.receipts import Receipts, receipt_object, receipt_paper
from orchestrator.services import Services

HTML_TYPE = "text/html; charset=utf-8"
PDF_TYPE = "application/pdf"


class AskReceipt(Body):
    format: Literal["json", "html", "pdf"] = "json"
    locale: str = Field(default="", max_length=20, description="Default: the language of the checkout session.")


class AskInvoice(Body):
    period: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}$", description="A month that is over, such as 2026-10.")
    format: Literal["json", "html", "pdf"] = "json"
    locale: str = Field(default="en", max_length=20)


class ReceiptShown(Shown):
    number: str
    payment: str
    date: str
    seller: str
    customer: str
    credited: dict[str, str]
    parts: list[dict[str, Any]] = Field(description="Each piece of money with its lines in the currency that was paid.")


class InvoiceShown(Shown):
    number: str
    wallet: str
    period: str
    date: str
    seller: str
    customer: str
    currency: str
    lines: list[dict[str, Any]]
    total: str


async def get_receipt(context: Context[Services], query: AskReceipt) -> Answer:
    services = context.services
    row = await Receipts(services.writer, services.reads).of_payment(
        context.merchant_id, context.mode, context.path["id"]
    )
    if query.format == "json":
        return Answer(receipt_object(row))
    return _printed(receipt_paper(row, language_of(query.locale or _locale(row))), query.format)


def _locale(row: dict[str, Any]) -> str:

    return str(orjson.loads(row["body"])["locale"])


async def get_invoice(context: Context[Services], query: AskInvoice) -> Answer:
    services = context.services
    desk = Invoices(services.writer, services.reads, services.clock)
    row = await desk.of_month(context.merchant_id, context.mode, context.path["id"], query.period)
    if query.format == "json":
        return Answer(invoice_object(row))
    return _printed(invoice_paper(row, language_of(query.locale)), query.format)


def _printed(paper: layout.Paper, format_: str) -> Answer:
    if format_ == "html":
        return Answer(layout.html(paper), headers={"Content-Type": HTML_TYPE, **PAGE_HEADERS})
    name = f'attachment; filename="{paper.number}.pdf"'
    return Answer(layout.pdf(paper), headers={"Content-Type": PDF_TYPE, "Content-Disposition": name})


ENDPOINTS = (
    Endpoint("GET", "/v1/payments/{id}/receipt", get_receipt, summary="The receipt of a credited payment",
             tag="Payments", query=AskReceipt, answer=ReceiptShown, refusals=(404, 409),
             description="Numbered when it is first asked for; then it never changes. `format=html` prints, `format=pdf`."),
    Endpoint("GET", "/v1/wallets/{id}/invoice", get_invoice, summary="The invoice of one month of usage", tag="Wallets",
             query=AskInvoice, answer=InvoiceShown, refusals=(404, 409)),
)  # fmt: skip
