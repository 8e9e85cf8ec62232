"""``crossrail usage import``: usage out of a file. Sent again, the same file charges nothing: its ids are known."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import orjson
import typer

from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, run
from orchestrator.cli.people import MerchantOption, ModeOption

LISTED_MAX: Final = 50
KEPT_MAX: Final = 10_000
_NUMBERS: Final = frozenset({"sequence", "epoch"})
_TEXTS: Final = frozenset({"id", "source", "producer", "wallet", "model", "at", "hold", "amount"})


def register(app: typer.Typer) -> None:
    usage = typer.Typer(help="Usage events.", no_args_is_help=True)
    usage.command("import")(usage_import)
    app.add_typer(usage, name="usage")


@dataclass(slots=True)
class Tally:
    """What became of a file's lines."""

    counts: Counter[str] = field(default_factory=Counter)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    """The first ``KEPT_MAX``, with their lines."""

    def take(self, lines: list[int], results: list[dict[str, Any]]) -> None:
        for line, result in zip(lines, results, strict=True):
            self.counts[result["status"]] += 1
            if result["status"] == "rejected":
                self.reject(line, result)

    def reject(self, line: int, result: dict[str, Any]) -> None:
        if len(self.rejected) < KEPT_MAX:
            self.rejected.append({"line": line, **result})

    def shown(self) -> dict[str, Any]:
        counts = {word: self.counts[word] for word in ("accepted", "duplicate", "rejected")}
        return {
            "ok": not counts["rejected"],
            **counts,
            "rejections": sorted(self.rejected, key=lambda one: int(one["line"])),
        }


def usage_import(
    *,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="NDJSON (one event a line), or CSV.")],
    merchant: MerchantOption,
    mode: ModeOption = "test",
    batch: Annotated[int, typer.Option(min=1, max=5000, help="Events in one request.")] = 1000,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Charge the usage in a file; exit 1 where a line was rejected. Stopped half-way, it is simply run again.

    A CSV file has a header: id (or producer, epoch, sequence), wallet, model, at, hold, amount, and one column per token type.
    """
    tally = run(_import(file, file.stat().st_size, merchant, mode, batch, config, quiet=json_))
    if json_:
        print_json(tally.shown())
    else:
        counts = tally.counts
        print(f"{counts['accepted']} accepted, {counts['duplicate']} known before, {counts['rejected']} rejected")
        for one in sorted(tally.rejected, key=lambda one: int(one["line"]))[:LISTED_MAX]:
            name = one.get("id") or one.get("sequence") or ""
            print(f"  line {one['line']}: {one['reason']} {one.get('detail', '')} {name}".rstrip())
        if counts["rejected"] > LISTED_MAX:
            print(f"  and {counts['rejected'] - LISTED_MAX} more: --json lists them")
    if tally.counts["rejected"]:
        raise Failure(f"{tally.counts['rejected']} lines were rejected")


async def _import(file: Path, size: int, merchant: str, mode: str, batch: int, config: Path, *, quiet: bool) -> Tally:
    from rich.console import Console
    from rich.progress import Progress

    from orchestrator.cli.api_session import api_of

    tally = Tally()
    console = Console(stderr=True)
    async with api_of(config) as api:
        with file.open("rb") as source, Progress(console=console, disable=quiet or not sys.stderr.isatty()) as progress:
            bar = progress.add_task(file.name, total=size)
            events = _csv_events(source) if file.suffix.lower() == ".csv" else _ndjson_events(source, tally)
            for lines, portion in _portions(events, batch):
                body = orjson.dumps({"events": portion})
                answer = await api.call("POST", "/v1/usage", raw=body, merchant=merchant, mode=mode)
                tally.take(lines, answer["results"])
                progress.update(bar, completed=source.tell())
            progress.update(bar, completed=size)
    return tally


def _portions(events: Iterator[tuple[int, Any]], size: int) -> Iterator[tuple[list[int], list[Any]]]:
    lines: list[int] = []
    portion: list[Any] = []
    for line, event in events:
        lines.append(line)
        portion.append(event)
        if len(portion) == size:
            yield lines, portion
            lines, portion = [], []
    if portion:
        yield lines, portion


def _ndjson_events(source: BinaryIO, tally: Tally) -> Iterator[tuple[int, Any]]:
    number = 0
    while text := source.readline():  # iterating would keep the file from telling where it is
        number += 1
        if not text.strip():
            continue
        try:
            yield number, orjson.loads(text)
        except orjson.JSONDecodeError as error:
            tally.counts["rejected"] += 1
            tally.reject(number, {"status": "rejected", "reason": "invalid_event", "detail": f"not JSON: {error}"})


def _csv_events(source: BinaryIO) -> Iterator[tuple[int, Any]]:
    reader = csv.reader(_texts(source))
    header = [name.strip() for name in next(reader, [])]
    if "wallet" not in header:
        raise Failure("a CSV file begins with a header that names at least wallet, and id or producer and sequence", 2)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield reader.line_num, _event_of(dict(zip(header, (cell.strip() for cell in row), strict=False)))


def _texts(source: BinaryIO) -> Iterator[str]:
    while text := source.readline():
        yield text.decode("utf-8-sig", "replace")


def _event_of(cells: dict[str, str]) -> dict[str, Any]:
    event: dict[str, Any] = {}
    tokens: dict[str, Any] = {}
    for name, cell in cells.items():
        if not cell:
            continue
        if name in _TEXTS:
            event[name] = cell
        elif name in _NUMBERS:
            event[name] = _number(cell)
        else:
            tokens[name] = _number(cell)
    return event | ({"tokens": tokens} if tokens else {})


def _number(cell: str) -> int | str:
    """Return a whole number; anything else as it is: the service says what is wrong with it."""
    return int(cell) if cell.isascii() and cell.isdecimal() and len(cell) < 20 else cell
