"""Rules while the service runs: edited, broken, applied, rolled back, tried on some customers."""

from __future__ import annotations

import orjson
import pytest
from sqlalchemy import select

from orchestrator.database.tables import Decision, Event, table_of
from orchestrator.errors import Conflict, Invalid
from orchestrator.payments.offers import offers_of
from orchestrator.routing.reading import Source
from orchestrator.routing.rollout import Guards
from orchestrator.routing.versions import By
from orchestrator.workers import rules as worker
from tests.integration.routing.conftest import Ops
from tests.support.world import MERCHANT

MIA = By("mia", "because")
BRAZIL = "        - {method: pix, rail: adyen, on_decline: {soft: next}}\n"
TEST = "          expect: {first: pix}\n"


def without_pix(text: str) -> str:
    return text.replace(BRAZIL, "").replace(TEST, "          expect: {first: card}\n")


async def first_offer(ops: Ops, reference: str = "anna") -> str:
    session = await ops.here.session("BR", reference=reference)
    return offers_of(session)[0].method


async def test_an_edit_of_the_file_comes_into_force_and_is_in_the_history(ops: Ops) -> None:
    before = ops.services.routing.ruleset.hash
    assert await first_offer(ops) == "pix"
    ops.file.write_text(without_pix(ops.text()), "utf-8")
    await ops.round()
    assert ops.services.routing.ruleset.hash != before
    assert await first_offer(ops) == "card"
    newest, oldest = await ops.services.rules.versions.history()
    assert (newest["kind"], newest["previous"], oldest["hash"]) == ("file", before, before)


async def test_a_broken_edit_keeps_the_rules_and_is_shown(ops: Ops) -> None:
    before = ops.services.routing.ruleset.hash
    ops.edit("country: NL", "country: Netherlands")
    await ops.round()
    status = ops.services.rules.status
    assert ops.services.routing.ruleset.hash == before
    assert status is not None
    assert status.hash is None
    assert "did you mean 'NL'?" in str(status.problems[0])
    assert status.problems[0].line == ops.text()[: ops.text().index("Netherlands")].count("\n") + 1
    assert await first_offer(ops) == "pix"

    ops.edit("country: Netherlands", "country: NL")
    await ops.round()
    assert ops.services.rules.status is not None
    assert ops.services.rules.status.hash == before


async def test_a_spread_that_is_edited_prices_the_next_session(ops: Ops) -> None:
    ops.edit('{corridor: "USD-*", spread_bps: 100}', '{corridor: "USD-*", spread_bps: 777}')
    await ops.round()
    session = await ops.here.session("BR")
    assert offers_of(session)[0].price.rate.spread_bps == 777


async def test_a_larger_amount_has_the_spread_of_its_tier(ops: Ops) -> None:
    wide = '{corridor: "USD-*", spread_bps: 100}'
    ops.edit(wide, wide + '\n    - {corridor: "USD-*", from_usd: 50, spread_bps: 40}')
    await ops.round()
    spreads = [
        offers_of(await ops.here.session("BR", amount))[0].price.rate.spread_bps
        for amount in ("49.99", "50.00", "500.00")
    ]
    assert spreads == [100, 40, 40]


async def test_what_was_applied_stays_until_the_file_is_edited(ops: Ops) -> None:
    control = ops.services.rules
    await control.apply(Source("draft.yaml", without_pix(ops.text()), {}), MIA)
    assert await first_offer(ops) == "card"
    await control.begin()  # a restart with the same file
    assert await first_offer(ops) == "card"
    ops.edit("ops-latam", "ops-brazil")
    await ops.round()
    assert await first_offer(ops) == "pix"


async def test_a_rollback_goes_back_to_the_version_before(ops: Ops) -> None:
    control, first = ops.services.rules, ops.services.routing.ruleset.hash
    await control.apply(Source("draft.yaml", without_pix(ops.text()), {}), MIA)
    assert await control.rollback(None, By("bob", "pix is back")) == first
    assert await first_offer(ops) == "pix"
    newest = (await control.versions.history())[0]
    assert (newest["kind"], newest["author"], newest["hash"]) == ("rollback", "bob", first)
    with pytest.raises(Conflict, match="in force already"):
        await control.rollback(first[:12], MIA)


async def test_a_draft_with_an_error_of_lint_is_refused_with_its_place(ops: Ops) -> None:
    draft = ops.text().replace("when: {country: VN}", "when: {country: VN, region: latam}")
    with pytest.raises(Invalid, match="can never match") as refusal:
        await ops.services.rules.apply(Source("draft.yaml", draft, {}), MIA)
    assert refusal.value.code == "ruleset_invalid"
    assert refusal.value.extra["problems"][0]["line"] > 1


async def test_a_canary_decides_for_its_share_of_customers_and_says_so(ops: Ops) -> None:
    control, base = ops.services.rules, ops.services.routing.ruleset.hash
    draft, number = await control.apply(
        Source("draft.yaml", without_pix(ops.text()), {}), MIA, trial="canary", percent=40
    )
    assert number is not None
    offered = {f"c{n}": await first_offer(ops, f"c{n}") for n in range(30)}
    assert set(offered.values()) == {"card", "pix"}
    again = {name: await first_offer(ops, name) for name in offered}
    assert again == offered
    decisions = table_of(Decision)
    rows = await ops.services.reads.all(select(decisions).where(decisions.c.merchant_id == MERCHANT))
    for row in rows:
        stored = orjson.loads(row["body"])
        assert stored["offers"][0]["method"] == ("card" if row["ruleset_hash"] == draft.hash else "pix")
        assert row["ruleset_hash"] in (base, draft.hash)
    await control.promote(MIA)
    assert await first_offer(ops, "anybody") == "card"
    assert [row["status"] for row in await control.versions.trials()] == ["promoted"]


async def test_a_guard_calls_a_canary_back_that_settles_worse(ops: Ops) -> None:
    control, base = ops.services.rules, ops.services.routing.ruleset.hash
    guards = Guards(sample_min=5, settle_drop_percent=10, credit_time_percent=1000)
    draft, _ = await control.apply(
        Source("draft.yaml", without_pix(ops.text()), {}), MIA, trial="canary", percent=50, guards=guards
    )
    for n in range(24):
        session = await ops.here.session("BR", reference=f"c{n}")
        chosen = await ops.here.select(session)
        worse = offers_of(session)[0].method == "card"
        if worse:  # whom the draft sends to cards never pays
            await ops.services.checkout.expire(MERCHANT, "test", session["id"])
        else:
            await ops.here.pay_at_rail(chosen)
            for _ in range(100):
                await ops.here.work_once()
                payment = await ops.here.payment(session)
                if payment is not None and payment["status"] == "credited":
                    break
    await worker.guard(ops.services)
    assert ops.services.routing.trial is None
    assert ops.services.routing.ruleset.hash == base
    (trial,) = await control.versions.trials()
    assert (trial["status"], trial["hash"]) == ("rolled_back", draft.hash)
    assert "settle rate 0.0% against 100.0%" in trial["reason"]
    newest = (await control.versions.history())[0]
    assert (newest["kind"], newest["author"]) == ("guard", "guard")
    events = table_of(Event)
    rows = await ops.services.reads.all(select(events).where(events.c.type == "routing.canary_ended"))
    (told,) = [orjson.loads(row["body"]) for row in rows]
    assert (told["status"], told["ruleset"], told["in_force"]) == ("rolled_back", draft.hash, base)
    assert told["reason"] == trial["reason"]
    await worker.guard(ops.services)  # nothing is on trial any more
    assert len(await control.versions.trials()) == 1


async def test_a_shadow_decides_for_nobody_and_counts_what_would_differ(ops: Ops) -> None:
    control = ops.services.rules
    await control.apply(Source("draft.yaml", without_pix(ops.text()), {}), MIA, trial="shadow")
    assert [await first_offer(ops, f"c{n}") for n in range(5)] == ["pix"] * 5
    await ops.here.session("NL")
    await worker.shadow(ops.services)
    (trial,) = await control.versions.trials()
    figures = orjson.loads(trial["figures"])
    assert (figures["compared"], figures["same"], figures["other_first"]) == (6, 1, 5)
    assert figures["by_country"] == [["BR", 5]]
    with pytest.raises(Conflict, match="runs: promote it or stop it"):
        await control.apply(Source("draft.yaml", without_pix(ops.text()), {}), MIA, trial="shadow")
    await control.stop(MIA)
    assert ops.services.routing.trial is None
