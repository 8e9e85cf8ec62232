"""The whole web part on one screen: which address leads where."""

from __future__ import annotations

import aiohttp_jinja2
import jinja2
from aiohttp import web

from orchestrator.access import Access
from orchestrator.payments.stored_webhooks import StoredWebhooks
from orchestrator.services import Services
from orchestrator.web.dashboard import FILTERS, Dashboard
from orchestrator.web.door import ENVIRONMENT, TEMPLATES, Assets, Handler, guarded
from orchestrator.web.money_back import MoneyBack
from orchestrator.web.money_back_desk import MoneyBackDesk
from orchestrator.web.pay import PayPage
from orchestrator.web.payout_batches import BatchDesk
from orchestrator.web.payouts import PayoutDesk
from orchestrator.web.rate_pages import RatePages
from orchestrator.web.reviews import ReviewDesk
from orchestrator.web.rule_pages import RulePages
from orchestrator.web.sign_in import SignIn
from orchestrator.web.webhook_desk import WebhookDesk


def routes(services: Services, assets: Assets) -> list[web.RouteDef]:
    """Return every route of page and dashboard."""
    pay = PayPage(services)
    sign_in = SignIn(services, Access(services.writer, services.reads))
    board = Dashboard(services, sign_in)
    rules = RulePages(board)
    payouts = PayoutDesk(services, board)
    batches = BatchDesk(services, payouts)
    reviews = ReviewDesk(services, board)
    back = MoneyBackDesk(services, board)

    def closed(handler: Handler) -> Handler:
        return guarded(sign_in.required(handler), forms_stay=True)

    return [
        web.get("/assets/{version}/{name}", assets.serve),
        web.get("/pay/{session}", guarded(pay.show)),
        web.get("/pay/{session}/state", guarded(pay.state)),
        web.post("/pay/{session}/select", guarded(pay.select)),
        web.get("/pay/{session}/return", guarded(pay.came_back)),
        web.get("/dashboard/login", guarded(sign_in.form, forms_stay=True)),
        web.post("/dashboard/login", guarded(sign_in.enter, forms_stay=True)),
        web.post("/dashboard/logout", closed(sign_in.leave)),
        web.get("/dashboard", closed(board.overview)),
        web.get("/dashboard/payments", closed(board.payments)),
        web.get("/dashboard/payments/{merchant}/{payment}", closed(board.payment)),
        web.post("/dashboard/payments/{merchant}/{payment}/refund", closed(back.refund)),
        web.post(
            "/dashboard/payments/{merchant}/{payment}/webhooks/{webhook}/replay",
            closed(WebhookDesk(StoredWebhooks(services.inbox), board).replay),
        ),
        web.get("/dashboard/rails", closed(board.rails)),
        web.get("/dashboard/rules", closed(rules.rules)),
        web.get("/dashboard/rules/{hash}", closed(rules.version)),
        web.get("/dashboard/rates", closed(RatePages(board).rates)),
        web.get("/dashboard/decisions", closed(rules.decisions)),
        web.get("/dashboard/decisions/{merchant}/{decision}", closed(rules.decision)),
        web.get("/dashboard/reviews", closed(reviews.show)),
        web.post("/dashboard/reviews/{review}", closed(reviews.act)),
        web.get("/dashboard/money-back", closed(MoneyBack(services, board).show)),
        web.post("/dashboard/disputes/{dispute}/{verb:answer|accept}", closed(back.answer)),
        web.get("/dashboard/payouts", closed(payouts.show)),
        web.get("/dashboard/statements/{merchant}/{mode:test|live}/{form:html|csv|pdf}", closed(payouts.statement)),
        web.post("/dashboard/payouts/{payout}/{verb:approve|confirm|fail|return}", closed(payouts.act)),
        web.post("/dashboard/payout-batches/{mode:test|live}", closed(batches.build)),
        web.post("/dashboard/payout-batches/{batch}/{verb:approve|cancel|fetch}", closed(batches.act)),
        web.post("/dashboard/destinations/{merchant}/confirm", closed(batches.confirm_destination)),
    ]


def setup(app: web.Application, services: Services) -> None:
    """Add the page and the dashboard to an application."""
    assets = Assets()
    environment = aiohttp_jinja2.setup(
        app,
        app_key=ENVIRONMENT,
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = assets.url
    environment.filters.update(FILTERS)
    app.add_routes(routes(services, assets))
