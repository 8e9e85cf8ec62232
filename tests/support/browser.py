"""Chromium of the system, driven by Playwright; it talks to this machine only."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, Route, async_playwright

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
ACTION_MS_MAX = 10_000
LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
QUIET_FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",  # at every start it would look up its maker's hosts
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Visit:
    """One browser context: open pages with ``page``. What a page should never do is gathered in ``complaints``."""

    context: BrowserContext
    complaints: list[str] = field(default_factory=list)

    async def page(self) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(ACTION_MS_MAX)
        page.on("console", self._heard)
        page.on("pageerror", self._broke)
        return page

    async def guard(self, route: Route) -> None:
        parts = urlsplit(route.request.url)
        if parts.scheme in {"data", "blob"} or parts.hostname in LOCAL_HOSTS:
            await route.continue_()
            return
        self.complaints.append(f"asked another machine: {route.request.url}")
        await route.abort()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"console: {message.text}")

    def _broke(self, error: Error) -> None:
        self.complaints.append(f"script: {error}")


@asynccontextmanager
async def visiting(viewport: dict[str, int], *, locale: str = "en-US") -> AsyncIterator[Visit]:
    """Start Chromium with an empty profile. Afterwards a request to another machine or a script error is a failure."""
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET_FLAGS, *as_root], timeout=60_000
        )
        context = await browser.new_context(
            viewport={"width": viewport["width"], "height": viewport["height"]}, locale=locale, timezone_id="UTC"
        )
        visit = Visit(context)
        await context.route("**/*", visit.guard)
        try:
            yield visit
        finally:
            await browser.close()
    assert not visit.complaints, "\n".join(visit.complaints)
