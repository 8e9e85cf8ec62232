"""Rules as versions in the database: which are in force, who changed them and why, what is on trial.

A version is known by the hash of its content and never changes. One row says which is in force; every change of it is
a line of the history. All of it is decided inside the writer, from locked rows, so that two people (or two processes)
cannot both win.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import orjson
from sqlalchemy import select

from orchestrator.clock import rfc3339
from orchestrator.database.reads import Reads
from orchestrator.database.tables import RulesetChange, RulesetState, RulesetTrial, RulesetVersion, table_of
from orchestrator.database.unit import Changes, Lock, Row, Unit, View, row_lock
from orchestrator.database.writer import Writer
from orchestrator.errors import Conflict, NotFound
from orchestrator.routing.rollout import Guards, ShadowCount
from orchestrator.routing.ruleset import Ruleset

PLATFORM: Final = "platform"
STATE_ID: Final = "rules"
HASH_CHARS_MIN: Final = 8
CANARY_ENDED: Final = "routing.canary_ended"

TrialKind = Literal["canary", "shadow"]


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, and why."""

    author: str
    message: str


@dataclass(frozen=True, slots=True)
class State:
    active_hash: str
    file_hash: str
    trial: Row | None
    """The trial that runs."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Reads and changes of the versions."""

    writer: Writer
    reads: Reads

    # --- reading ------------------------------------------------------------------------------------------------------

    async def state(self) -> State | None:
        """Return what is in force; None where no service ever started here."""
        states, trials = table_of(RulesetState), table_of(RulesetTrial)
        row = await self.reads.one(select(states).where(states.c.id == STATE_ID))
        if row is None:
            return None
        trial = None
        if row["trial"] is not None:
            trial = await self.reads.one(select(trials).where(trials.c.number == row["trial"]))
        return State(row["active_hash"], row["file_hash"], trial)

    async def version(self, hash_: str) -> Row:
        """Return a version by its hash or the beginning of it. Raises NotFound, Conflict (several begin so)."""
        table = table_of(RulesetVersion)
        if len(hash_) < HASH_CHARS_MIN or not hash_.isalnum():
            raise NotFound(
                "ruleset_not_found", f"a version is named by {HASH_CHARS_MIN} or more characters of its hash"
            )
        query = select(table).where(table.c.hash.startswith(hash_, autoescape=True)).limit(2)
        rows = await self.reads.all(query)
        if not rows:
            raise NotFound("ruleset_not_found", f"there is no version {hash_}: `crossrail rules history` lists them")
        if len(rows) > 1:
            raise Conflict("ruleset_ambiguous", f"several versions begin with {hash_}: give more of it")
        return rows[0]

    async def history(self, limit: int = 50, before: int | None = None) -> list[Row]:
        """Return the changes, newest first."""
        table = table_of(RulesetChange)
        query = select(table).order_by(table.c.number.desc()).limit(limit)
        return await self.reads.all(query if before is None else query.where(table.c.number < before))

    async def trials(self, limit: int = 20) -> list[Row]:
        """Return the trials, newest first."""
        table = table_of(RulesetTrial)
        return await self.reads.all(select(table).order_by(table.c.number.desc()).limit(limit))

    async def previous(self) -> str:
        """Return what was in force before the version that is now. Raises NotFound."""
        table = table_of(RulesetChange)
        for row in await self.reads.all(
            select(table).where(table.c.previous.is_not(None), table.c.previous != table.c.hash)
            .where(table.c.kind.in_(("file", "apply", "rollback", "promote")))
            .order_by(table.c.number.desc()).limit(1)
        ):  # fmt: skip
            found: str = row["previous"]
            return found
        raise NotFound("ruleset_not_found", "there is no earlier version to go back to")

    # --- changing -----------------------------------------------------------------------------------------------------

    async def begin(self, ruleset: Ruleset, by: By) -> State:
        """Take the file's rules into force if they are not the ones that the last decision was made about."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            desk = _Desk.of(view, changes)
            if desk.state is None or desk.state["file_hash"] != ruleset.hash:
                desk.put_in_force("file", ruleset.hash, by, ruleset=ruleset, file_hash=ruleset.hash)
            return {}

        await self._submit(decide, ruleset.hash)
        state = await self.state()
        assert state is not None
        return state

    async def put_in_force(
        self, kind: Literal["apply", "rollback", "promote", "file"], hash_: str, by: By, ruleset: Ruleset | None = None
    ) -> None:
        """Take a version into force for everybody; a trial that runs ends. ``ruleset``: where it is new."""
        file_hash = hash_ if kind == "file" else None

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            desk = _Desk.of(view, changes)
            if desk.state is not None and desk.state["active_hash"] == hash_ and file_hash is None:
                raise Conflict("ruleset_in_force", f"{hash_[:12]} is in force already")
            desk.put_in_force(kind, hash_, by, ruleset=ruleset, file_hash=file_hash)
            return {}

        await self._submit(decide, hash_)

    async def start_trial(self, kind: TrialKind, ruleset: Ruleset, percent: int, guards: Guards, by: By) -> int:
        """Put a draft on trial and return the trial's number. Raises Conflict where one runs, or it is in force."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            desk = _Desk.of(view, changes)
            return {"number": desk.start_trial(kind, ruleset, percent, guards, by)}

        applied = await self._submit(decide, ruleset.hash)
        return int(applied["number"])

    async def end_trial(
        self, number: int, status: Literal["stopped", "rolled_back"], by: By, figures: Mapping[str, Any]
    ) -> bool:
        """End a trial: the rules in force serve everybody again. False: somebody else ended it before."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            desk = _Desk.of(view, changes)
            if desk.state is None or desk.state["trial"] != number:
                return {"ended": False}
            desk.end_trial(status, by, figures)
            desk.write_state(desk.state["active_hash"])
            return {"ended": True}

        return bool((await self._submit(decide, None))["ended"])

    async def note_figures(self, number: int, figures: Mapping[str, Any]) -> None:
        """Keep what a trial looks like by now."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("ruleset_trial", number)
            if row is not None and row["status"] == "running":
                changes.update("ruleset_trial", (number,), figures=orjson.dumps(figures).decode())
            return {}

        await self.writer.submit(Unit(PLATFORM, "live", None, (row_lock("ruleset_trial", number),), decide))

    async def count_shadow(self, number: int, counted: ShadowCount) -> None:
        """Add what a process counted to what was counted before."""

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            row = view.one("ruleset_trial", number)
            if row is not None and row["status"] == "running":
                total = ShadowCount.from_json(orjson.loads(row["figures"])).plus(counted)
                changes.update("ruleset_trial", (number,), figures=orjson.dumps(asdict(total)).decode())
            return {}

        await self.writer.submit(Unit(PLATFORM, "live", None, (row_lock("ruleset_trial", number),), decide))

    async def _submit(self, decide: Any, hash_: str | None) -> Mapping[str, Any]:
        locks: list[Lock] = [row_lock("ruleset_state", STATE_ID), Lock("ruleset_trial", ("status",), ("running",))]
        if hash_ is not None:
            locks.append(row_lock("ruleset_version", hash_))
        return (await self.writer.submit(Unit(PLATFORM, "live", None, tuple(locks), decide))).answer


@dataclass(slots=True)
class _Desk:
    """The locked rows inside one decision."""

    view: View
    changes: Changes
    state: Row | None
    count: int
    """Changes so far."""
    trial: int | None

    @classmethod
    def of(cls, view: View, changes: Changes) -> _Desk:
        state = view.one("ruleset_state", STATE_ID)
        return cls(
            view, changes, state, 0 if state is None else state["changes"], None if state is None else state["trial"]
        )

    def put_in_force(self, kind: str, hash_: str, by: By, *, ruleset: Ruleset | None, file_hash: str | None) -> None:
        self.keep(hash_, ruleset, by)
        if self.trial is not None:
            running = self._running()
            won = running is not None and running["hash"] == hash_
            self.end_trial("promoted" if won else "stopped", By(by.author, f"{kind}: {by.message}"), None)
        self.tell(kind, hash_, by)
        self.write_state(hash_, file_hash)

    def keep(self, hash_: str, ruleset: Ruleset | None, by: By) -> None:
        """Write the version where it is new."""
        if self.view.one("ruleset_version", hash_) is not None:
            return
        if ruleset is None or ruleset.hash != hash_:
            raise NotFound("ruleset_not_found", f"there is no version {hash_}")
        self.changes.insert(
            "ruleset_version", hash=hash_, canonical=ruleset.canonical, parent=self._active(),
            author=by.author, message=by.message, created_us=self.view.now_us,
        )  # fmt: skip

    def start_trial(self, kind: TrialKind, ruleset: Ruleset, percent: int, guards: Guards, by: By) -> int:
        if self.state is None:
            raise Conflict("rules_not_in_force", "no service has started with this database yet")
        if self.trial is not None:
            raise Conflict("trial_running", f"trial {self.trial} runs: promote it or stop it first")
        if ruleset.hash == self.state["active_hash"]:
            raise Conflict("ruleset_in_force", f"{ruleset.hash[:12]} is in force already: there is nothing to try")
        self.keep(ruleset.hash, ruleset, by)
        number = self.tell("trial", ruleset.hash, by)
        self.changes.insert(
            "ruleset_trial", number=number, kind=kind, hash=ruleset.hash, base_hash=self.state["active_hash"],
            percent=percent, guards=orjson.dumps(asdict(guards)).decode(), status="running", reason="", figures="{}",
            author=by.author, message=by.message, started_us=self.view.now_us, ended_us=None,
        )  # fmt: skip
        self.trial = number
        self.write_state(self.state["active_hash"])
        return number

    def end_trial(self, status: str, by: By, figures: Mapping[str, Any] | None) -> None:
        running = self._running()
        if running is None:
            return
        more = {} if figures is None else {"figures": orjson.dumps(figures).decode()}
        self.changes.update(
            "ruleset_trial", (running["number"],), status=status, reason=by.message, ended_us=self.view.now_us, **more
        )
        told = {"trial": running["number"], "kind": running["kind"], "ruleset": running["hash"],
                "in_force": self._active(), "status": status, "reason": by.message}  # fmt: skip
        if status != "promoted":
            self.tell("guard" if status == "rolled_back" else "stop", self._active() or "", by, running["hash"])
        self.changes.emit(CANARY_ENDED, str(running["hash"]), orjson.dumps(told).decode(), PLATFORM)
        self.trial = None

    def tell(self, kind: str, hash_: str, by: By, previous: str | None = None) -> int:
        """Add a line to the history and return its number."""
        self.count += 1
        self.changes.insert(
            "ruleset_change", number=self.count, kind=kind, hash=hash_, previous=previous or self._active(),
            author=by.author, message=by.message, created_us=self.view.now_us,
        )  # fmt: skip
        return self.count

    def write_state(self, active: str, file_hash: str | None = None) -> None:
        columns = {"active_hash": active, "changes": self.count, "trial": self.trial, "updated_us": self.view.now_us}
        if file_hash is not None:
            columns["file_hash"] = file_hash
        if self.state is None:
            self.changes.insert("ruleset_state", id=STATE_ID, **{"file_hash": active, **columns})
        else:
            self.changes.update("ruleset_state", (STATE_ID,), **columns)

    def _running(self) -> Row | None:
        found = self.view.many("ruleset_trial", ("status",), ("running",))
        return found[0] if found else None

    def _active(self) -> str | None:
        return None if self.state is None else self.state["active_hash"]


def trial_shown(row: Row) -> dict[str, Any]:
    """Return a trial as the API and the dashboard show it."""
    guards: Mapping[str, Any] = orjson.loads(row["guards"])
    return {
        **{
            name: row[name]
            for name in ("number", "kind", "base_hash", "percent", "status", "reason", "author", "message")
        },
        "ruleset_hash": row["hash"],
        "guards": guards,
        "figures": orjson.loads(row["figures"]),
        "started_at": rfc3339(row["started_us"]),
        "ended_at": None if row["ended_us"] is None else rfc3339(row["ended_us"]),
    }
