"""``python -m bench [NAME]``: runs every benchmark (or those whose module's name holds NAME), prints a table, writes var/bench.json.

Exit 0: every goal met; 1: a goal missed; 2: no benchmark of that name.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

import bench
from bench.result import Result

OUTPUT = Path("var") / "bench.json"
COLUMNS = ("name", "value", "unit", "reference", "ratio", "goal", "met")
FIELDS = frozenset(COLUMNS)


def modules(only: str) -> list[str]:
    """Return the names of the modules that measure something, in order."""
    names = sorted(module.name for module in pkgutil.iter_modules(bench.__path__))
    return [name for name in names if only in name and hasattr(importlib.import_module(f"bench.{name}"), "run")]


def table(rows: Sequence[dict[str, Any]]) -> str:
    cells = [COLUMNS, *(tuple(_cell(row[column]) for column in COLUMNS) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(COLUMNS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def _whole(module: str, row: dict[str, Any]) -> dict[str, Any]:
    if set(row) != FIELDS:
        raise ValueError(f"bench.{module}: a row has the fields {sorted(FIELDS)}, not {sorted(row)}")
    return row


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "NO"
        case float():
            return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        case _:
            return str(value)


def main(arguments: Sequence[str]) -> int:
    only = arguments[0] if arguments else ""
    names = modules(only)
    if not names:
        print(f"no benchmark's name holds {only!r}: there are {', '.join(modules('')) or 'none'}", file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    for name in names:
        started = time.monotonic()
        results: list[Result | dict[str, Any]] = importlib.import_module(f"bench.{name}").run()
        rows += [result.row() if isinstance(result, Result) else _whole(name, result) for result in results]
        print(f"  {name}: {time.monotonic() - started:.1f} s", flush=True)
    print(table(rows))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_bytes(orjson.dumps(rows, option=orjson.OPT_INDENT_2) + b"\n")
    print(f"written to {OUTPUT}")
    return 1 if any(row["met"] is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
