"""``crossrail ledger``: check the books, export them, follow their hash chains, make the balances again."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import orjson
import typer

from orchestrator.cli.console import (
    DEFAULT_CONFIG,
    ConfigOption,
    Failure,
    JsonOption,
    print_json,
    print_table,
    run,
    settings_of,
)
from orchestrator.clock import SystemClock
from orchestrator.database.reads import Reads
from orchestrator.database.writer import Writer, backend_for
from orchestrator.errors import Refusal

if TYPE_CHECKING:
    from orchestrator.ledger.chain import ChainReport
    from orchestrator.ledger.rebuild import Difference, Rebuild

HeadOption = Annotated[list[str] | None, typer.Option("--head", help="An anchored hash that a link must have.")]
AnchorsOption = Annotated[
    Path | None, typer.Option("--anchors", exists=True, dir_okay=False, help="ledger-heads.ndjson of the service.")
]


def register(ledger: typer.Typer) -> None:
    ledger.command("check")(ledger_check)
    ledger.command("export")(ledger_export)
    ledger.command("verify-chain")(ledger_verify_chain)
    ledger.command("rebuild")(ledger_rebuild)


def ledger_check(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Rebuild every balance from the postings and compare; exit 1 where a unit differs."""
    from orchestrator.ledger.check import Report, check

    async def work() -> Report:
        settings, _ = settings_of(config)
        reads = Reads(settings.service.database)
        try:
            return await check(reads)
        finally:
            await reads.close()

    report = run(work())
    if json_:
        print_json(report.to_json())
    else:
        print(f"{report.entries} entries, {report.postings} postings, {report.accounts} accounts")
        for held in report.suspense:
            print(f"  in suspense: {held.amount} {held.currency} ({held.state}: {held.review} {held.reason})")
        for finding in report.findings:
            print(f"  {finding}")
        print("the books balance, and rebuilt equals materialised" if report.ok else "THE BOOKS DO NOT HOLD")
    if not report.ok:
        raise Failure(f"{len(report.findings)} findings")


def ledger_export(
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", dir_okay=False, help="Write it here. Default: standard output.")
    ] = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Write every entry with its lines and seals as NDJSON, which verify-chain reads without a database.

    The file appears under its name once it is whole.
    """
    if out is None:
        run(_export(config, sys.stdout.buffer))
        return
    part = out.with_name(out.name + ".part")
    with part.open("wb") as file:
        counts = run(_export(config, file))
        file.flush()
        os.fsync(file.fileno())
    part.replace(out)
    if json_:
        print_json({"file": str(out), **counts})
    else:
        print(f"{out}: {counts['books']} books, {counts['entries']} entries, {counts['seals']} seals")


async def _export(config: Path, file: BinaryIO) -> dict[str, Any]:
    from orchestrator.ledger.export import records

    settings, _ = settings_of(config)
    reads = Reads(settings.service.database)
    last: dict[str, Any] = {}
    try:
        async for record in records(reads, SystemClock().now_us()):
            file.write(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
            last = dict(record)
    finally:
        await reads.close()
    return {name: last[name] for name in ("books", "seals", "entries")}


def ledger_verify_chain(
    *,
    export: Annotated[
        Path | None,
        typer.Argument(exists=True, dir_okay=False, help="An export: no database is needed. Default: the database."),
    ] = None,
    head: HeadOption = None,
    anchors: AnchorsOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Follow every book's hash chain; say in words which link is broken first, and at which entry. Exit 1 then.

    Whoever can rewrite the whole database can make a whole chain: give --head or --anchors with hashes that were kept
    elsewhere.
    """
    anchored = [*(head or ()), *_anchored(anchors)]
    report = _walk(export, anchored) if export is not None else run(_verify(config, anchored))
    if json_:
        print_json(report.to_json())
    else:
        print(f"{report.books} books, {report.seals} links, {report.entries} entries")
        if report.before_chain:
            print(f"{report.before_chain} entries are older than the chain of their book: nothing seals them")
        for book, hash_ in report.heads.items():
            print(f"  {book}: head {hash_ or 'none'}")
        for finding in report.findings:
            print(f"BROKEN  {finding}")
        if report.ok:
            print(
                "every link holds" + (f", and the {len(anchored)} anchored hashes are among them" if anchored else "")
            )
    if not report.ok:
        raise Failure("the chain does not hold: see above")


def _anchored(file: Path | None) -> list[str]:
    """Return the hashes of a file of anchors."""
    if file is None:
        return []
    try:
        return [str(orjson.loads(line)["hash"]) for line in file.read_bytes().splitlines() if line.strip()]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise Failure(f"{file} is not a file of anchors: one JSON object with a hash on each line", 2) from None


def _walk(export: Path, anchored: Sequence[str]) -> ChainReport:
    """Follow an export, line by line."""
    from orchestrator.ledger.chain import ChainWalk, Malformed

    walk = ChainWalk(anchored)
    with export.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                walk.take(orjson.loads(line))
            except (Malformed, orjson.JSONDecodeError) as error:
                report = walk.finish()
                report.findings.insert(0, f"line {number} of {export.name}: {error}")
                return report
    return walk.finish()


async def _verify(config: Path, anchored: Sequence[str]) -> ChainReport:
    from orchestrator.ledger.rebuild import verify

    settings, _ = settings_of(config)
    reads = Reads(settings.service.database)
    try:
        return await verify(reads, SystemClock().now_us(), anchored)
    finally:
        await reads.close()


def ledger_rebuild(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Repair the balances; nothing else may write.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Make every balance again from the postings and print what differs; --apply sets it right. Exit 1 where it is not.

    A repair needs an unbroken hash chain and a service that is stopped.
    """
    found, repaired = run(_rebuild(config, apply=apply))
    left = [] if repaired else found.differences
    if json_:
        differences = [one.to_json() for one in found.differences]
        body = {"accounts": found.accounts, "postings": found.postings, "differences": differences}
        print_json({**body, "repaired": len(repaired), "ok": not left})
    else:
        print(f"{found.accounts} balances made again from {found.postings} postings, {len(found.differences)} differ")
        if found.differences:
            columns = ("merchant", "mode", "account", "subject", "asset", "materialised", "rebuilt")
            rows = [[*one.key, "none" if one.materialised is None else one.materialised, one.rebuilt]
                    for one in found.differences]  # fmt: skip
            print_table(columns, rows)
        if repaired:
            print(
                f"{len(repaired)} balances were set to what their postings say; each book has an event ledger.rebuilt"
            )
        elif found.differences:
            print("nothing was changed: stop the service, then run this with --apply")
    if left:
        raise Failure(f"{len(left)} balances differ from their postings")


async def _rebuild(config: Path, *, apply: bool) -> tuple[Rebuild, Sequence[Difference]]:
    from orchestrator.ledger.rebuild import rebuild, repair, verify, writers

    settings, _ = settings_of(config)
    clock = SystemClock()
    reads = Reads(settings.service.database)
    try:
        found = await rebuild(reads)
        if not apply or not found.differences:
            return found, []
        _assert_alone(config, await writers(reads, clock.now_us()))
        report = await verify(reads, clock.now_us())
        if not report.ok:
            raise Failure(f"nothing was changed, for the postings themselves are in doubt: {report.findings[0]}")
        writer = Writer(backend_for(settings.service.database), clock)
        await writer.open()
        try:
            return found, await repair(writer, found)
        except Refusal as refusal:
            raise Failure(str(refusal)) from None
        finally:
            await writer.close()
    finally:
        await reads.close()


def _assert_alone(config: Path, owners: Sequence[str]) -> None:
    from orchestrator.cli.people import running_service

    if owners or running_service(config) is not None:
        raise Failure("a service is running: stop it first, so that nothing else writes; nothing was changed")
