"""A stored decision in words: for the API as plain data, for a terminal as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.routing.compiled import MATCHED, interpret_rules
from orchestrator.routing.conditions import Condition, actual, describe
from orchestrator.routing.decision import FORMAT, PickedBy, Source
from orchestrator.routing.eligibility import Reason
from orchestrator.routing.facts import RoutingFacts, token_word
from orchestrator.routing.ruleset import RailChoice, Rule, Ruleset
from rates.money import WALLET_USD, Money

_REASON_TEXT: Final[Mapping[Reason, str]] = {
    Reason.KEPT: "can serve, charging {detail}",
    Reason.KEPT_DEGRADED: "can serve, charging {detail}; doing badly of late",
    Reason.OTHER_MODE: "is a {detail} account",
    Reason.METHOD_NOT_ASKED_FOR: "{detail} is not among the methods asked for",
    Reason.COUNTRY_NOT_SERVED: "does not serve {detail}",
    Reason.NO_COMMON_CURRENCY: "cannot charge any of {detail}",
    Reason.NOT_QUOTABLE: "no rate now for {detail}",
    Reason.BELOW_MINIMUM: "below its minimum of {detail}",
    Reason.ABOVE_MAXIMUM: "above its maximum of {detail}",
    Reason.RAIL_DOWN: "is down",
    Reason.MAINTENANCE: "is closed for maintenance that its operator announced",
    Reason.MERCHANT_NOT_SERVED: "its account is for other merchants",
    Reason.RAIL_PROBED: "is coming back: a small share of customers tries it first",
}
_SOURCE_TEXT: Final[Mapping[Source, str]] = {
    Source.RULE: "the first rule that matched makes the offers",
    Source.DEFAULTS: "no rule matched: the defaults",
    Source.DEFAULTS_AFTER_RULE: "a rule matched, but nothing that it offers can be had now: the defaults stand in",
    Source.NOTHING_AFTER_RULE: "a rule matched, nothing that it offers can be had, and it says otherwise: nothing",
}
_PICKED_TEXT: Final[Mapping[PickedBy, str]] = {
    PickedBy.WRITTEN: "the rule names the rail",
    PickedBy.CATALOGUE: "the first that can serve, in the order of config.yaml",
    PickedBy.RAIL_CHOICE: "picked by rail_choice",
    PickedBy.RAIL_CHOICE_STAND_IN: "stands in: what rail_choice picked cannot serve now",
}


class DecisionUnreadable(ValueError):
    """The stored decision has a form that this version does not know."""


def explain(stored: str, ruleset: Ruleset | None) -> dict[str, Any]:
    """Return a decision as plain data with its reasons in words.

    ``ruleset`` should be the one that decided. With another one, or None, rules are told by number and outcome only:
    its words would describe conditions that were not the ones that were tried. Raises DecisionUnreadable.
    """
    decision = json.loads(stored)
    if not isinstance(decision, dict) or decision.get("v") != FORMAT:
        raise DecisionUnreadable("the stored decision is of a form that this version does not know")
    same = ruleset if ruleset is not None and ruleset.hash == decision["ruleset"] else None
    facts = RoutingFacts.from_json(decision["facts"])
    source = Source(decision["source"])
    named = facts.methods or frozenset()
    methods = named | {option[2] for option in decision["options"] if token_word(option[2]) in named}
    return {
        "ruleset_hash": decision["ruleset"],
        "ruleset_at_hand": same is not None,
        "facts": decision["facts"],
        "source": {"code": source.value, "text": _SOURCE_TEXT[source]},
        "rules": _rules(_outcomes(decision, same, facts, methods), same.rules if same else None, facts, methods),
        "rail_choice": {
            method: _rules(outcomes, same.rail_choices if same else None, facts, frozenset({method}))
            for method, outcomes in decision["rail_choice"].items()
        },
        "options": [_option(option) for option in decision["options"]],
        "offers": [{**offer, "picked_by": _PICKED_TEXT[PickedBy(offer["picked_by"])]} for offer in decision["offers"]],
        "rates": decision["rates"],
        "ranked": decision.get("ranked"),
        "overlay": decision.get("overlay"),
    }


def _outcomes(
    decision: Mapping[str, Any], ruleset: Ruleset | None, facts: RoutingFacts, methods: frozenset[str]
) -> Sequence[int]:
    """Return the outcome of every rule: as kept, or worked out again from the same facts and the same rules."""
    if decision["rules"] is not None:
        kept: Sequence[int] = decision["rules"]
        return kept
    if ruleset is None:
        return []
    return interpret_rules([rule.conditions for rule in ruleset.rules])(facts, methods)


def _rules(
    outcomes: Sequence[int],
    rules: Sequence[Rule | RailChoice] | None,
    facts: RoutingFacts,
    methods: frozenset[str],
) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    for number, outcome in enumerate(outcomes):
        rule = rules[number] if rules is not None else None
        told.append(
            {
                "id": rule.id if rule else f"rule {number + 1}",
                "matched": outcome == MATCHED,
                "why": _why(outcome, rule.conditions if rule else None, facts, methods),
            }
        )
    return told


def _why(outcome: int, conditions: Sequence[Condition] | None, facts: RoutingFacts, methods: frozenset[str]) -> str:
    if outcome == MATCHED:
        return "every condition holds" if conditions else "it has no conditions" if conditions == () else "matched"
    if conditions is None:
        return f"condition {outcome} failed"
    failed = conditions[outcome - 1]
    return f"wants {describe(failed)}; {actual(failed, facts, methods)}"


def _option(stored: Sequence[Any]) -> dict[str, Any]:
    rail, account, method, code, detail = stored
    reason = Reason(code)
    return {
        "rail": rail,
        "account": account,
        "method": method,
        "kept": reason in (Reason.KEPT, Reason.KEPT_DEGRADED),
        "reason": reason.name.lower(),
        "text": _REASON_TEXT[reason].format(detail=detail),
    }


def render(stored: str, ruleset: Ruleset | None) -> str:
    """Return a decision as text for a terminal."""
    told = explain(stored, ruleset)
    known = ", ".join(f"{name} {value}" for name, value in told["facts"].items())
    offers = [
        [str(number), offer["method"], f"{offer['rail']}/{offer['account']}", offer["currency"], offer["picked_by"]]
        for number, offer in enumerate(told["offers"], 1)
    ]
    rules = [["matched" if rule["matched"] else "no", rule["id"], rule["why"]] for rule in told["rules"]]
    options = [
        [
            "kept" if option["kept"] else "dropped",
            f"{option['rail']}/{option['account']}",
            option["method"],
            option["text"],
        ]
        for option in told["options"]
    ]
    choices = [
        ["matched" if rule["matched"] else "no", method, rule["id"], rule["why"]]
        for method, outcomes in told["rail_choice"].items()
        for rule in outcomes
    ]
    parts = [
        f"ruleset {told['ruleset_hash'][:12]}" + ("" if told["ruleset_at_hand"] else " (not at hand: rules by number)"),
        f"facts   {known}",
        f"offers  {told['source']['text']}",
        _table(offers) or "  none",
        *(["rules", _table(rules)] if rules else []),
        *(["rail_choice", _table(choices)] if choices else []),
        *_ranked(told["ranked"]),
        *_overlay(told["overlay"]),
        "options",
        _table(options),
    ]
    return "\n".join(parts) + "\n"


def _ranked(ranked: Mapping[str, Any] | None) -> list[str]:
    """Return what the order was made of."""
    if ranked is None:
        return []
    explored = "; this customer explores: the second best was put first" if ranked["explored"] else ""
    rows = [["/".join(one["option"]), _known(one)] for one in ranked["known"]]
    return [f"ranked by {ranked['by']}{explored}", _table(rows) or "  nothing was to be ranked"]


def _known(one: Mapping[str, Any]) -> str:
    if "success_percent" in one:
        return f"settles {one['success_percent']} %, from {one['tries']} tries in this cell"
    if "expected_seconds" in one:
        return f"takes {one['expected_seconds']} s"
    if one["cost_units"] is None:
        return "no cost is known"
    parts = ", ".join(f"{name} {_usd(units)}" for name, units in one["parts"].items())
    return f"costs {_usd(one['cost_units'])} USD ({parts})"


def _usd(units: int) -> str:
    return Money(units, WALLET_USD).decimal(2)


def _overlay(overlay: Mapping[str, Any] | None) -> list[str]:
    """Return what the merchant's own rules did."""
    if overlay is None:
        return []
    done = [f"dropped {', '.join(overlay['dropped'])}"] if overlay.get("dropped") else []
    done += [f"added {', '.join(overlay['added'])}"] if overlay.get("added") else []
    done += ["put in another order"] if overlay.get("reordered") else []
    done += [f"refused: {overlay['refused']}"] if overlay.get("refused") else []
    return [f"merchant's rule {overlay['rule']}: {'; '.join(done) or 'changed nothing'}"]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)
