"""``crossrail rules apply|status|history|show|rollback|promote|stop``: rules in force, through the running service."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestrator.cli.api_session import api_of
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

MessageOption = Annotated[str, typer.Option("--message", "-m", help="Why, for the history.")]
AuthorOption = Annotated[str | None, typer.Option("--author", help="Who; the name of your account where absent.")]
WORDS = {True: "yes", False: "no"}


def register(group: typer.Typer) -> None:
    for command in (apply, status, history, show, rollback, promote, stop):
        group.command(command.__name__)(command)


def apply(
    *,
    file: Annotated[Path, typer.Argument(help="The draft: a configuration, or a routing block alone.")],
    canary: Annotated[
        int | None, typer.Option(min=1, max=99, help="Only for so many percent of the customers.")
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="For nobody: count what it would decide otherwise.")] = False,
    sample_min: Annotated[int, typer.Option(help="Guard: ended payments that each side needs.")] = 30,
    settle_drop: Annotated[int, typer.Option(help="Guard: points by which the settle rate may fall.")] = 5,
    credit_time: Annotated[int, typer.Option(help="Guard: percent that the time to credit may reach.")] = 150,
    error_rise: Annotated[int, typer.Option(help="Guard: points by which the error rate may rise.")] = 5,
    message: MessageOption = "",
    author: AuthorOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Bring a draft into force, for everybody or on trial. It must be free of lint's errors."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}", 2) from None
    body: dict[str, Any] = {
        "text": text,
        "file": file.name,
        **_by(author, message),
        "shadow": shadow,
        "guards": {
            "sample_min": sample_min, "settle_drop_percent": settle_drop,
            "credit_time_percent": credit_time, "error_rise_percent": error_rise,
        },
    }  # fmt: skip
    if canary is not None:
        body["canary"] = canary
    _state(run(_call(config, "POST", "/v1/routing/rules", body)), json_=json_)


def status(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Show what rules are in force, what is wrong with the file, what is on trial."""
    _state(run(_call(config, "GET", "/v1/routing/rules")), json_=json_)


def history(
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 20,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """List who changed the rules, when and why."""
    answer = run(_call(config, "GET", f"/v1/routing/changes?limit={limit}"))
    if json_:
        print_json(answer["data"])
        return
    print_table(
        ("when", "what", "version", "before", "who", "why"),
        [
            (one["created_at"][:19], one["kind"], one["ruleset_hash"][:12], (one["previous_hash"] or "")[:12],
             one["author"], one["message"])
            for one in answer["data"]
        ],
    )  # fmt: skip


def show(
    *,
    version: Annotated[str, typer.Argument(help="A version's hash, or its first eight characters and more.")],
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Show a version: who, why, and its difference to the one before."""
    answer = run(_call(config, "GET", f"/v1/routing/versions/{version}"))
    if json_:
        print_json(answer)
        return
    moved = answer["moved"]
    print_fields(
        {
            "version": answer["ruleset_hash"], "parent": answer["parent"] or "none", "author": answer["author"],
            "message": answer["message"], "created": answer["created_at"],
            **{name: ", ".join(ids) or "none" for name, ids in moved.items()},
        }
    )  # fmt: skip
    print(answer["difference"] or "no difference to the version before")


def rollback(
    *,
    version: Annotated[str | None, typer.Argument(help="A version's hash; the one before where absent.")] = None,
    message: MessageOption = "",
    author: AuthorOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Go back to an earlier version at once."""
    body = _by(author, message) | ({} if version is None else {"hash": version})
    _state(run(_call(config, "POST", "/v1/routing/rules/rollback", body)), json_=json_)


def promote(
    *,
    message: MessageOption = "",
    author: AuthorOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """Bring the draft on trial into force for everybody."""
    _state(run(_call(config, "POST", "/v1/routing/trial/promote", _by(author, message))), json_=json_)


def stop(
    *,
    message: MessageOption = "",
    author: AuthorOption = None,
    config: ConfigOption = DEFAULT_CONFIG,
    json_: JsonOption = False,
) -> None:
    """End the trial: the rules in force serve everybody."""
    _state(run(_call(config, "POST", "/v1/routing/trial/stop", _by(author, message))), json_=json_)


def _by(author: str | None, message: str) -> dict[str, Any]:
    return {"author": author or getpass.getuser(), "message": message}


async def _call(config: Path, verb: str, path: str, body: dict[str, Any] | None = None) -> Any:
    async with api_of(config) as api:
        return await api.call(verb, path, body)


def _state(answer: dict[str, Any], *, json_: bool) -> None:
    if json_:
        print_json(answer)
        return
    valid = "valid" if answer["file_hash"] else "NOT VALID: the rules from before stay in force"
    same = answer["file_hash"] == answer["ruleset_hash"]
    fields = {
        "in force": f"{answer['ruleset_hash'][:12]} ({answer['rules']} rules)",
        "file": f"{answer['file']}: {valid}"
        + ("" if same or not answer["file_hash"] else ", and not what is in force"),
    }
    if answer["unusable"]:
        fields["trouble"] = answer["unusable"]
    trial = answer["trial"]
    if trial is not None:
        whom = f"{trial['percent']} % of the customers" if trial["kind"] == "canary" else "nobody"
        fields["on trial"] = (
            f"{trial['ruleset_hash'][:12]} as {trial['kind']} for {whom}, since {trial['started_at'][:19]}"
        )
    ended = answer["last_trial"]
    if trial is None and ended is not None:
        how = ended["status"].replace("_", " ")
        fields["last trial"] = (
            f"{ended['ruleset_hash'][:12]} as {ended['kind']}: {how} at {(ended['ended_at'] or '')[:19]}, {ended['reason']}"
        )
    print_fields(fields)
    for problem in answer["file_problems"]:
        hint = f" ({problem['hint']})" if problem["hint"] else ""
        print(f"{answer['file']}:{problem['line']}:{problem['column']}: {problem['message']}{hint}")
    if trial is not None and trial["figures"]:
        print_table(("", *_COLUMNS), _trial_rows(trial["figures"]))


_COLUMNS = ("payments", "ended", "settled", "settle rate", "errors", "time to credit, s")


def _trial_rows(figures: dict[str, Any]) -> list[list[object]]:
    if "compared" in figures:
        return [["shadow", figures["compared"], "", figures["same"], "", figures["other_first"], ""]]
    rows: list[list[object]] = []
    for name in ("base", "draft"):
        arm = figures.get(name)
        if arm:
            cells = (
                arm[key] for key in ("decided", "ended", "settled", "settle_rate", "errors", "credit_seconds_middle")
            )
            rows.append([name, *("-" if cell is None else cell for cell in cells)])
    return rows
