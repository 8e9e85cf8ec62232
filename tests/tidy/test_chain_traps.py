"""Every trap of ``docs/chain-traps.md`` has a test, and it is there under that name."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.tidy.repository import files, text, tree

TABLE = Path("docs/chain-traps.md")
NODE_ID = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def rows() -> list[tuple[str, str]]:
    """Return trap and cell of tests."""
    lines = [line.strip("|").split(" | ") for line in text(TABLE).splitlines() if line.startswith("| ")]
    return [(cells[0].strip(), cells[-1]) for cells in lines if cells[0].strip() != "trap"]


@cache
def names_in(path: str) -> frozenset[str]:
    if Path(path) not in files():
        return frozenset()
    nodes = ast.walk(tree(Path(path)))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_the_table_is_read() -> None:
    assert len(rows()) > 40
    assert len({trap for trap, _ in rows()}) == len(rows())


@pytest.mark.parametrize(("trap", "cell"), rows(), ids=[trap[:60] for trap, _ in rows()])
def test_each_trap_has_a_test_of_that_name(trap: str, cell: str) -> None:
    named = NODE_ID.findall(cell)
    assert named, trap
    assert len(named) == cell.count("::"), cell
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []
