"""The 23 money rules, and the tests that hold the product to each: one that vanishes is missed here."""

from __future__ import annotations

import ast
from functools import cache

import pytest

from tests.tidy.repository import python_files, tree

RULES = {
    1: (  # only real money becomes the merchant's
        "test_free_credit_is_spent_before_paid_credit_and_never_becomes_the_merchants",
        "test_money_that_becomes_the_merchants_without_being_paid_is_found",
    ),
    2: (  # one writer, one transaction; an unclear COMMIT is read again
        "test_a_commit_whose_answer_was_lost_is_resolved_by_its_keys",
        "test_a_statement_error_sends_the_units_one_by_one_and_only_the_guilty_one_fails",
        "test_random_sets_of_accounts_never_end_in_a_deadlock",
    ),
    3: (  # facts of a rail are never refused
        "test_no_fact_is_refused_in_any_status",
        "test_money_is_credited_or_held_for_a_person_whatever_a_rail_says",
        "test_whatever_order_the_words_of_a_lost_dispute_come_in_the_books_are_the_same",
        "test_whatever_goes_wrong_every_unit_is_credited_sent_back_or_in_review",
        "test_money_that_came_back_before_we_heard_that_it_was_gone_is_not_gone",
        "test_a_withdrawal_above_what_is_left_is_the_merchant_s_to_settle_and_a_person_s_to_look_at",
        "test_a_refund_made_in_the_vendor_s_dashboard_is_booked_as_a_fact",
    ),
    4: (  # a deposit's key: chain, transaction, ordinal inside its receipt
        "test_two_transfers_in_one_transaction_are_two_deposits",
        "test_a_fork_before_the_credit_orphans_and_the_same_transfer_mined_again_is_credited_once",
    ),
    5: (  # money claims are global
        "test_two_merchants_cannot_claim_one_piece_of_money",
        "test_money_is_claimed_once_whatever_the_keys_of_the_units_are",
        "test_a_hundred_copies_of_a_withdrawal_are_one",
    ),
    6: (  # who signed decides
        "test_an_event_of_another_account_mode_or_rail_touches_nothing",
        "test_a_webhook_of_another_account_or_of_no_rail_is_turned_away",
        "test_a_webhook_that_is_not_signed_is_kept_not_believed_and_makes_us_ask",
    ),
    7: (  # x402 pays to the customer's own address, and only the scanner credits
        "test_an_agent_pays_and_only_the_scanner_credits",
        "test_the_same_authorisation_shown_again_is_one_transaction",
        "test_what_was_not_offered_is_not_settled",
    ),
    8: (  # exponents are the rail's
        "test_amounts_are_written_as_stripes_document_says_and_read_back",
        "test_amounts_follow_adyens_own_decimals",
        "test_half_a_peso_equals_no_amount_that_was_asked_for",
    ),
    9: (  # attempts: sent is committed first, nothing is sent twice, what was let go is watched on
        "test_a_lost_answer_is_never_followed_by_a_second_charge_and_is_credited_once",
        "test_two_offers_that_are_chosen_at_once_are_never_both_open",
        "test_what_cannot_be_taken_back_is_watched_on_and_its_late_success_is_credited_too",
        "test_a_call_that_was_cut_off_leaves_an_attempt_that_the_poller_finishes",
    ),
    10: (  # idempotency
        "test_another_body_under_the_same_key_is_refused",
        "test_another_path_id_under_the_same_key_is_refused",
        "test_after_a_crash_before_the_effect_the_same_id_is_used",
        "test_twenty_sessions_under_one_idempotency_key_are_one",
    ),
    11: (  # refunds
        "test_a_hundred_refunds_at_once_give_back_no_more_than_was_paid",
        "test_parts_of_a_refund_add_up_to_the_whole",
        "test_a_process_that_died_around_the_call_leaves_one_refund",
        "test_a_refund_that_the_bank_sends_back_is_credit_again",
    ),
    12: (  # clawback: who covered it is owed it, a win reverses exactly the rows
        "test_a_dispute_lost_after_the_credit_was_spent_is_borne_in_the_order_of_the_rules",
        "test_a_dispute_that_is_won_after_it_was_lost_gives_back_exactly_what_was_taken",
        "test_debt_that_was_repaid_before_the_win_comes_back_to_the_customer",
    ),
    13: (  # holds own lots; late captures become debt
        "test_free_credit_that_expires_while_a_hold_has_it_leaves_after_the_hold",
        "test_what_a_hold_had_is_frozen_when_it_is_released",
        "test_usage_beyond_the_hold_takes_other_credit_then_becomes_debt",
        "test_what_a_hold_has_set_aside_is_not_refunded",
    ),
    14: (  # provisional credit has caps
        "test_the_customers_exposure_is_bounded",
        "test_the_chains_and_the_merchants_exposure_are_bounded",
        "test_provisional_credit_that_was_spent_and_falls_away_is_debt_until_it_is_mined_again",
    ),
    15: (  # usage is deduplicated for ever
        "test_a_producers_sequence_is_contiguous",
        "test_the_same_id_for_another_use_is_refused_and_changes_nothing",
        "test_random_usage_is_answered_as_the_model_says",
    ),
    16: (  # order: gapless sequences, chained and anchored
        "test_sequences_of_entries_and_events_have_no_gaps_whatever_was_refused_between",
        "test_two_links_cannot_follow_the_same_one",
        "test_a_tail_that_was_cut_off_cleanly_is_told_by_the_anchored_head_only",
    ),
    17: (  # the owner's lease
        "test_an_owner_that_slept_writes_nothing_by_its_old_claim",
        "test_a_takeover_waits_for_a_flush_that_has_read_the_lease",
        "test_an_owner_that_lost_its_lease_does_not_believe_what_it_remembers",
    ),
    18: (  # FX in time
        "test_the_time_of_the_block_decides_not_the_time_when_we_saw_it",
        "test_half_of_it_credits_half_at_the_locked_rate_and_the_rest_completes_it",
        "test_two_open_sessions_on_one_address_each_get_their_own_amount",
        "test_late_money_without_a_rate_is_held_for_a_person",
    ),
    19: ("test_a_restored_database_never_issues_an_address_again",),  # addresses after a restore
    20: (  # payouts: after the rail's own; looked at again at approval; what is owed is not paid out
        "test_earnings_wait_until_the_rail_has_paid_out_what_it_took",
        "test_a_paid_payout_that_the_bank_sends_back_is_available_again_once",
        "test_balances_are_looked_at_again_at_approval",
        "test_what_the_merchant_owes_cannot_be_paid_out",
    ),
    21: (  # access
        "test_no_page_of_the_dashboard_opens_without_signing_in",
        "test_a_form_without_its_token_moves_nothing",
        "test_above_the_limit_it_waits_for_two_people",
        "test_a_new_address_cools_off_first",
    ),
    22: (  # test and live
        "test_test_and_live_never_see_each_other",
        "test_live_needs_its_prefix_and_no_sandbox_address",
        "test_a_live_key_is_offered_no_sandbox_rail",
        "test_live_refuses_a_wallet_whose_keys_are_published",
    ),
    23: (  # SQLite
        "test_sqlite_tables_take_no_value_of_another_type",
        "test_sqlite_refuses_to_change_delete_or_replace_a_money_fact",
        "test_the_lock_file_keeps_a_second_process_out_until_the_first_is_killed",
    ),
}


@cache
def known_tests() -> frozenset[str]:
    return frozenset(
        node.name
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_rule_is_there() -> None:
    assert sorted(RULES) == list(range(1, 24))
    assert all(RULES.values())


@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_tests_of_each_money_rule_exist(rule: int) -> None:
    assert set(RULES[rule]) <= known_tests()
