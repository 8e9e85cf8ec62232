"""Whatever somebody writes into the file: rules that can be used, or an error that names a line. Never a crash."""

from __future__ import annotations

import re
from datetime import datetime
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config_source import ConfigInvalid, load_document
from orchestrator.routing.lint import lint
from orchestrator.routing.load import load_ruleset
from orchestrator.routing.rollout import in_canary
from tests.unit.routing.builders import DEMO, NOON, RATES, TODAY, everything, facts, route
from tests.unit.routing.faults import CLEAN

LINES = CLEAN.split("\n")
WORDS = ["null", "true", "-1", "1e99", "[]", "{}", "''", "NO", "0x1f", "017", "&a", "*a", "!!int", "?", "|", "\t", "\x00",
         "0", "0.00", "00:00", "country", "{min: 1}", "when:", "- ", "offers: [card]", "2026-13-01", "9" * 40, "<<: *x", "%YAML 1.1", "é"]  # fmt: skip


def mid(currency: str, _now: datetime) -> Fraction | None:
    return RATES.get(currency)


@st.composite
def broken(draw: st.DrawFn) -> str:
    """Take the clean rules and hurt them in a few places."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "twice", "word", "cut", "indent", "value", "token", "token", "swap"])):
            case "drop":
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "word":
                lines.insert(at, " " * draw(st.integers(0, 8)) + draw(st.sampled_from(WORDS)))
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "indent":
                lines[at] = " " * draw(st.integers(0, 10)) + lines[at].lstrip()
            case "value":
                lines[at] = lines[at].partition(":")[0] + ": " + draw(st.sampled_from(WORDS))
            case "token":  # also inside what stands in one line: {country: BR, amount_usd: 50}
                found = list(re.finditer(r"[A-Za-z0-9_.*-]+", lines[at]))
                if found:
                    one = draw(st.sampled_from(found))
                    lines[at] = lines[at][: one.start()] + draw(st.sampled_from(WORDS)) + lines[at][one.end() :]
            case _:
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
    return "\n".join(lines)


def names_lines(invalid: ConfigInvalid, text: str) -> None:
    assert invalid.problems
    for problem in invalid.problems:
        assert 1 <= problem.line <= len(text.splitlines()) + 1
        assert problem.column >= 1
        assert problem.message


def check(text: str) -> None:
    try:
        document = load_document(text, "rules.yaml")
        findings = lint(document, ("routing",), DEMO, everything, NOON, mid)
        ruleset = load_ruleset(document, DEMO, today=TODAY)
    except ConfigInvalid as invalid:
        names_lines(invalid, text)
        return
    assert all(finding.problem.line >= 1 for finding in findings)
    decision = route(facts("BR"), ruleset)
    assert decision.ruleset_hash == ruleset.hash


@settings(max_examples=80, deadline=None)
@given(broken())
def test_broken_rules_name_a_line_or_can_be_used(text: str) -> None:
    check(text)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text_names_a_line_or_can_be_used(text: str) -> None:
    check(text)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 1_000), st.integers(1, 99))
def test_a_canary_has_its_share_and_keeps_its_customers(number: int, percent: int) -> None:
    customers = [f"c{n}" for n in range(2_000)]
    chosen = {one for one in customers if in_canary(number, "mer", one, percent)}
    expected = 2_000 * percent / 100
    assert abs(len(chosen) - expected) < 5 * (2_000 * percent / 100 * (1 - percent / 100)) ** 0.5 + 1
    assert chosen == {one for one in customers if in_canary(number, "mer", one, percent)}
    assert chosen <= {one for one in customers if in_canary(number, "mer", one, min(100, percent + 1))}
