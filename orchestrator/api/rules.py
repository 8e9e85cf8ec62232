"""Routing rules as versions: what is in force, the history, drafts on trial, back to an earlier version."""

from __future__ import annotations

from typing import Any, Literal

import orjson
from pydantic import ConfigDict, Field

from orchestrator.access import PLATFORM
from orchestrator.api.endpoint import Answer, Context, Endpoint
from orchestrator.api.fields import Body, Listed, Page, Shown
from orchestrator.clock import rfc3339
from orchestrator.database.unit import Row
from orchestrator.errors import Invalid
from orchestrator.routing.overlay import overlay_shown
from orchestrator.routing.reading import Source
from orchestrator.routing.rollout import Guards
from orchestrator.routing.schema import difference, moved_rules
from orchestrator.routing.versions import By, trial_shown
from orchestrator.services import Services

TEXT_BYTES_MAX = 4_000_000
AUTHOR = Field(min_length=1, max_length=200, description="Who does it, for the history.")
MESSAGE = Field(default="", max_length=2000, description="Why, for the history.")


class GuardsBody(Body):
    """How much worse than the rules in force a canary may do before it is called back."""

    sample_min: int = Field(default=30, ge=1, le=1_000_000)
    settle_drop_percent: int = Field(default=5, ge=1, le=100)
    credit_time_percent: int = Field(default=150, ge=100, le=10_000)
    error_rise_percent: int = Field(default=5, ge=1, le=100)

    def guards(self) -> Guards:
        return Guards(self.sample_min, self.settle_drop_percent, self.credit_time_percent, self.error_rise_percent)


class ApplyRules(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"text": "defaults: {offers: [card]}\n", "author": "mia", "message": "cards only", "canary": 10}
            ]
        }
    )

    text: str = Field(
        min_length=1, max_length=TEXT_BYTES_MAX, description="YAML: a configuration or its routing block."
    )
    file: str = Field(default="draft.yaml", min_length=1, max_length=200, description="The name that problems show.")
    author: str = AUTHOR
    message: str = MESSAGE
    canary: int | None = Field(default=None, ge=1, le=99, description="Percent of the customers; absent: everybody.")
    shadow: bool = Field(default=False, description="The draft decides for nobody; differences are counted.")
    guards: GuardsBody = Field(default_factory=GuardsBody)


class Told(Body):
    author: str = AUTHOR
    message: str = MESSAGE


class Rollback(Told):
    hash: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$", description="Absent: the version before.")


class TrialShown(Shown):
    number: int
    kind: Literal["canary", "shadow"]
    ruleset_hash: str
    base_hash: str
    percent: int
    guards: dict[str, int]
    status: Literal["running", "promoted", "rolled_back", "stopped"]
    reason: str
    figures: dict[str, Any]
    author: str
    message: str
    started_at: str
    ended_at: str | None


class StateShown(Shown):
    ruleset_hash: str
    rules: int
    file: str | None
    file_hash: str | None = Field(description="Of the watched file's rules; null: they are not valid.")
    file_problems: list[dict[str, Any]]
    unusable: str | None = Field(description="Why this process does not use the version that should be in force.")
    trial: TrialShown | None = Field(description="The one that runs.")
    last_trial: TrialShown | None = Field(description="The newest that ended, and why.")


class ChangeShown(Shown):
    number: int
    kind: str = Field(description="file | apply | rollback | trial | promote | stop | guard")
    ruleset_hash: str
    previous_hash: str | None
    author: str
    message: str
    created_at: str


class VersionShown(Shown):
    ruleset_hash: str
    parent: str | None
    author: str
    message: str
    created_at: str
    moved: dict[str, list[str]] = Field(description="Rules added, removed and changed against the parent, by id.")
    difference: str = Field(description="Against the parent, as lines of YAML.")
    routing: dict[str, Any]


class History(Page):
    pass


async def get_rules(context: Context[Services]) -> Answer:
    return Answer(await _state(context.services))


async def apply_rules(context: Context[Services], body: ApplyRules) -> Answer:
    if body.canary is not None and body.shadow:
        raise Invalid("canary_or_shadow", "a draft is a canary or a shadow, not both", pointer="/shadow")
    trial: Literal["canary", "shadow"] | None = "shadow" if body.shadow else "canary" if body.canary else None
    await context.services.rules.apply(
        Source(body.file, body.text, {}),
        By(body.author, body.message),
        trial=trial,
        percent=body.canary or 0,
        guards=body.guards.guards(),
    )
    return Answer(await _state(context.services))


async def rollback_rules(context: Context[Services], body: Rollback) -> Answer:
    await context.services.rules.rollback(body.hash, By(body.author, body.message))
    return Answer(await _state(context.services))


async def promote_trial(context: Context[Services], body: Told) -> Answer:
    await context.services.rules.promote(By(body.author, body.message))
    return Answer(await _state(context.services))


async def stop_trial(context: Context[Services], body: Told) -> Answer:
    await context.services.rules.stop(By(body.author, body.message))
    return Answer(await _state(context.services))


async def list_changes(context: Context[Services], query: History) -> Answer:
    before = int(query.after) if query.after is not None and query.after.isdigit() else None
    rows = await context.services.rules.versions.history(query.limit + 1, before)
    shown = [change_shown(row) for row in rows[: query.limit]]
    more = len(rows) > query.limit
    return Answer({"data": shown, "next_cursor": str(rows[query.limit - 1]["number"]) if more else None})


async def get_version(context: Context[Services]) -> Answer:
    versions = context.services.rules.versions
    row = await versions.version(context.path["id"])
    parent = await versions.version(row["parent"]) if row["parent"] else None
    before = parent["canonical"] if parent else '{"defaults":{"offers":[]}}'
    names = (str(row["parent"] or "nothing")[:12], row["hash"][:12])
    return Answer(
        {
            "ruleset_hash": row["hash"],
            "parent": row["parent"],
            "author": row["author"],
            "message": row["message"],
            "created_at": rfc3339(row["created_us"]),
            "moved": moved_rules(before, row["canonical"]),
            "difference": difference(before, row["canonical"], names),
            "routing": orjson.loads(row["canonical"]),
        }
    )


async def list_trials(context: Context[Services]) -> Answer:
    rows = await context.services.rules.versions.trials()
    return Answer({"data": [trial_shown(row) for row in rows], "next_cursor": None})


async def _state(services: Services) -> dict[str, Any]:
    control, desk = services.rules, services.routing
    state = await control.versions.state()
    status = control.status
    problems = [] if status is None else status.problems
    newest = await control.versions.trials(2)
    return {
        "ruleset_hash": desk.ruleset.hash,
        "rules": len(desk.ruleset.rules),
        "file": None if status is None else status.file,
        "file_hash": None if status is None else status.hash,
        "file_problems": [
            {"line": one.line, "column": one.column, "path": one.path, "message": one.message, "hint": one.hint}
            for one in problems
        ],
        "unusable": control.unusable,
        "trial": trial_shown(state.trial) if state is not None and state.trial is not None else None,
        "last_trial": next((trial_shown(row) for row in newest if row["status"] != "running"), None),
    }


def change_shown(row: Row) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("number", "kind", "author", "message")},
        "ruleset_hash": row["hash"],
        "previous_hash": row["previous"],
        "created_at": rfc3339(row["created_us"]),
    }


class OverlayRules(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"rules": [{"id": "tokens-first", "order": ["usdt"]}], "author": "shop"}]}
    )

    rules: list[dict[str, Any]] = Field(max_length=200, description="See docs/routing.md; [] takes them away.")
    author: str = AUTHOR


class OverlayShown(Shown):
    number: int = Field(description="0: there are none.")
    hash: str | None
    rules: list[dict[str, Any]]
    author: str | None
    created_at: str | None
    may: list[str] = Field(description="What the platform allows: order, drop, add.")


async def put_overlay(context: Context[Services], body: OverlayRules) -> Answer:
    desk = context.services.routing
    assert desk.overlays is not None
    row = await desk.overlays.write(
        context.merchant_id, context.mode, {"rules": body.rules}, desk.ruleset, desk.catalogue, body.author
    )
    return Answer({**overlay_shown(row), "may": list(desk.ruleset.overlays.may)})


async def get_overlay(context: Context[Services]) -> Answer:
    desk = context.services.routing
    assert desk.overlays is not None
    row = await desk.overlays.newest(context.merchant_id, context.mode)
    nothing: dict[str, Any] = {"number": 0, "hash": None, "rules": [], "author": None, "created_at": None}
    return Answer({**(nothing if row is None else overlay_shown(row)), "may": list(desk.ruleset.overlays.may)})


ENDPOINTS = (
    Endpoint("GET", "/v1/routing/overlay", get_overlay, summary="Your own rules, which refine the platform's",
             tag="Routing", answer=OverlayShown),
    Endpoint("POST", "/v1/routing/overlay", put_overlay, summary="Bring your own rules into force", tag="Routing",
             body=OverlayRules, answer=OverlayShown),
    Endpoint("GET", "/v1/routing/rules", get_rules, summary="What rules are in force, and what is on trial", tag="Routing",
             scopes=(PLATFORM,), answer=StateShown),
    Endpoint("POST", "/v1/routing/rules", apply_rules, summary="Bring rules into force, or put them on trial",
             tag="Routing", scopes=(PLATFORM,), body=ApplyRules, answer=StateShown, body_bytes_max=2 * TEXT_BYTES_MAX,
             refusals=(404,)),
    Endpoint("POST", "/v1/routing/rules/rollback", rollback_rules, summary="Go back to an earlier version", tag="Routing",
             scopes=(PLATFORM,), body=Rollback, answer=StateShown, refusals=(404,)),
    Endpoint("POST", "/v1/routing/trial/promote", promote_trial, summary="Bring the draft on trial into force",
             tag="Routing", scopes=(PLATFORM,), body=Told, answer=StateShown, refusals=(404,)),
    Endpoint("POST", "/v1/routing/trial/stop", stop_trial, summary="End the trial", tag="Routing", scopes=(PLATFORM,),
             body=Told, answer=StateShown),
    Endpoint("GET", "/v1/routing/trials", list_trials, summary="List trials, newest first", tag="Routing",
             scopes=(PLATFORM,), answer=Listed[TrialShown]),
    Endpoint("GET", "/v1/routing/changes", list_changes, summary="Who changed the rules, newest first", tag="Routing",
             scopes=(PLATFORM,), query=History, answer=Listed[ChangeShown]),
    Endpoint("GET", "/v1/routing/versions/{id}", get_version, summary="A version and its difference to the one before",
             tag="Routing", scopes=(PLATFORM,), answer=VersionShown, refusals=(409,)),
)  # fmt: skip
