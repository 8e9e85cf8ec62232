"""The payment's state machine, drawn: the tables of the product compared with the picture here, cell by cell."""

from __future__ import annotations

import pytest

from orchestrator.payments.payment import AFTER, COMMANDS, Command, Fact, Status, after, allows, fold

ROWS = """
                  sent      action    not_sent  pending     unknown  declined  closed  session_expired  partial         captured    settled  credited  review    orphaned  part_orphaned
created           awaiting  .         .         .           .        .         .       expired          partially_paid  processing  settled  .         review    .         .
awaiting_payment  .         .         failed    processing  unknown  failed    failed  expired          partially_paid  processing  settled  .         review    .         .
processing        .         .         failed    .           unknown  failed    failed  .                partially_paid  processing  settled  .         review    awaiting  partially_paid
unknown           .         awaiting  failed    processing  .        failed    failed  .                partially_paid  processing  settled  .         review    .         .
partially_paid    .         .         .         .           .        .         .       settled          .               processing  .        .         .         awaiting  partially_paid
expired           .         .         .         .           .        .         .       .                late_paid       late_paid   .        .         .         .         .
canceled          .         .         .         .           .        .         .       .                late_paid       late_paid   .        .         .         .         .
late_paid         .         .         .         .           .        .         .       .                .               .           settled  .         review    awaiting  partially_paid
failed            awaiting  .         .         .           .        .         .       expired          partially_paid  processing  settled  .         review    .         .
review            .         .         .         .           .        .         .       .                .               .           settled  .         .         awaiting  partially_paid
settled           .         .         .         .           .        .         .       .                .               .           .        credited  .         awaiting  partially_paid
credited          .         .         .         .           .        .         .       .                .               .           .        .         .         awaiting  partially_paid
"""
BACK = """
                    refund_asked    refund_noted  refunded  part_refunded       refund_failed  disputed  clawed_back  dispute_ended
credited            refund_pending  .             refunded  partially_refunded  credited       disputed  clawed_back  .
refund_pending      refund_pending  .             refunded  partially_refunded  credited       disputed  clawed_back  .
partially_refunded  refund_pending  .             refunded  partially_refunded  credited       disputed  clawed_back  .
refunded            refund_pending  .             refunded  partially_refunded  credited       disputed  clawed_back  .
disputed            .               .             .         .                   .              .         clawed_back  credited
clawed_back         .               .             .         .                   .              disputed  clawed_back  credited
"""
"""What goes back: refunds and disputes."""
SHORT = {"action": "action_required", "closed": "attempt_closed", "awaiting": "awaiting_payment"}
SELECT_FROM = {"created", "awaiting_payment", "failed"}
EXPIRE_FROM = {"created", "awaiting_payment", "partially_paid", "failed"}
REFUND_FROM = {"credited", "partially_refunded", "refund_pending", "partially_paid"}


def _picture() -> dict[tuple[Status, Fact], Status]:
    drawn: dict[tuple[Status, Fact], Status] = {}
    for picture in (ROWS, BACK):
        head, *rows = picture.strip("\n").splitlines()
        facts = [Fact(SHORT.get(word, word)) for word in head.split()]
        for row in rows:
            name, *cells = row.split()
            assert len(cells) == len(facts), row
            for fact, cell in zip(facts, cells, strict=True):
                if cell != ".":
                    drawn[Status(name), fact] = Status(SHORT.get(cell, cell))
    return drawn


def test_facts_lead_where_the_picture_says_and_nowhere_else() -> None:
    changing = {cell: to for cell, to in AFTER.items() if cell[0] is not to}
    assert changing == {cell: to for cell, to in _picture().items() if cell[0] is not to}
    for status in Status:
        for fact in Fact:
            assert after(status, fact) is _picture().get((status, fact), status)


def test_commands_are_allowed_where_the_picture_says_and_nowhere_else() -> None:
    assert set(COMMANDS) == set(Command)
    assert {status.value for status in Status if allows(status, Command.SELECT)} == SELECT_FROM
    assert {status.value for status in Status if allows(status, Command.EXPIRE)} == EXPIRE_FROM
    assert {status.value for status in Status if allows(status, Command.REFUND)} == REFUND_FROM


@pytest.mark.parametrize("status", [Status.PROCESSING, Status.UNKNOWN, Status.LATE_PAID, Status.REVIEW, Status.SETTLED])
def test_no_second_payment_is_started_while_the_first_may_have_been_made(status: Status) -> None:
    assert not allows(status, Command.SELECT)
    assert not allows(status, Command.EXPIRE)


@pytest.mark.parametrize("status", list(Status))
def test_no_fact_is_refused_in_any_status(status: Status) -> None:
    for fact in Fact:
        assert isinstance(after(status, fact), Status)


@pytest.mark.parametrize("status", [Status.CREATED, Status.AWAITING_PAYMENT, Status.PROCESSING, Status.UNKNOWN,
                                    Status.FAILED, Status.EXPIRED, Status.CANCELED, Status.PARTIALLY_PAID,
                                    Status.REVIEW, Status.LATE_PAID])  # fmt: skip
def test_a_capture_that_is_credited_ends_credited_wherever_it_met_the_payment(status: Status) -> None:
    for fact in (Fact.CAPTURED, Fact.SETTLED, Fact.CREDITED):
        status = after(status, fact)
    assert status is Status.CREDITED


def test_credited_is_left_only_where_money_goes_back() -> None:
    leads_out = {fact for fact in Fact if after(Status.CREDITED, fact) is not Status.CREDITED}
    by_chain, by_refund = {Fact.ORPHANED, Fact.PART_ORPHANED}, {Fact.REFUND_ASKED, Fact.REFUNDED, Fact.PART_REFUNDED}
    assert leads_out == by_chain | by_refund | {Fact.DISPUTED, Fact.CLAWED_BACK}


def test_only_the_rails_own_answer_leads_out_of_unknown() -> None:
    leads_out = {fact for fact in Fact if after(Status.UNKNOWN, fact) is not Status.UNKNOWN}
    assert Fact.SESSION_EXPIRED not in leads_out
    assert Fact.SENT not in leads_out
    assert Fact.SUPERSEDED not in leads_out


def test_the_fold_of_no_facts_is_created() -> None:
    assert fold([]) is Status.CREATED
    assert fold([Fact.SENT, Fact.DECLINED, Fact.SENT, Fact.CAPTURED, Fact.SETTLED, Fact.CREDITED]) is Status.CREDITED
