"""What page and dashboard read, read on either database."""

from __future__ import annotations

from pathlib import Path

from orchestrator.web.app import setup
from orchestrator.web.figures import figures
from orchestrator.web.records import payment_file, payments_page, reviews_page
from orchestrator.web.sight import find_session, look
from tests.support.world import MERCHANT, world


async def test_everything_that_is_shown_can_be_read(migrated_database_url: str, tmp_path: Path) -> None:
    async with world(migrated_database_url, tmp_path, setups=[setup]) as here:
        services = here.services
        paid, open_ = await here.session("VN"), await here.session("BR")
        await here.pay_at_rail(await here.select(paid))
        payment = await here.until(paid, "credited")

        session = await find_session(services.reads, paid["id"])
        assert session is not None
        sight = await look(services.reads, services.rails, session, services.clock.now_us())
        assert [(seen.deposit["status"], seen.confirmations) for seen in sight.seen] == [("credited", 5)]
        assert (await look(services.reads, services.rails, open_, services.clock.now_us())).payment is None

        counted = await figures(services.reads, services.clock)
        assert (counted.payments, counted.credited_today.units) == ({"credited": 1}, 20 * 10**9)
        rows, following = await payments_page(services.reads, status="credited", merchant=MERCHANT, after="")
        assert ([row["id"] for row in rows], following) == ([payment["id"]], "")
        assert await reviews_page(services.reads, status="open", after="") == ([], "")

        found = await payment_file(services.reads, MERCHANT, payment["id"], services.rules)
        assert found is not None
        assert len(found.facts) == payment["fact_count"]
        assert len(found.deposits) == len(found.attempts) == 1
        assert 1 <= len(found.entries) <= 2, "provisional first, where somebody looked early"
        for _, lines in found.entries:
            assert sum(line["units"] for line in lines if line["asset"] == "USD/9") == 0
        assert found.decision is not None
        assert found.decision["offers"][0]["method"] == "usdt_tron"
