"""``crossrail payouts batch``: approved payouts as a file for a bank. Whoever builds a batch cannot approve it.

What this command builds is approved by an operator on the dashboard; what an operator built may be approved here.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_fields,
    print_json,
    print_table,
    run,
)
from orchestrator.cli.people import call

BatchArgument = Annotated[str, typer.Argument(help="Its id, pob_...")]
COLUMNS: Final = ("id", "mode", "status", "lines", "amount", "built_by", "approved_by", "fetched_at", "created_at")
LINE_COLUMNS: Final = ("payout", "merchant", "status", "amount", "bank_reference", "failure")
RESULT_COLUMNS: Final = ("payout", "done", "status", "detail")
ANSWER_COLUMNS: Final = frozenset({"payout", "result", "words"})
ANSWER_ROWS_MAX: Final = 1_000


def register(payouts: typer.Typer) -> None:
    batch = typer.Typer(help="Approved payouts as a file for a bank.", no_args_is_help=True)
    batch.command("list")(batch_list)
    batch.command("build")(batch_build)
    batch.command("show")(batch_show)
    batch.command("approve")(batch_approve)
    batch.command("cancel")(batch_cancel)
    batch.command("fetch")(batch_fetch)
    batch.command("answer")(batch_answer)
    payouts.add_typer(batch, name="batch")


def batch_list(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List batches, newest first."""
    rows = run(call(config, "GET", "/v1/payout_batches", limit=str(limit)))["data"]
    if json_:
        print_json(rows)
    else:
        print_table(COLUMNS, [[_text(row[name]) for name in COLUMNS] for row in rows])


def batch_build(
    *,
    payout: Annotated[list[str] | None, typer.Option(help="Only this one; repeat it for more.")] = None,
    mode: Annotated[str, typer.Option(help="test or live.")] = "live",
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Put every approved payout that is in no batch into a new one."""
    body: dict[str, Any] = {"mode": mode} | ({"payouts": payout} if payout else {})
    answer = run(call(config, "POST", "/v1/payout_batches", body))
    left_out = answer.pop("left_out")
    if json_:
        print_json({**answer, "left_out": left_out})
        return
    _fields(answer)
    for line in left_out:
        print(f"left out: {line['payout']}: {line['detail']}")


def batch_show(*, batch: BatchArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show a batch and its payouts."""
    _with_lines(run(call(config, "GET", f"/v1/payout_batches/{batch}")), json_=json_)


def batch_approve(*, batch: BatchArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Approve a batch that an operator built."""
    _show(run(call(config, "POST", f"/v1/payout_batches/{batch}/approve")), json_=json_)


def batch_cancel(*, batch: BatchArgument, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Cancel a batch whose file is not out: its payouts may go into another."""
    _show(run(call(config, "POST", f"/v1/payout_batches/{batch}/cancel")), json_=json_)


def batch_fetch(
    *,
    batch: BatchArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the file; it must not be there yet.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Write an approved batch's file. From then on the batch cannot be canceled: its lines end one by one."""
    if out.exists():
        raise Failure(f"{out} is there already", 2)
    content = str(run(call(config, "GET", f"/v1/payout_batches/{batch}/file"))).encode()
    digest = hashlib.sha256(content).hexdigest()
    if digest != run(call(config, "GET", f"/v1/payout_batches/{batch}"))["content_hash"]:
        raise Failure("what came is not what was approved: nothing was written")
    with out.open("xb") as file:
        file.write(content)
    out.chmod(0o600)
    _show({"file": str(out), "sha256": digest, "bytes": len(content)}, json_=json_)


def batch_answer(
    *,
    batch: BatchArgument,
    answer: Annotated[Path, typer.Argument(help="CSV with a header: payout, result, words and, if named, amount.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Take the bank's answer (result: paid, failed or returned); exit 1 where a line was refused. Safe to repeat."""
    shown = run(call(config, "POST", f"/v1/payout_batches/{batch}/answer", {"lines": _lines(answer)}))
    refused = [line for line in shown["results"] if not line["done"]]
    if json_:
        print_json(shown)
    else:
        print_table(RESULT_COLUMNS, [[_text(line.get(name)) for name in RESULT_COLUMNS] for line in shown["results"]])
    if refused:
        raise Failure(f"{len(refused)} of {len(shown['results'])} lines were refused")


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a bank's answer. Raises Failure: a line that is not clear is not guessed at."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise Failure(f"{path}: {error}", 2) from None
    if not 0 < len(rows) <= ANSWER_ROWS_MAX or not rows[0].keys() >= ANSWER_COLUMNS:
        raise Failure(
            f"{path}: 1 to {ANSWER_ROWS_MAX} lines under a header with {', '.join(sorted(ANSWER_COLUMNS))}", 2
        )
    lines: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise Failure(f"{path}, line {number}: not as many cells as the header has", 2)
        line: dict[str, Any] = {name: row[name].strip() for name in sorted(ANSWER_COLUMNS)}
        if row.get("amount", "").strip():
            currency = row.get("currency", "").strip() or "USD"
            line["amount"] = {"amount": row["amount"].strip(), "currency": currency}
        lines.append(line)
    return lines


def _with_lines(answer: dict[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(answer)
        return
    payouts = answer.pop("payouts")
    _fields(answer)
    print_table(LINE_COLUMNS, [[_text(row[name]) for name in LINE_COLUMNS] for row in payouts])


def _show(answer: Mapping[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(answer)
    else:
        _fields(answer)


def _fields(answer: Mapping[str, Any]) -> None:
    print_fields({name: _text(value) for name, value in answer.items()})


def _text(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['amount']} {value['currency']}"
    return "" if value is None else str(value)
