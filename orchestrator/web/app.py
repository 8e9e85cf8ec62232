"""The whole web part on one screen: which address leads where."""

from __future__ import annotations

import aiohttp_jinja2
import jinja2
from aiohttp import web

from orchestrator.services import Services
from orchestrator.web.door import ENVIRONMENT, TEMPLATES, Assets, guarded
from orchestrator.web.pay import PayPage


def routes(services: Services, assets: Assets) -> list[web.RouteDef]:
    """Return every route of page and dashboard."""
    pay = PayPage(services)
    return [
        web.get("/assets/{version}/{name}", assets.serve),
        web.get("/pay/{session}", guarded(pay.show)),
        web.get("/pay/{session}/state", guarded(pay.state)),
        web.post("/pay/{session}/select", guarded(pay.select)),
        web.get("/pay/{session}/return", guarded(pay.came_back)),
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
    app.add_routes(routes(services, assets))
