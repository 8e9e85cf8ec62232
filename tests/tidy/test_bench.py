"""The runner of the benchmarks says what was missed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

import bench
from bench.__main__ import main
from bench.result import Result


@pytest.fixture
def one_benchmark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Result | dict[str, Any]]:
    """A benchmark called ``sample`` whose results are the returned list."""
    results: list[Result | dict[str, Any]] = []
    module = ModuleType("bench.sample")
    monkeypatch.setattr(module, "run", lambda: results, raising=False)
    monkeypatch.setitem(sys.modules, "bench.sample", module)
    (tmp_path / "sample.py").touch()
    monkeypatch.setattr(bench, "__path__", [str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    return results


def test_a_missed_goal_is_an_exit_of_one(one_benchmark: list[Result | dict[str, Any]]) -> None:
    one_benchmark += [
        Result(name="sessions", unit="requests/s", value=290, reference=1000, goal=0.3),
        Result(name="decisions", unit="decisions/s", value=25_000, goal=20_000),
    ]
    assert main([]) == 1
    rows = orjson.loads(Path("var/bench.json").read_bytes())
    assert [(row["name"], row["ratio"], row["met"]) for row in rows] == [
        ("sessions", 0.29, False),
        ("decisions", None, True),
    ]


def test_met_goals_and_numbers_without_one_are_an_exit_of_zero(one_benchmark: list[Result | dict[str, Any]]) -> None:
    one_benchmark += [
        Result(name="sessions", unit="requests/s", value=300, reference=1000, goal=0.3),
        Result(name="memory", unit="MB", value=120),
    ]
    assert main(["sample"]) == 0


def test_a_name_that_no_benchmark_has_is_wrong_usage(one_benchmark: list[Result | dict[str, Any]]) -> None:
    assert main(["nothing of the kind"]) == 2
    assert not one_benchmark


def test_a_row_that_lacks_a_field_is_a_mistake(one_benchmark: list[Result | dict[str, Any]]) -> None:
    one_benchmark.append({"name": "sessions", "value": 1})
    with pytest.raises(ValueError, match="a row has the fields"):
        main([])
