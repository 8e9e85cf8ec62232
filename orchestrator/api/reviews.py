"""Reviews: everything that needs a person. Merchants look; the platform decides, and each decision says who and why."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from sqlalchemy import select

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown, listed
from orchestrator.database.tables import Review, table_of
from orchestrator.errors import NotFound
from orchestrator.payments.review_actions import Action
from orchestrator.payments.reviews import Decision, Reviews, review_object, reviews_of
from orchestrator.services import Services


class ListReviews(Page):
    status: Literal["open", "resolved"] | None = None
    reason: str | None = Field(default=None, max_length=80)
    payment: str | None = Field(default=None, max_length=80)
    subject: str | None = Field(default=None, max_length=80, description="What it is about: a capture, a deposit ...")
    merchant: str | None = Field(default=None, max_length=80, description="For the platform. Default: every merchant.")


class ResolveReview(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"action": "credit", "note": "the customer paid 5.00 less, and agreed"}]}
    )

    action: Action = Field(description="One of the item's `actions`.")
    note: str = Field(min_length=3, max_length=500, description="Why; kept beside it for ever.")
    wallet: str | None = Field(default=None, max_length=80, description="For `credit`, where it is another's.")


class ReviewShown(Shown):
    id: str
    merchant: str
    livemode: bool
    reason: str = Field(description="amount_mismatch, no_rate, outcome_unknown_too_long ...")
    subject: str
    payment: str | None
    status: str = Field(description="open or resolved")
    evidence: dict[str, Any]
    actions: list[Action] = Field(description="What can be decided now.")
    action: str | None = Field(description="What was decided; null where the matter ended by itself.")
    note: str | None
    resolved_by: str | None
    outcome: dict[str, Any]
    created_at: str
    resolved_at: str | None


def _is_platform(context: Context[Services]) -> bool:
    return PLATFORM in context.caller.scopes


async def list_reviews(context: Context[Services], query: ListReviews) -> Answer:
    table = table_of(Review)
    wanted = select(table).order_by(table.c.id.desc()).limit(query.limit + 1)
    if not _is_platform(context):
        wanted = wanted.where(table.c.merchant_id == context.merchant_id, table.c.mode == context.mode)
    elif query.merchant is not None:
        wanted = wanted.where(table.c.merchant_id == query.merchant)
    for column, value in (
        (table.c.status, query.status),
        (table.c.reason, query.reason),
        (table.c.payment_id, query.payment),
        (table.c.subject, query.subject),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if query.after is not None:
        wanted = wanted.where(table.c.id < query.after)
    rows, next_cursor = listed(await context.services.reads.all(wanted), query)
    return Answer({"data": [review_object(row) for row in rows], "next_cursor": next_cursor})


async def get_review(context: Context[Services]) -> Answer:
    row = await _desk(context).find(context.path["id"])
    if not _is_platform(context) and (row["merchant_id"], row["mode"]) != (context.merchant_id, context.mode):
        raise NotFound("review_not_found", f"there is no review {context.path['id']}")
    return Answer(review_object(row))


async def resolve_review(context: Context[Services], body: ResolveReview) -> Answer:
    decision = Decision(body.action, body.note, context.caller.key_id, body.wallet)
    return Answer(review_object(await _desk(context).resolve(context.path["id"], decision)))


def _desk(context: Context[Services]) -> Reviews:
    return reviews_of(context.services)


READ = ("read", PLATFORM)

ENDPOINTS = (
    Endpoint("GET", "/v1/reviews", list_reviews, summary="List what needs a person, newest first", tag="Reviews",
             query=ListReviews, answer=Listed[ReviewShown], scopes=READ),
    Endpoint("GET", "/v1/reviews/{id}", get_review, summary="Look at a review item", tag="Reviews",
             answer=ReviewShown, scopes=READ),
    Endpoint("POST", "/v1/reviews/{id}/resolve", resolve_review, summary="Decide a review item", tag="Reviews",
             body=ResolveReview, answer=ReviewShown, scopes=(PLATFORM,), refusals=(409,),
             description="One unit, once for ever: what is booked, who decided, and why."),
)  # fmt: skip
