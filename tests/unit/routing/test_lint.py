"""Lint finds what people get wrong, where it stands, and says what to do; and it is silent about what is right."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

import pytest

from orchestrator.config_source import ConfigInvalid, load_document
from orchestrator.routing.catalogue import Catalogue
from orchestrator.routing.lint import Finding, lint
from tests.unit.routing.builders import DEMO, NOON, RATES, everything
from tests.unit.routing.faults import CLEAN, FAULTS, Fault


def mid(currency: str, _now: datetime) -> Fraction | None:
    return RATES.get(currency)


def findings(text: str) -> list[Finding]:
    try:
        document = load_document(text, "rules.yaml")
    except ConfigInvalid as invalid:
        return [Finding("invalid", "error", problem) for problem in invalid.problems]
    return lint(document, ("routing",), DEMO, everything, NOON, mid)


def test_clean_rules_have_no_finding() -> None:
    assert [str(finding.problem) for finding in findings(CLEAN)] == []


def test_there_are_more_than_forty_faults() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) > 40


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_found_where_it_stands(fault: Fault) -> None:
    assert CLEAN.count(fault.old) >= 1
    broken = CLEAN.replace(fault.old, fault.new, 1)
    found = findings(broken)
    lines = broken.split("\n")
    hits = [one for one in found if one.code == fault.code and fault.says in str(one.problem)]
    assert hits, [f"{one.code}: {one.problem}" for one in found]
    assert any(fault.line in lines[one.problem.line - 1] for one in hits), [str(one.problem) for one in hits]
    for one in hits:
        assert 1 <= one.problem.column <= len(lines[one.problem.line - 1]) + 1
        assert one.problem.excerpt or not lines[one.problem.line - 1].strip()


def test_currencies_without_a_spread_are_one_finding() -> None:
    without = CLEAN.replace('    - {corridor: "USD-*", spread_bps: 100}\n', "")
    (told,) = [one.problem for one in findings(without) if one.code == "no-spread"]
    assert "USD-EUR (ideal), USD-PHP (gcash)" in told.message


def test_a_method_whose_account_is_switched_off_says_so() -> None:
    left = tuple(option for option in DEMO.options if option.rail != "adyen")
    off = frozenset(option.key for option in DEMO.options if option.rail == "adyen")
    found = lint(load_document(CLEAN), ("routing",), Catalogue(left, off), everything, NOON, mid)
    said = [str(one.problem) for one in found]
    assert any(
        "pix is offered by nobody who is switched on (rails.adyen.accounts.main.enabled is false" in one for one in said
    )
    assert any("ideal is offered by nobody who is switched on" in one for one in said)


def test_an_annotation_has_its_place_and_one_line() -> None:
    (finding,) = findings(CLEAN.replace("      owner: ops-sea\n", ""))
    told = finding.annotation()
    assert told.startswith("::warning file=rules.yaml,line=")
    assert "title=no-owner::sea-tokens belongs to nobody" in told
    assert "\n" not in told
