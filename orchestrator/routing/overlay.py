"""A merchant's own rules: they refine what the platform's rules offer, within the platform's limits.

The platform decides first. Then the first of the merchant's rules that matches may drop offers, put them in another
order, or add some, as far as ``routing.overlays`` allows it. They never leave a buyer without an offer, never change
prices, and never reach a rail that the platform's eligibility dropped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import func, select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import MerchantRules, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View
from orchestrator.database.writer import Writer
from orchestrator.errors import Invalid
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.conditions import Condition, ask_age, conditions_of
from orchestrator.routing.facts import RoutingFacts
from orchestrator.routing.index import Match, RuleIndex
from orchestrator.routing.rule_words import Method, Methods, RuleId
from orchestrator.routing.rules import When
from orchestrator.routing.ruleset import Limits, Ruleset

OVERLAY_BYTES_MAX: Final = 64_000


class OverlayEntry(BaseModel):
    """One rule: ``{id: no-cards, when: {country: BR}, drop: [card], order: [pix, usdt], add: [usdt_bsc]}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: RuleId
    when: When = When()
    drop: Methods | None = None
    order: Annotated[tuple[Method, ...], Field(min_length=1, max_length=20)] | None = None
    """These first, in this order; the others after them, as the platform has them."""
    add: Annotated[tuple[Method, ...], Field(min_length=1, max_length=10)] | None = None
    """Offered after the platform's, where they can be had."""

    @model_validator(mode="after")
    def _does_something(self) -> OverlayEntry:
        if self.drop is None and self.order is None and self.add is None:
            raise PydanticCustomError("empty_overlay", "does nothing: say drop, order or add", {})
        if self.when.merchant is not None:
            raise PydanticCustomError("merchant_in_overlay", "these rules are one merchant's already", {})
        return self


class OverlayBlock(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: Annotated[tuple[OverlayEntry, ...], Field(max_length=200)] = ()


@dataclass(frozen=True, slots=True)
class OverlayRule:
    id: str
    drop: tuple[str, ...]
    order: tuple[str, ...]
    add: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overlay:
    """A merchant's rules, ready to be asked."""

    hash: str
    rules: tuple[OverlayRule, ...]
    match: Match = field(compare=False, repr=False)
    asks_age: bool = False
    """Whether some condition asks how long a customer is known."""

    def rule_for(self, facts: RoutingFacts, methods: frozenset[str]) -> OverlayRule | None:
        """Return the merchant's first rule that matches."""
        found = self.match(facts, methods)
        return None if found is None else self.rules[found]


@dataclass(frozen=True, slots=True)
class Applied:
    """What a merchant's rule did to a decision; stored with it."""

    hash: str
    rule: str
    dropped: tuple[str, ...]
    added: tuple[str, ...]
    reordered: bool
    refused: str | None = None
    """Why it did nothing, where it did nothing."""

    def to_json(self) -> dict[str, Any]:
        return {
            "hash": self.hash,
            "rule": self.rule,
            "dropped": list(self.dropped),
            "added": list(self.added),
            "reordered": self.reordered,
            "refused": self.refused,
        }


def read_overlay(body: Mapping[str, Any], ruleset: Ruleset, catalogue: Catalogue) -> tuple[Overlay, str]:
    """Return a merchant's rules and the text to keep. Raises Invalid with the place of what is wrong."""
    try:
        block = OverlayBlock.model_validate(body)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        pointer = "/" + "/".join(str(step) for step in first["loc"])
        raise Invalid("overlay_invalid", f"{pointer}: {first['msg']}", pointer=pointer) from None
    limits = ruleset.overlays
    if len(block.rules) > limits.rules_max:
        raise Invalid("overlay_too_large", f"at most {limits.rules_max} rules of a merchant", pointer="/rules")
    seen: set[str] = set()
    for number, entry in enumerate(block.rules):
        _check(entry, f"/rules/{number}", limits, ruleset, catalogue)
        if entry.id in seen:
            raise Invalid("overlay_invalid", f"the id {entry.id} is used twice", pointer=f"/rules/{number}/id")
        seen.add(entry.id)
    kept = orjson.dumps(
        block.model_dump(mode="json", by_alias=True, exclude_defaults=True), option=orjson.OPT_SORT_KEYS
    )
    return compile_overlay(block, kept, ruleset), kept.decode()


def compile_overlay(block: OverlayBlock, kept: bytes, ruleset: Ruleset) -> Overlay:
    """Return checked rules ready to be asked; a region that the platform no longer has names no country."""
    regions = _Regions(ruleset.regions)
    conditions: list[tuple[Condition, ...]] = [conditions_of(entry.when, regions) for entry in block.rules]
    rules = tuple(OverlayRule(e.id, e.drop or (), e.order or (), e.add or ()) for e in block.rules)
    return Overlay(hashlib.sha256(kept).hexdigest(), rules, RuleIndex(conditions).match, any(map(ask_age, conditions)))


class _Regions(dict[str, tuple[str, ...]]):
    def __missing__(self, _name: str) -> tuple[str, ...]:
        return ()


def _check(entry: OverlayEntry, pointer: str, limits: Limits, ruleset: Ruleset, catalogue: Catalogue) -> None:
    for name, words in (("drop", entry.drop), ("order", entry.order), ("add", entry.add)):
        if words is None:
            continue
        if name not in limits.may:
            allowed = ", ".join(limits.may) or "nothing"
            raise Invalid(
                "overlay_not_allowed", f"the platform allows {allowed}, not {name}", pointer=f"{pointer}/{name}"
            )
        for word in words:
            if not catalogue.expand(word):
                raise Invalid("method_unknown", f"no rail offers the method {word}", pointer=f"{pointer}/{name}")
            if name == "add" and limits.methods is not None and word not in limits.methods:
                raise Invalid("overlay_not_allowed", f"{word} is not among the methods that may be added",
                              pointer=f"{pointer}/add")  # fmt: skip
    waiting = [entry.when]
    while waiting:
        when = waiting.pop()
        for region in when.region or ():
            if region not in ruleset.regions:
                raise Invalid(
                    "region_unknown", f"the platform has no region {region}", pointer=f"{pointer}/when/region"
                )
        waiting += [*(when.all_of or ()), *(when.any_of or ()), *([when.none_of] if when.none_of else [])]


@dataclass(slots=True)
class OverlayBook:
    """The overlays of all merchants in this process."""

    writer: Writer
    reads: Reads
    overlays: dict[tuple[str, str], Overlay] = field(default_factory=dict)
    _newest: dict[tuple[str, str], int] = field(default_factory=dict)
    _platform: str = ""

    def of(self, merchant_id: str, mode: str) -> Overlay | None:
        return self.overlays.get((merchant_id, mode))

    async def write(
        self, merchant_id: str, mode: str, body: Mapping[str, Any], ruleset: Ruleset, catalogue: Catalogue, author: str
    ) -> Row:
        """Bring a merchant's rules into force; return their row. Raises Invalid."""
        overlay, kept = read_overlay(body, ruleset, catalogue)
        columns = ("merchant_id", "mode")

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            before = view.many("merchant_rules", columns, (merchant_id, mode))
            number = max((row["number"] for row in before), default=0) + 1
            row = {"merchant_id": merchant_id, "mode": mode, "number": number, "hash": overlay.hash, "body": kept,
                   "author": author, "created_us": view.now_us}  # fmt: skip
            changes.insert("merchant_rules", **row)
            return {"row": row}

        locks = (Lock("merchant_rules", columns, (merchant_id, mode)),)
        applied = await self.writer.submit(Unit(merchant_id, mode, None, locks, decide))
        await self.refresh(ruleset)
        row: Row = applied.answer["row"]
        return row

    async def newest(self, merchant_id: str, mode: str) -> Row | None:
        table = table_of(MerchantRules)
        return await self.reads.one(
            select(table)
            .where(table.c.merchant_id == merchant_id, table.c.mode == mode)
            .order_by(table.c.number.desc())
            .limit(1)
        )

    async def refresh(self, ruleset: Ruleset) -> None:
        """Read what is new; regions are the platform's, so another ruleset compiles all of them anew."""
        table = table_of(MerchantRules)
        of_book = (table.c.merchant_id, table.c.mode)
        heads = select(*of_book, func.max(table.c.number).label("number")).group_by(*of_book)
        known = {(row["merchant_id"], row["mode"]): row["number"] for row in await self.reads.all(heads)}
        if known == self._newest and self._platform == ruleset.hash:
            return  # nearly always: it is asked every second, and what is in the rules is not read for that
        head = heads.subquery()
        newest = await self.reads.all(
            select(*of_book, table.c.number, table.c.body).join(
                head,
                (head.c.merchant_id == table.c.merchant_id)
                & (head.c.mode == table.c.mode)
                & (head.c.number == table.c.number),
            )
        )
        for row in newest:
            key, body = (row["merchant_id"], row["mode"]), row["body"]
            if self._newest.get(key) == row["number"] and self._platform == ruleset.hash:
                continue
            block = OverlayBlock.model_validate(orjson.loads(body))
            if block.rules:
                self.overlays[key] = compile_overlay(block, body.encode(), ruleset)
            else:
                self.overlays.pop(key, None)
        self._newest = {(row["merchant_id"], row["mode"]): row["number"] for row in newest}
        self._platform = ruleset.hash


def overlay_shown(row: Row) -> dict[str, Any]:
    """Return a merchant's rules as the API shows them."""
    return {
        "number": row["number"],
        "hash": row["hash"],
        "rules": orjson.loads(row["body"]).get("rules", []),
        "author": row["author"],
        "created_at": rfc3339(row["created_us"]),
    }
