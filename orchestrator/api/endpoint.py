"""One endpoint: what it takes, what it answers, who may call it. A resource file is handlers and a list of these.

    async def create_thing(context: Context[Services], body: CreateThing) -> Answer:
        return Answer(await context.services.things.create(context.merchant_id, body.name, id_=context.resource_id))

    ENDPOINTS = (
        Endpoint("POST", "/v1/things", create_thing, summary="Create a thing", tag="Things",
                 body=CreateThing, answer=ThingShown, creates="thg"),
        Endpoint("GET", "/v1/things/{id}", get_thing, summary="Read a thing", tag="Things", answer=ThingShown),
    )

A handler takes the context, then the body where there is a ``body`` model, then the query where there is a ``query``
model, by position and annotated with those models: ``check`` compares them when the server starts.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Generic, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel

from orchestrator.access import Access
from orchestrator.clock import Clock
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer

BODY_BYTES_MAX: Final = 64 * 1024
JSON_TYPE: Final = "application/json"
PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")


class ApiSecrets(Protocol):
    @property
    def server(self) -> bytes: ...
    @property
    def admin_token(self) -> str:
        """Empty: nobody is the platform."""
        ...


class ApiServices(Protocol):
    """What the framework itself needs. ``orchestrator.services.Services`` fits."""

    @property
    def writer(self) -> Writer: ...
    @property
    def reads(self) -> Reads: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def secrets(self) -> ApiSecrets: ...
    @property
    def access(self) -> Access: ...


S = TypeVar("S", bound=ApiServices)


class Auth(Enum):
    """Who may call. The admin token opens an endpoint only where ``platform`` is among its scopes."""

    KEY = "key"
    SESSION = "session"
    """A key, or the ``client_secret`` of the checkout session that ``{id}`` of the path names."""
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. ``merchant_id`` is "" for the public and ``platform`` for the admin token."""

    merchant_id: str
    mode: str
    key_id: str
    scopes: frozenset[str]


NOBODY: Final = Caller("", "", "", frozenset())


@dataclass(slots=True)
class Context(Generic[S]):
    """What a handler may know of its request."""

    services: S
    request: web.Request = field(repr=False)
    request_id: str
    caller: Caller
    resource_id: str = ""
    """The id of what the handler creates, where its endpoint says ``creates``. The same again when a request with an
    Idempotency-Key is resumed: a handler that creates under this id creates once."""
    raw: bytes = field(default=b"", repr=False)
    """The body, byte for byte."""

    @property
    def merchant_id(self) -> str:
        return self.caller.merchant_id

    @property
    def mode(self) -> str:
        return self.caller.mode

    @property
    def path(self) -> Mapping[str, str]:
        """The path's parameters."""
        return self.request.match_info


@dataclass(frozen=True, slots=True)
class Answer:
    """A pydantic model, anything that orjson writes, or finished bytes in the endpoint's ``content_type``."""

    body: Any = None
    status: int | None = None
    """None: the endpoint's own."""
    headers: Mapping[str, str] = field(default_factory=dict)
    kept: Any = None
    """What an Idempotency-Key keeps instead of ``body``: where the body holds a secret that is shown once."""


Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True)
class Endpoint:
    method: str
    path: str
    """``{name}`` takes up to 80 letters, digits and ``_.:-``."""
    handler: Handler
    _: KW_ONLY
    summary: str
    tag: str
    answer: Any = None
    """A pydantic model or any type that pydantic can describe. None: no body, or not JSON."""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    auth: Auth = Auth.KEY
    scopes: tuple[str, ...] = ()
    """One of them is enough. Default: ``read`` for GET, ``write`` for the rest."""
    creates: str | None = None
    """Prefix of the id of what it creates, such as ``cs``."""
    raw: bool = False
    """The body is not JSON of a model: the handler reads ``context.raw``."""
    content_type: str = JSON_TYPE
    """Of the answer."""
    accepts: str = JSON_TYPE
    """Of the body; ``*/*`` takes any."""
    body_bytes_max: int = BODY_BYTES_MAX
    refusals: tuple[int, ...] = ()
    """Statuses that the handler refuses with, besides those that every endpoint has."""
    description: str = ""

    @property
    def name(self) -> str:
        return self.handler.__name__

    @property
    def allowed_scopes(self) -> frozenset[str]:
        return frozenset(self.scopes or (("read",) if self.method == "GET" else ("write",)))

    @property
    def takes_body(self) -> bool:
        return self.method not in {"GET", "DELETE"}

    @property
    def idempotent(self) -> bool:
        """Whether it honours an Idempotency-Key: every POST of a known caller."""
        return self.method == "POST" and self.auth is not Auth.PUBLIC

    @property
    def route_path(self) -> str:
        """The path as aiohttp wants it. What cannot be an id is not found, before anybody asks a database."""
        return PATH_PARAMETER.sub(r"{\1:[A-Za-z0-9_.:-]{1,80}}", self.path)

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that it may refuse with."""
        found = {500, 503, *self.refusals}
        if self.auth is not Auth.PUBLIC:
            found |= {401, 403}
        if "{" in self.path:
            found.add(404)
        if self.body is not None:
            found |= {400, 413, 415, 422}
        if self.query is not None:
            found.add(422)
        if self.idempotent:
            found |= {409, 422, 429}
        return tuple(sorted(found))

    def check(self) -> None:
        """Raise TypeError where handler and models do not fit, so that a mistake shows at start and not in a request."""
        hints = typing.get_type_hints(self.handler)
        hints.pop("return", None)
        taken = [hint for hint in hints.values() if typing.get_origin(hint) is not Context and hint is not Context]
        said = [model for model in (self.body, self.query) if model is not None]
        if taken != said or len(hints) != len(said) + 1:
            raise TypeError(f"{self.method} {self.path}: {self.name} takes {taken}, the endpoint says {said}")
        if not self.takes_body and (self.body is not None or self.raw):
            raise TypeError(f"{self.method} {self.path} has no body")
        HTTPStatus(self.status)
