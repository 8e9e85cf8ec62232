"""A rail is one folder that holds the same papers as every other rail."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.tidy.rail_rules import EVERY_RAIL
from tests.tidy.repository import files, rails, text, tree

REQUIRED = ("__init__.py", "adapter.py", "wire.py", "simulator.py", "README.md", "quality.yaml")
FIRST_RAILS = {"adyen", "evm", "stripe", "tron"}
REASON_LETTERS_MIN = 15
SOURCE = re.compile(r"\b[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|dev|io|network|org)/[\w-]+")


def test_the_first_rails_are_all_there() -> None:
    assert set(rails()) >= FIRST_RAILS


@pytest.mark.parametrize("rail", rails())
def test_a_rail_has_its_six_files(rail: str) -> None:
    missing = [name for name in REQUIRED if Path("adapters", rail, name) not in files()]
    assert not missing, f"adapters/{rail} lacks {missing}"


@pytest.mark.parametrize("rail", rails())
def test_a_rail_shows_two_names_only(rail: str) -> None:
    public: set[str] = set()
    for node in tree(Path("adapters", rail, "__init__.py")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                public = set(ast.literal_eval(value))
    assert public == {"ADAPTER", "SIMULATOR"}, f"__all__ of adapters/{rail}/__init__.py is {sorted(public)}"


@pytest.mark.parametrize("rail", rails())
def test_a_rail_says_where_its_facts_are_from(rail: str) -> None:
    path = Path("adapters", rail, "README.md")
    assert path in files(), f"{path} is missing"
    assert SOURCE.search(text(path)), f"{path} cites no source"


@pytest.mark.parametrize("rail", rails())
def test_a_quality_card_answers_every_rule(rail: str) -> None:
    path = Path("adapters", rail, "quality.yaml")
    assert path in files(), f"{path} is missing"
    card = YAML(typ="safe", pure=True).load(text(path))
    assert card["rail"] == rail
    rules = card["rules"]
    assert set(EVERY_RAIL) <= set(rules), f"{path} does not answer {sorted(set(EVERY_RAIL) - set(rules))}"
    unclear = [name for name, answer in rules.items() if not _is_answer(answer)]
    assert not unclear, f"{path}: neither `done` nor exempt with a reason: {unclear}"


def _is_answer(answer: object) -> bool:
    match answer:
        case "done":
            return True
        case {"status": "exempt", "reason": str(reason)}:
            return len(reason) >= REASON_LETTERS_MIN
        case _:
            return False
