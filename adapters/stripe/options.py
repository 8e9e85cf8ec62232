"""What config.yaml says about one Stripe account."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from adapters.base import Mode, RailAccount, RailMisconfigured
from adapters.catalogue import offered
from adapters.kit.http import ANSWER_SECONDS
from adapters.stripe.wire_amounts import can_charge_every_unit

RAIL: Final = "stripe"
KEY_PREFIXES: Final = {Mode.TEST: ("sk_test_", "rk_test_"), Mode.LIVE: ("sk_live_", "rk_live_")}


class StripeOptions(BaseModel):
    """Options of a Stripe account. Secrets do not print."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr
    webhook_secrets: Annotated[tuple[SecretStr, ...], Field(min_length=1)]
    """Signing secrets of the webhook endpoint; two while one is being rotated."""
    answer_seconds_max: float = Field(default=ANSWER_SECONDS, gt=0, le=60)
    """How long one call waits for its answer; after that nobody knows what became of it."""
    methods: tuple[str, ...] = ("card",)
    """Our names of what the account may offer (``adapters/catalogue.yaml``), as activated in Stripe's dashboard."""
    currencies: tuple[str, ...] = ("*",)
    """Presentment currencies to offer for cards, preferred first; ``*`` = all that can be charged to the last shown unit."""


def read_options(account: RailAccount) -> StripeOptions:
    """Check the account's options. Raises RailMisconfigured with the field's name and without its value."""
    name = f"rail {account.rail}, account {account.account}"
    try:
        options = StripeOptions.model_validate(dict(account.options))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise RailMisconfigured(f"{name}: {faults}") from None
    if not options.api_key.get_secret_value().startswith(KEY_PREFIXES[account.mode]):
        wanted = " or ".join(KEY_PREFIXES[account.mode])
        raise RailMisconfigured(f"{name}: api_key: a key of mode {account.mode} begins with {wanted}")
    for index, secret in enumerate(options.webhook_secrets):
        if not secret.get_secret_value().strip():
            # An empty secret would let anybody sign: new-api gave away credit that way (its issue 4319).
            raise RailMisconfigured(f"{name}: webhook_secrets.{index}: must not be empty")
    if not options.methods or not set(options.methods) <= set(offered(RAIL)):
        raise RailMisconfigured(f"{name}: methods: some of {', '.join(offered(RAIL))}")
    for currency in options.currencies:
        if currency != "*" and not can_charge_every_unit(currency):
            raise RailMisconfigured(f"{name}: currencies: Stripe cannot charge every amount in {currency!r}")
    if account.mode is Mode.LIVE and account.base_url is not None:
        raise RailMisconfigured(f"{name}: base_url: a live account talks to Stripe itself, not to a sandbox")
    return options
