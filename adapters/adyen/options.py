"""What config.yaml says about one Adyen account, and the methods that it may offer."""

from __future__ import annotations

import re
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from adapters.base import Mode, RailAccount, RailMisconfigured
from adapters.catalogue import offered
from adapters.kit.http import ANSWER_SECONDS

RAIL: Final = "adyen"
METHODS: Final = offered(RAIL)
"""By our name; Adyen's own stands in ``adapters/catalogue.yaml``. Its documents name no amount limits; the contract does."""
USUAL_METHODS: Final = ("pix", "ideal", "gcash")

HMAC_KEY: Final = re.compile(r"(?:[0-9A-Fa-f]{2}){16,64}")


class Options(BaseModel):
    """``options`` of an adyen account in config.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    api_key: SecretStr = Field(min_length=1)
    merchant_account: str = Field(min_length=1, max_length=80)
    hmac_keys: tuple[SecretStr, ...] = Field(min_length=1, max_length=5)
    """Hex, as the Customer Area shows them. The newest first; older ones until their queued webhooks are through."""
    methods: tuple[str, ...] = USUAL_METHODS
    answer_seconds_max: float = Field(default=ANSWER_SECONDS, gt=0, le=60)
    """How long one call waits for its answer; after that nobody knows what became of it."""
    live_endpoint_prefix: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")

    @field_validator("api_key")
    @classmethod
    def _one_word(cls, key: SecretStr) -> SecretStr:
        if re.fullmatch(r"[!-~]+", key.get_secret_value()) is None:
            raise ValueError("the key is one word of printable ASCII (a line break at its end?)")
        return key

    @field_validator("hmac_keys")
    @classmethod
    def _hex(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not all(HMAC_KEY.fullmatch(key.get_secret_value()) for key in keys):
            raise ValueError("each key is an even number of hex digits, at least 32")
        return keys

    @field_validator("methods")
    @classmethod
    def _offered(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if not methods or not set(methods) <= set(METHODS):
            raise ValueError(f"methods are some of: {', '.join(METHODS)}")
        return methods


def read_options(account: RailAccount) -> Options:
    """Check the account's options. Raises RailMisconfigured with the field's name, never with a secret."""
    try:
        options = Options.model_validate(dict(account.options))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RailMisconfigured(f"adyen account {account.account!r}: {field}: {first['msg']}") from None
    if account.mode is Mode.LIVE and account.base_url is not None:
        raise RailMisconfigured(f"adyen account {account.account!r}: base_url: live talks to Adyen, not to a sandbox")
    if account.mode is Mode.LIVE and options.live_endpoint_prefix is None:
        raise RailMisconfigured(
            f"adyen account {account.account!r}: live_endpoint_prefix: live needs the prefix of the company's own "
            "endpoint (Customer Area, Developers, API URLs)"
        )
    return options
