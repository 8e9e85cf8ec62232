"""Where the rails call us. The secret belongs to the account in the path; the body is believed only if it signs."""

from __future__ import annotations

from pydantic import Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Auth, Context, Endpoint
from orchestrator.api.fields import Shown
from orchestrator.services import Services

BODY_BYTES_MAX = 1024 * 1024


async def take_webhook(context: Context[Services]) -> Answer:
    headers = {name.lower(): value for name, value in context.request.headers.items()}
    inbox = context.services.inbox
    status, content_type, text = await inbox.take(context.path["rail"], context.path["account"], headers, context.raw)
    return Answer(text.encode(), status=status, headers={"Content-Type": content_type})


class Replayed(Shown):
    id: str
    state: str = Field(description="processed, unplaced, stuck or rejected: what became of it.")
    note: str
    events: int = Field(description="How many statements it held that are read here.")


async def replay(context: Context[Services]) -> Answer:
    return Answer(await context.services.inbox.replay(context.path["id"]))


ENDPOINTS = (
    Endpoint("POST", "/v1/rail_webhooks/{id}/replay", replay, summary="Apply a stored webhook of a rail once more",
             tag="Rails", answer=Replayed, scopes=(PLATFORM,), refusals=(404,),
             description="Safe to repeat. One that was rejected is not believed: its rail is asked instead."),
    Endpoint("POST", "/webhooks/{rail}/{account}", take_webhook, summary="A rail tells us something", tag="Rails",
             auth=Auth.PUBLIC, raw=True, accepts="*/*", content_type="text/plain", body_bytes_max=BODY_BYTES_MAX,
             refusals=(403, 404)),
)  # fmt: skip
