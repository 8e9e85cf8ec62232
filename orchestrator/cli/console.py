"""What commands share: where the configuration is, how answers are printed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from orchestrator.config_source import Document
from orchestrator.settings import Settings

ConfigOption = Annotated[Path, typer.Option("--config", "-c", envvar="CROSSRAIL_CONFIG", help="The configuration.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
DEFAULT_CONFIG = Path("config.yaml")
T = TypeVar("T")


class Failure(Exception):
    """The command ends here. ``code`` 1: the answer is no; 2: wrong usage."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def settings_of(config: Path) -> tuple[Settings, Document]:
    """Read the configuration. Raises ConfigInvalid."""
    from orchestrator import settings

    return settings.load(config)


def print_json(answer: Any) -> None:
    print(json.dumps(answer, indent=2, ensure_ascii=False, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns, plain text."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, name in enumerate(columns)]
    for line in [list(columns), ["-" * width for width in widths], *texts]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_fields(fields: Mapping[str, object]) -> None:
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        print(f"{name.ljust(width)}  {value}")
