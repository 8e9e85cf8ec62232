"""The repository as data: its files, and its Python files as syntax trees."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("rates", "adapters", "orchestrator")
CODE = (*PRODUCT, "tests", "bench")
RAILS = ("stripe", "adyen", "evm", "tron", "x402")


@cache
def files() -> tuple[Path, ...]:
    """Return every file that git knows or would take, relative to the root; without git, every file of the rooms."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, timeout=30).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive
        listed = [str(path.relative_to(ROOT)) for room in CODE for path in (ROOT / room).rglob("*")]
    return tuple(sorted(Path(name) for name in listed if name and (ROOT / name).is_file()))


def python_files(*rooms: str) -> Iterator[Path]:
    """Return the Python files below the given folders (or that are the given files)."""
    wanted = [Path(room) for room in rooms]
    for path in files():
        if path.suffix == ".py" and any(path == room or room in path.parents for room in wanted):
            yield path


@cache
def text(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(text(path), filename=str(path))


@cache
def imports(path: Path) -> frozenset[str]:
    """Return the dotted names of every module that a file imports, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return frozenset(found)


def imports_any(path: Path, *modules: str) -> set[str]:
    """Return those of ``modules`` that a file imports, themselves or something inside them."""
    return {module for module in modules if any(f"{name}.".startswith(f"{module}.") for name in imports(path))}


def rails() -> list[str]:
    """Return the folders of ``adapters`` that are rails: those with an adapter."""
    return sorted({path.parts[1] for path in files() if path.parts[0] == "adapters" and path.name == "adapter.py"})
