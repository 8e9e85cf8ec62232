"""The rules' JSON Schema, so that an editor completes and checks what people write; and the words of a difference."""

from __future__ import annotations

import difflib
from io import StringIO
from typing import Any, Final

import orjson
from ruamel.yaml import YAML

from orchestrator.routing.rules import RoutingBlock

SCHEMA_ID: Final = "https://crossrail.dev/schemas/routing.json"


def routing_schema() -> dict[str, Any]:
    """Return the ``routing:`` block as JSON Schema (draft 2020-12), with what every key means."""
    schema = RoutingBlock.model_json_schema(by_alias=True)
    _loosen(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Crossrail routing rules", **schema}


def config_schema() -> dict[str, Any]:
    """Return a whole configuration as JSON Schema: the routing block checked, the others left to the service."""
    routing = routing_schema()
    definitions = routing.pop("$defs", {})
    dialect = routing.pop("$schema")
    return {
        "$schema": dialect,
        "title": "Crossrail configuration",
        "type": "object",
        "properties": {"routing": routing},
        "required": ["routing"],
        "$defs": definitions,
    }


def _loosen(node: Any) -> None:
    """Allow what the reader allows: one word where a list may stand, a method's name where an offer may."""
    if isinstance(node, dict):
        for name, part in list(node.get("properties", {}).items()):
            node["properties"][name] = _word_or_list(_without_null(part))
        if "OfferEntry" in node.get("$defs", {}):
            entry = node["$defs"]["OfferEntry"]
            node["$defs"]["OfferEntry"] = {"anyOf": [{"type": "string", "description": "a method"}, entry]}
        if "When" in node.get("$defs", {}):
            node["$defs"]["When"]["patternProperties"] = {r"^metadata\.": {"type": ["string", "array"]}}
            for name in ("hour", "customer_age_days"):
                part = node["$defs"]["When"]["properties"][name]
                part.setdefault("anyOf", []).insert(0, {"type": "integer"})
        for part in node.values():
            _loosen(part)
    elif isinstance(node, list):
        for part in node:
            _loosen(part)


def _without_null(part: Any) -> Any:
    """A key with nothing behind it is an error for the reader, so it is one for the editor."""
    if not isinstance(part, dict) or "anyOf" not in part:
        return part
    kept = [one for one in part["anyOf"] if one != {"type": "null"}]
    rest = {name: value for name, value in part.items() if name not in {"anyOf", "default"}}
    return {**kept[0], **rest} if len(kept) == 1 else {"anyOf": kept, **rest}


def _word_or_list(part: Any) -> Any:
    options = part.get("anyOf", [part]) if isinstance(part, dict) else []
    for one in options:
        items = one.get("items", {}) if isinstance(one, dict) else {}
        if one.get("type") == "array" and ("string" in items.get("type", ()) or "enum" in items):
            meta = {name: part[name] for name in ("title", "description", "default") if name in part}
            return {"anyOf": [items, *[other for other in options if other is not one], one], **meta}
    return part


def yaml_of(canonical: str) -> str:
    """Return a version's rules as YAML, in one order."""
    stream = StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 120
    writer.dump(orjson.loads(canonical), stream)
    return stream.getvalue()


def difference(before: str, after: str, names: tuple[str, str] = ("before", "after")) -> str:
    """Return the difference of two versions, line by line, as people know it from git; "" = none."""
    lines = difflib.unified_diff(
        yaml_of(before).splitlines(), yaml_of(after).splitlines(), names[0], names[1], lineterm="", n=3
    )
    return "\n".join(lines)


def moved_rules(before: str, after: str) -> dict[str, list[str]]:
    """Return which rules were added, removed and changed, by id."""
    old, new = ({rule["id"]: rule for rule in orjson.loads(text).get("rules", [])} for text in (before, after))
    return {
        "added": [id_ for id_ in new if id_ not in old],
        "removed": [id_ for id_ in old if id_ not in new],
        "changed": [id_ for id_, rule in new.items() if id_ in old and old[id_] != rule],
    }
