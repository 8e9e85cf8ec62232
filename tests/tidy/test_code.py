"""How the code reads: what ruff and mypy do not see."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.tidy.repository import CODE, ROOT, files, imports, imports_any, python_files, text, tree

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
LONG_FILES = {
    "adapters/base.py": "the port is one page, so that a rail's author reads one file",
    "orchestrator/database/tables.py": "every table stands on one page",
}
MIGRATIONS = Path("orchestrator/database/migrations/versions")
"""Written once, read as history: a migration is as long as the change."""

MONEY_ROOMS = ("rates", "orchestrator/ledger", "orchestrator/payments", "orchestrator/metering")

PURE = (
    "rates/money.py",
    "orchestrator/payments/payment.py",
    "orchestrator/routing/engine.py",
    "orchestrator/routing/replay.py",
    "orchestrator/ledger/journal.py",
    "orchestrator/ledger/recipes.py",
    "orchestrator/ledger/lots.py",
    "orchestrator/metering/rating.py",
)
IMPURE = (
    *("aiohttp", "aiosqlite", "asyncio", "asyncpg", "forex_python", "os", "random", "requests", "secrets", "socket"),
    *("sqlalchemy", "sqlite3", "sqlmodel", "subprocess", "tenacity", "threading", "time"),
)

DATABASE = "orchestrator.database."
SHAPES = re.compile(r"orchestrator\.database\.unit\b")
"""What is written is described by a unit, which is data: the books are made of it."""

SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)(?P<rest>[^\n]*)")
CODES = re.compile(r"^(\[[\w, -]+\]|:\s*[A-Z]+[0-9]+(,\s*[A-Z]+[0-9]+)*)")


def is_migration(path: Path) -> bool:
    return MIGRATIONS in path.parents


def test_a_file_holds_one_idea() -> None:
    lengths = {str(path): text(path).count("\n") for path in python_files(*CODE) if not is_migration(path)}
    too_long = {name: lines for name, lines in lengths.items() if lines > FILE_LINES_MAX and name not in LONG_FILES}
    assert not too_long, f"over {FILE_LINES_MAX} lines, so two ideas in one room: {too_long}"


def test_a_function_fits_on_a_screen() -> None:
    too_long = [
        f"{path}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in python_files(*CODE)
        if not is_migration(path)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not too_long, "\n".join(too_long)


def test_money_is_never_turned_into_a_float() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in python_files(*MONEY_ROOMS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
    ]
    assert not found, f"float() in a room of money: {found}"


def test_pure_modules_neither_wait_nor_look_outside() -> None:
    found: list[str] = []
    for path in python_files(*PURE):
        found += [f"{path} imports {name}" for name in sorted(imports_any(path, *IMPURE))]
        found += [
            f"{path} imports {name}"
            for name in sorted(imports(path))
            if name.startswith(DATABASE) and not SHAPES.match(name)
        ]
        found += [f"{path}:{n.lineno} is async" for n in ast.walk(tree(path)) if isinstance(n, ast.AsyncFunctionDef)]
    assert not found, "\n".join(found)


def test_time_comes_from_the_clock() -> None:
    """UTC only, from ``orchestrator/clock.py`` or a parameter. (Adapters stamp an answer that bears no time: the port has no clock.)"""
    clock = Path("orchestrator/clock.py")
    found = [
        f"{path}:{node.lineno}"
        for path in python_files("rates", "orchestrator")
        if path != clock
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"now", "utcnow", "today"}
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in {"datetime", "date"}
    ]
    assert not found, f"the time of day is read beside the clock: {found}"


def test_only_bootstrap_loads_rails() -> None:
    found = [
        str(path)
        for path in python_files("orchestrator")
        if imports_any(path, "adapters.registry") and not str(path).startswith("orchestrator/bootstrap")
    ]
    assert not found, f"only orchestrator/bootstrap may import adapters.registry: {found}"


def test_a_silenced_rule_says_which_and_why() -> None:
    found: list[str] = []
    for path in python_files(*CODE):
        if path == Path(__file__).relative_to(ROOT):
            continue
        for number, line in enumerate(text(path).splitlines(), 1):
            silenced = SUPPRESSION.search(line)
            if silenced is None:
                continue
            codes = CODES.match(silenced["rest"])
            named = silenced[1].startswith("pragma") or codes is not None
            reason = silenced["rest"][codes.end() if codes else 0 :].strip(" -#:;,()")
            if not named or len(reason) < 8:
                found.append(f"{path}:{number} {line.strip()}")
    assert not found, "\n".join(found)


def test_nothing_is_left_for_later() -> None:
    # The third word is a currency code of ISO 4217 too, so it counts in comments only.
    words = re.compile(r"\b(TO" + "DO|FIX" + r"ME)\b|#.*\bXX" + r"X\b|raise NotImplemented" + "Error")
    found = [
        f"{path}:{number}"
        for path in python_files(*CODE)
        for number, line in enumerate(text(path).splitlines(), 1)
        if words.search(line)
    ]
    assert not found, f"unfinished: {found}"


def test_every_folder_of_code_is_a_package() -> None:
    """Else mypy, import-linter and pytest each see another part of it."""
    folders = {path.parent for path in python_files(*CODE)} - {MIGRATIONS}  # alembic loads those by path
    missing = [str(folder) for folder in sorted(folders) if folder / "__init__.py" not in files()]
    assert not missing, f"no __init__.py in {missing}"
