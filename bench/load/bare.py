"""The reference: a bare aiohttp handler that parses the same body with pydantic and answers. Nothing else."""

from __future__ import annotations

import sys

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict


class Customer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reference: str
    country: str
    email: str | None = None


class Amount(BaseModel):
    model_config = ConfigDict(extra="forbid")
    amount: str
    currency: str


class CreateSession(BaseModel):
    model_config = ConfigDict(extra="forbid")
    customer: Customer
    amount: Amount
    locale: str | None = None


async def create(request: web.Request) -> web.Response:
    body = CreateSession.model_validate_json(await request.read())
    answer = {"country": body.customer.country, "amount": body.amount.amount}
    return web.Response(body=orjson.dumps(answer), content_type="application/json", status=201)


def main() -> None:
    app = web.Application()
    app.router.add_post("/v1/checkout/sessions", create)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=lambda *_: print("up", flush=True))


if __name__ == "__main__":
    main()
