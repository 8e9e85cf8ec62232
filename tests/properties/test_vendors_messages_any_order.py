"""Whatever order, duplication and loss of the vendors' real webhooks, and however often we ask: the end is the same.

The bodies are the simulators' own, signed, caught before they reach us; they arrive as chance will have it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.properties.vendor_stage import Stage, Story, opened_stage
from tests.properties.vendor_stories import Life, usual_end

EXAMPLES = 60 if settings.default is not None and settings.default.max_examples > 100 else 12
"""Each is a payment from the page to the end of its dispute; ``make soak`` lives through many more."""

stories = st.builds(
    Story,
    rail=st.sampled_from(["stripe", "adyen"]),
    declined=st.booleans(),
    spent=st.sampled_from(["0", "5", "20"]),
    refund=st.sampled_from(["none", "part", "whole", "comes back"]),
    dashboard=st.sampled_from(["none", "part", "whole"]),
    dispute=st.sampled_from(["none", "asked", "open", "won", "lost", "again", "unannounced", "capture fails"]),
)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def stage(loop: asyncio.AbstractEventLoop, migrated_database_url: str, tmp_path: Path) -> Iterator[Stage]:
    """One Crossrail for all examples: each has a merchant of its own."""
    open_here = AsyncExitStack()
    yield loop.run_until_complete(open_here.enter_async_context(opened_stage(migrated_database_url, tmp_path)))
    loop.run_until_complete(open_here.aclose())


@pytest.fixture
def reserving_stage(loop: asyncio.AbstractEventLoop, sqlite_url: str, tmp_path: Path) -> Iterator[Stage]:
    """The same where Stripe's money is reserved first and taken later."""
    open_here = AsyncExitStack()
    opening = opened_stage(sqlite_url, tmp_path, capture="manual")
    yield loop.run_until_complete(open_here.enter_async_context(opening))
    loop.run_until_complete(open_here.aclose())


async def _both(stage: Stage, story: Story, seed: int) -> None:
    usual = await usual_end(stage, story)
    end = await Life(stage, story, Random(seed)).live()  # noqa: S311  # chance, no secret
    differences = usual.differences(end, story.nanos_apart_max)
    assert not differences, differences


EACH = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes a second: shrinking would take minutes
)


@EACH
@given(story=stories, seed=st.integers(0, 2**32))
def test_the_end_is_the_same_whatever_order_the_vendors_messages_come_in(
    loop: asyncio.AbstractEventLoop, stage: Stage, story: Story, seed: int
) -> None:
    loop.run_until_complete(_both(stage, story, seed))


@EACH
@given(story=stories.filter(lambda one: one.rail == "stripe"), seed=st.integers(0, 2**32))
def test_the_end_is_the_same_where_money_is_reserved_first(
    loop: asyncio.AbstractEventLoop, reserving_stage: Stage, story: Story, seed: int
) -> None:
    loop.run_until_complete(_both(reserving_stage, story, seed))
