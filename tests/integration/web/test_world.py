"""The harness itself: a buyer of each kind of rail is credited in it."""

from __future__ import annotations

from pathlib import Path

from tests.support.world import world


async def test_a_world_credits_a_local_payment_and_a_deposit_on_a_chain(sqlite_url: str, tmp_path: Path) -> None:
    async with world(sqlite_url, tmp_path) as here:
        pix = await here.session("BR")
        usdt = await here.session("VN")
        for session in (pix, usdt):
            await here.pay_at_rail(await here.select(session))
        for session in (pix, usdt):
            payment = await here.until(session, "credited")
            assert payment["credited_units"] == 20 * 10**9
