"""Which rules are in force here: follows the file and the database, and swaps them whole.

- The file is watched. What is valid comes into force, once for all processes; what is not keeps the old rules, is
  logged and shown. The whole file must be one that a service could start with.
- The database says what was applied, rolled back or put on trial by whichever process: every process follows it.
- The last decision counts: an edit of the file replaces what was applied; an untouched file does not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import structlog

from orchestrator.clock import Clock
from orchestrator.config_source import ConfigInvalid, Problem
from orchestrator.database.unit import Row
from orchestrator.errors import Conflict, Invalid, NotFound
from orchestrator.routing.desk import RoutingDesk, Trial
from orchestrator.routing.lint import lint_aside
from orchestrator.routing.reading import Source, read_aside
from orchestrator.routing.rollout import Guards
from orchestrator.routing.ruleset import Ruleset
from orchestrator.routing.versions import By, State, TrialKind, Versions

PROBLEMS_SHOWN: Final = 20
READ_BEFORE_MAX: Final = 8
_log = structlog.get_logger("rules")


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What the watched file was like when it was read last."""

    file: str
    read_at_us: int
    hash: str | None
    """Of its rules; None: they are not valid."""
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Watched:
    """The configuration that this process was started with."""

    path: Path
    environment: Mapping[str, str]
    seen: tuple[int, int] | None = None
    """Time of change and size when it was read last."""
    digest: bytes = b""


@dataclass(slots=True)
class RuleControl:
    """Brings rules into force in this process and, through the database, in every other."""

    desk: RoutingDesk
    versions: Versions
    clock: Clock
    swapped: Callable[[Ruleset], None]
    """Told of every new ruleset: prices hang on it too."""
    watched: Watched | None = None
    status: FileStatus | None = field(default=None, init=False)
    unusable: str | None = field(default=None, init=False)
    """Why the version that should be in force is not, in this process."""
    _read_before: dict[str, Ruleset] = field(default_factory=dict, init=False, repr=False)
    """Versions that were asked for lately."""
    _following: asyncio.Lock = field(default_factory=asyncio.Lock, init=False, repr=False)

    async def begin(self) -> None:
        """Take part: the rules that this process was started with, unless something else was applied since."""
        ruleset = self.desk.ruleset
        file = self.watched.path.name if self.watched else "config.yaml"
        self.status = FileStatus(file, self.clock.now_us(), ruleset.hash)
        if self.watched is not None:
            self.watched.seen = _seen(self.watched.path)
            self.watched.digest = _digest(self.watched.path)
        state = await self.versions.begin(ruleset, By("file", f"read from {file} at start"))
        await self._follow(state)
        if self.desk.overlays is not None:
            await self.desk.overlays.refresh(self.desk.ruleset)

    async def run_once(self) -> bool:
        """One round: look at the file, then at the database. Returns True where another ruleset came into force."""
        before = self.desk.ruleset.hash
        await self._look_at_file()
        await self.follow()
        return self.desk.ruleset.hash != before

    async def follow(self) -> None:
        """Do what the database says."""
        state = await self.versions.state()
        if state is not None:
            await self._follow(state)
        if self.desk.overlays is not None:
            await self.desk.overlays.refresh(self.desk.ruleset)

    # --- commands -----------------------------------------------------------------------------------------------------

    async def apply(
        self,
        source: Source,
        by: By,
        *,
        trial: TrialKind | None = None,
        percent: int = 0,
        guards: Guards | None = None,
    ) -> tuple[Ruleset, int | None]:
        """Bring a draft into force, or put it on trial. Returns it, and the trial's number.

        Raises Invalid with every problem that reading or lint found; Conflict.
        """
        ruleset = await self.checked(source)
        if trial is None:
            await self.versions.put_in_force("apply", ruleset.hash, by, ruleset)
            await self.follow()
            return ruleset, None
        if trial == "canary" and ruleset.pricing != self.desk.ruleset.pricing:
            raise Conflict(
                "canary_changes_prices",
                "this draft changes pricing, which holds for everybody at once: apply it without a canary",
            )
        number = await self.versions.start_trial(trial, ruleset, percent, (guards or Guards()).check(), by)
        await self.follow()
        return ruleset, number

    async def checked(self, source: Source) -> Ruleset:
        """Return a draft's rules. Raises Invalid where reading or lint finds an error."""
        now = self.clock.now()
        try:
            findings = await lint_aside(source, self.desk.catalogue, self.desk.supports, now, self.desk.mid)
            errors = [finding.problem for finding in findings if finding.is_error]
            if errors:
                raise _refused(errors)
            return await read_aside(source, self.desk.catalogue, now.date())
        except ConfigInvalid as invalid:
            raise _refused(invalid.problems) from None

    async def promote(self, by: By) -> Row:
        """Bring the draft on trial into force for everybody. Raises Conflict where none runs."""
        trial = await self._running()
        await self.versions.put_in_force("promote", trial["hash"], by)
        await self.follow()
        return trial

    async def stop(self, by: By) -> Row:
        """End the trial: the rules in force serve everybody."""
        trial = await self._running()
        figures = json.loads(trial["figures"])
        await self.versions.end_trial(trial["number"], "stopped", by, figures)
        await self.follow()
        return trial

    async def rollback(self, hash_: str | None, by: By) -> str:
        """Go back to a version, or to the one before; return its hash. Raises NotFound, Conflict, Invalid."""
        wanted = (await self.versions.version(hash_))["hash"] if hash_ else await self.versions.previous()
        await self._load(wanted)
        await self.versions.put_in_force("rollback", wanted, by)
        await self.follow()
        return str(wanted)

    async def ruleset(self, hash_: str) -> Ruleset | None:
        """Return any version, so that an old decision can be told in the words of its rules; None: not known."""
        trial = self.desk.trial
        if hash_ == self.desk.ruleset.hash:
            return self.desk.ruleset
        if trial is not None and hash_ == trial.ruleset.hash:
            return trial.ruleset
        if hash_ not in self._read_before:
            try:
                found = await self._load(hash_)
            except (Invalid, NotFound):
                return None
            if len(self._read_before) >= READ_BEFORE_MAX:
                self._read_before.pop(next(iter(self._read_before)))
            self._read_before[hash_] = found
        return self._read_before[hash_]

    async def _running(self) -> Row:
        state = await self.versions.state()
        if state is None or state.trial is None:
            raise Conflict("no_trial_runs", "no draft is on trial")
        return state.trial

    # --- following ----------------------------------------------------------------------------------------------------

    async def _follow(self, state: State) -> None:
        async with self._following:
            await self._follow_active(state)
            await self._follow_trial(state)

    async def _follow_active(self, state: State) -> None:
        if state.active_hash == self.desk.ruleset.hash:
            self.unusable = None
            return
        try:
            ruleset = await self._load(state.active_hash)
        except Invalid as refusal:
            if self.unusable is None:
                _log.error("rules_not_usable_here", ruleset=state.active_hash, reason=refusal.detail)
            self.unusable = f"{state.active_hash[:12]} should be in force, but: {refusal.detail}"
            return
        before = self.desk.ruleset.hash
        self.desk.swap(ruleset)
        self.swapped(ruleset)
        self.unusable = None
        _log.warning("rules_swapped", ruleset=ruleset.hash, before=before)

    async def _follow_trial(self, state: State) -> None:
        wanted, held = state.trial, self.desk.trial
        if wanted is None or wanted["status"] != "running":
            if held is not None:
                _log.warning("trial_ended_here", trial=held.number)
            self.desk.trial = None
            return
        if held is not None and held.number == wanted["number"]:
            return
        try:
            draft = await self._load(wanted["hash"])
        except Invalid as refusal:
            _log.error("draft_not_usable_here", ruleset=wanted["hash"], reason=refusal.detail)
            return
        kind: Literal["canary", "shadow"] = "canary" if wanted["kind"] == "canary" else "shadow"
        self.desk.trial = Trial(wanted["number"], kind, draft, wanted["percent"])
        _log.warning("trial_began_here", trial=wanted["number"], kind=kind, ruleset=draft.hash)

    async def _load(self, hash_: str) -> Ruleset:
        row = await self.versions.version(hash_)
        source = Source(f"version {row['hash'][:12]}", row["canonical"], {})
        try:
            return await read_aside(source, self.desk.catalogue, self.clock.now().date())
        except ConfigInvalid as invalid:
            raise _refused(invalid.problems) from None

    async def _look_at_file(self) -> None:
        watched = self.watched
        if watched is None or (seen := _seen(watched.path)) is None or seen == watched.seen:
            return
        digest = await asyncio.to_thread(_digest, watched.path)
        watched.seen = seen
        if digest == watched.digest:
            return
        watched.digest = digest
        now_us = self.clock.now_us()
        try:
            source = Source.of_file(watched.path, watched.environment, whole=True)
            ruleset = await read_aside(source, self.desk.catalogue, self.clock.now().date())
        except ConfigInvalid as invalid:
            self.status = FileStatus(watched.path.name, now_us, None, invalid.problems)
            _log.error(
                "rules_file_is_invalid", file=watched.path.name, in_force=self.desk.ruleset.hash,
                problems=[str(problem) for problem in invalid.problems[:PROBLEMS_SHOWN]],
            )  # fmt: skip
            return
        self.status = FileStatus(watched.path.name, now_us, ruleset.hash, ruleset.warnings)
        state = await self.versions.state()
        if state is not None and state.file_hash == ruleset.hash:
            return  # the file says what it said when somebody decided last
        await self.versions.put_in_force("file", ruleset.hash, By("file", f"{watched.path.name} was edited"), ruleset)


def _refused(problems: Any) -> Invalid:
    shown = [asdict(problem) for problem in problems[:PROBLEMS_SHOWN]]
    first = problems[0]
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    detail = f"{first.file}:{first.line}:{first.column}: {first.message}{more}"
    return Invalid("ruleset_invalid", detail, problems=shown)


def _seen(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None  # an editor is replacing it: look again in a moment
    return about.st_mtime_ns, about.st_size


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""
