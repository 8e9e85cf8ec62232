"""``crossrail doctor``: looks at configuration, secrets, database, rates, rails and chains, and says what to mend."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import typer

from adapters.base import RailError, ScansChain, ShowsTokenCode, TokenCode
from adapters.operations import ChecksAccount
from orchestrator import bootstrap
from orchestrator.cli.console import DEFAULT_CONFIG, ConfigOption, Failure, JsonOption, print_json, print_table, run
from orchestrator.cli.people import running_service
from orchestrator.clock import SystemClock
from orchestrator.config_source import ConfigInvalid
from orchestrator.database import migrate
from orchestrator.settings import Settings
from orchestrator.settings import load as load_settings

LOOK_S_MAX = 15
CLOCK_SKEW_S_MAX = 60
"""Signatures of webhooks are refused at 300."""


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: str
    """ok | note | mend"""
    text: str


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(*, config: ConfigOption = DEFAULT_CONFIG, json_: JsonOption = False) -> None:
    """Look at everything that must fit; exit 1 where something is to be mended."""
    findings = run(_look(config))
    ill = [finding for finding in findings if finding.state == "mend"]
    if json_:
        shown = [{"what": one.what, "state": one.state, "text": one.text} for one in findings]
        print_json({"ok": not ill, "findings": shown})
    else:
        print_table(("what", "state", "finding"), [(one.what, one.state, one.text) for one in findings])
    if ill:
        raise Failure(f"{len(ill)} to mend")


async def _look(config: Path) -> list[Finding]:
    try:
        settings, document = load_settings(config)
    except ConfigInvalid as invalid:
        return [Finding("configuration", "mend", str(problem)) for problem in invalid.problems]
    service = running_service(config)
    port = settings.service.port if service is None else int(str(service["url"]).rpartition(":")[2])
    async with aiohttp.ClientSession() as http:
        try:
            loaded = bootstrap.load(settings, document, http, SystemClock(), f"http://127.0.0.1:{port + 1}")
        except ConfigInvalid as invalid:
            return [Finding("configuration", "mend", str(problem)) for problem in invalid.problems]
        findings = [
            Finding("configuration", "ok", f"{len(loaded.ruleset.rules)} rules, {len(loaded.rails)} rail accounts")
        ]
        findings += [Finding("rules", "note", str(warning)) for warning in loaded.ruleset.warnings]
        findings += _secrets(settings)
        findings.append(_service(service))
        findings.append(await _database(settings.service.database))
        findings += await _rates(settings)
        findings += await _rails(loaded, service is not None)
    return findings


def _secrets(settings: Settings) -> Iterator[Finding]:
    if settings.service.secret.get_secret_value():
        yield Finding("service.secret", "ok", "set")
    else:
        yield Finding("service.secret", "note", f"made by the sandbox and kept in {settings.service.state_dir}")
    if settings.service.secrets_file:  # it was read: otherwise the configuration is what is to be mended
        yield Finding("secrets file", "ok", f"{settings.service.secrets_file} is its owner's alone")


def _service(note: Any) -> Finding:
    if note is None:
        return Finding("service", "note", "not running: start it with `crossrail serve`")
    return Finding("service", "ok", f"runs at {note['url']}, process {note['pid']}")


def _is_there(url: str) -> bool:
    return not url.startswith("sqlite") or Path(url.partition(":///")[2]).exists()


async def _database(url: str) -> Finding:
    if not _is_there(url):
        return Finding("database", "note", "the SQLite file is made at the first start")
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            current, head = await migrate.current_and_head(url)
    except Exception as error:  # noqa: BLE001  # whatever the driver raises is the finding
        return Finding("database", "mend", f"does not answer: {error}")
    if current != head:
        return Finding("database", "mend", f"is at revision {current}, the code wants {head}: `crossrail db upgrade`")
    return Finding("database", "ok", f"at revision {current}")


async def _rates(settings: Settings) -> list[Finding]:
    market = settings.market()
    await market.refresh(SystemClock().now())
    return [
        Finding(
            f"rates {one.name}",
            "mend" if one.error else "ok",
            one.error or f"{one.rates_count} rates, newest {one.newest_as_of}",
        )
        for one in market.statuses()
    ]


async def _rails(loaded: bootstrap.Loaded, service_runs: bool) -> list[Finding]:
    findings = []
    for (rail, account), adapter in loaded.rails.items():
        what = f"rail {rail}/{account}"
        block = loaded.settings.rails[rail].accounts[account]
        if not isinstance(adapter, (ScansChain, ChecksAccount)):
            findings.append(
                Finding(what, "ok", f"{adapter.account.mode.value}, options fit; it is asked at the first payment")
            )
        elif block.simulated and not service_runs:
            findings.append(Finding(what, "note", "simulated by `crossrail serve`, which is not running"))
        elif isinstance(adapter, ScansChain):
            findings += await _chain(what, adapter)
        else:
            findings.append(await account_finding(what, adapter))
    return findings


async def account_finding(what: str, adapter: ChecksAccount) -> Finding:
    """Ask the vendor who we are: reachable, key valid, clocks together; webhook secrets were checked with the options."""
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            looked = await adapter.check_account()
    except (RailError, TimeoutError) as error:
        return Finding(what, "mend", f"{type(error).__name__}: {error}")
    ahead = looked.clock_ahead_seconds
    if ahead is not None and abs(ahead) > CLOCK_SKEW_S_MAX:
        return Finding(
            what, "mend", f"this machine's clock is {ahead:+.0f} s off the vendor's: webhooks will be refused"
        )
    clock = "its clock is not told" if ahead is None else f"clock {ahead:+.1f} s"
    return Finding(what, "ok", f"{looked.said}; {clock}; webhook secret set")


async def _chain(what: str, scanner: ScansChain) -> list[Finding]:
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            await scanner.check()
            head = await scanner.head()
    except (RailError, TimeoutError) as error:
        found = Finding(what, "mend", f"{type(error).__name__}: {error}")
    else:
        found = Finding(what, "ok", f"chain id, symbols and decimals fit; head {head.latest}, final {head.finalized}")
    return [found, *(await code_findings(what, scanner) if isinstance(scanner, ShowsTokenCode) else [])]


async def code_findings(what: str, chain: ShowsTokenCode) -> list[Finding]:
    """Show the code behind each token, so that it can be compared with what its issuer says, and pinned."""
    try:
        async with asyncio.timeout(LOOK_S_MAX):
            codes = await chain.token_codes()
    except (RailError, TimeoutError) as error:
        return [Finding(f"{what} tokens", "note", f"their code cannot be read: {type(error).__name__}: {error}")]
    return [_code_finding(f"{what} {one.token.asset.code}", one) for one in codes]


def _code_finding(what: str, code: TokenCode) -> Finding:
    parts = [("code_hash", code.code_hash, code.code_pinned)]
    if code.implementation is not None or code.implementation_pinned is not None:
        parts.append(("implementation_hash", code.implementation_hash, code.implementation_pinned))
    fits = all(pinned in {None, found} for _, found, pinned in parts)
    state = ("ok" if all(pinned for _, _, pinned in parts) else "note") if fits else "mend"
    shown = [f"{field}: {found or 'no code'} ({_pin(found, pinned)})" for field, found, pinned in parts]
    proxy = f"; a proxy of {code.implementation}" if code.implementation else ""
    return Finding(what, state, f"{code.contract} at {code.node}{proxy}; {'; '.join(shown)}")


def _pin(found: str | None, pinned: str | None) -> str:
    if pinned is None:
        return "not pinned"
    return "pinned" if pinned == found else f"pinned as {pinned}"
