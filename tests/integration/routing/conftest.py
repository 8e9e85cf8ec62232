"""A world whose rules stand in a file that the test edits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.database.unit import Changes, Unit, View, row_lock
from orchestrator.routing.control import Watched
from orchestrator.services import Services
from tests.support.world import CONFIG, MERCHANT, World, world


@dataclass
class Ops:
    """What an ops person has: a running service and its file."""

    here: World
    file: Path

    @property
    def services(self) -> Services:
        return self.here.services

    def text(self) -> str:
        return self.file.read_text("utf-8")

    def edit(self, old: str, new: str) -> None:
        before = self.text()
        assert old in before
        self.file.write_text(before.replace(old, new, 1), "utf-8")

    async def round(self) -> None:
        """What the worker does every second."""
        await self.services.rules.run_once()


@pytest.fixture
async def ops(migrated_database_url: str, tmp_path: Path) -> AsyncIterator[Ops]:
    async with world(migrated_database_url, tmp_path, loops=False) as here:
        file = tmp_path / "config.yaml"
        file.write_text(CONFIG.read_text("utf-8"), "utf-8")
        control = here.services.rules
        control.watched = Watched(file, {})
        await control.run_once()
        await _merchant(here)
        yield Ops(here, file)


async def _merchant(here: World) -> None:
    def decide(view: View, changes: Changes) -> dict[str, str]:
        if view.one("merchant", MERCHANT) is None:
            changes.insert("merchant", id=MERCHANT, name="Acme", created_us=view.now_us)
        return {}

    await here.services.writer.submit(Unit(MERCHANT, "test", None, (row_lock("merchant", MERCHANT),), decide))
