"""The whole route table of the API. A resource is one file with handlers and its ``ENDPOINTS``; it is listed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Middleware

from orchestrator.api import (
    auto_topup,
    balance,
    checkout,
    disputes,
    docs,
    events,
    holds,
    keys,
    leases,
    merchant_statements,
    merchants,
    openapi,
    papers,
    payments,
    payout_batches,
    payouts,
    prices,
    quotes,
    rails,
    reconciliations,
    refunds,
    reviews,
    rules,
    statements,
    sweeps,
    system,
    topups,
    unallocated,
    usage,
    wallet_credits,
    wallets,
    webhook_endpoints,
    webhooks_in,
)
from orchestrator.api.edge import edge
from orchestrator.api.endpoint import Answer, ApiServices, Auth, Context, Endpoint
from orchestrator.api.forward import Forwarder
from orchestrator.api.serve import bind
from orchestrator.database.ownership import Ownership
from orchestrator.papers.layout import PAGE_HEADERS

RESOURCES: Final[Sequence[Sequence[Endpoint]]] = (
    checkout.ENDPOINTS,
    payments.ENDPOINTS,
    refunds.ENDPOINTS,
    reconciliations.ENDPOINTS,
    papers.ENDPOINTS,
    disputes.ENDPOINTS,
    wallets.ENDPOINTS,
    auto_topup.ENDPOINTS,
    wallet_credits.ENDPOINTS,
    holds.ENDPOINTS,
    leases.ENDPOINTS,
    usage.ENDPOINTS,
    prices.ENDPOINTS,
    statements.ENDPOINTS,
    balance.ENDPOINTS,
    merchant_statements.ENDPOINTS,
    payouts.ENDPOINTS,
    payout_batches.ENDPOINTS,
    sweeps.ENDPOINTS,
    unallocated.ENDPOINTS,
    topups.ENDPOINTS,
    quotes.ENDPOINTS,
    rails.ENDPOINTS,
    reviews.ENDPOINTS,
    rules.ENDPOINTS,
    events.ENDPOINTS,
    webhook_endpoints.ENDPOINTS,
    webhooks_in.ENDPOINTS,
    merchants.ENDPOINTS,
    keys.ENDPOINTS,
)
BODY_BYTES_SLACK: Final = 1024


def build_app(
    services: ApiServices,
    checks: Mapping[str, system.Check] | None = None,
    resources: Sequence[Sequence[Endpoint]] = RESOURCES,
    ownership: Ownership | None = None,
) -> web.Application:
    """Return the API, not yet started; pages and bridges add their own routes to it and get the same edge.

    ``checks`` make up /readyz; ``ownership`` sends hot requests to the process that owns the merchant.
    Run it with ``access_log=None``: the edge writes a better line.
    """
    endpoints = [endpoint for resource in resources for endpoint in resource]
    endpoints += [*system.endpoints(checks or {"database": system.database_check(services.reads)})]
    endpoints += _papers(endpoints)
    largest = max(endpoint.body_bytes_max for endpoint in endpoints)
    middlewares: list[Middleware] = [edge]
    forward = None if ownership is None else Forwarder(services.access, ownership, largest)
    if forward is not None:
        middlewares.append(forward.middleware)
    app = web.Application(middlewares=middlewares, client_max_size=largest + BODY_BYTES_SLACK)
    if forward is not None:
        app.cleanup_ctx.append(forward.opened)
    for endpoint in endpoints:
        app.router.add_route(endpoint.method, endpoint.route_path, bind(endpoint, services))
    return app


def _papers(endpoints: list[Endpoint]) -> list[Endpoint]:
    """Return the endpoints that describe all endpoints, themselves too."""

    async def openapi_json(_context: Context[ApiServices]) -> Answer:
        return Answer(described)

    async def documentation(_context: Context[ApiServices]) -> Answer:
        return Answer(page, headers=PAGE_HEADERS)

    papers = [
        Endpoint("GET", "/openapi.json", openapi_json, summary="This API as OpenAPI 3.1", tag="Service",
                 auth=Auth.PUBLIC, answer=dict[str, object]),
        Endpoint("GET", "/docs", documentation, summary="This API as a page to read", tag="Service", auth=Auth.PUBLIC,
                 content_type="text/html; charset=utf-8"),
    ]  # fmt: skip
    document = openapi.document([*endpoints, *papers])
    described, page = orjson.dumps(document), docs.page(document)
    return papers
