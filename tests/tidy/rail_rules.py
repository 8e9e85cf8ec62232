"""The one list of rules that every rail's ``quality.yaml`` answers, with ``done`` or ``{status: exempt, reason: ...}``.

A rail may add rules of its own (a chain has reorgs, a card network does not); it may not leave one of these out.
"""

EVERY_RAIL = {
    "exponents_sourced": "each currency's or token's exponent comes from the network's documentation, with vectors",
    "declines_sourced": "the table of decline codes names its source",
    "unlisted_decline_is_hard": "a code that is not in the table never cascades, and is counted",
    "idempotent_create": "sending the same order again gives the same payment",
    "only_known_words_move_money": "a new status word means pending, never paid or void",
    "webhook_verified_on_raw_bytes": "a message is believed for its signature over the bytes that arrived",
    "webhook_account_and_mode_checked": "another account's or mode's message is refused",
    "poll_finds_capture": "the money is found by asking, where a webhook never comes",
    "search_by_attempt_id": "a payment is found by our own id, where the rail's answer was lost",
    "cancel": "an open payment can be closed at the rail",
    "amount_read_back": "the amount that the rail holds is compared with the amount asked for",
    "errors_typed_by_what_may_have_happened": "RailUnavailable only where nothing can have happened there",
    "no_retry_inside": "the adapter and its SDK never send twice by themselves",
    "secrets_redacted": "no key, secret or card datum in an error or a log",
    "options_checked": "wrong options are refused at start, with the field's name",
    "simulator_independent_of_adapter": "written from the documentation, importing neither adapter nor wire",
    "simulator_faults": "decline, delay, lost answer, duplicate, reorder and wrong amount, or the chain's counterparts",
    "simulator_buyer_page": "a page or call with which the buyer pays",
    "run_against_the_vendor": "tried against the network's own test environment",
}
