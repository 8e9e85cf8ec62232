"""How a call to Stripe can end, in the port's words.

Source: https://docs.stripe.com/error-low-level (a 5xx is indeterminate; rate limiters and most parameter checks run
before anything is done) and https://docs.stripe.com/api/idempotent_requests (a conflict with a running request saves
no result, but that other request may be acting: 409 is unknown).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
import stripe

from adapters.base import OutcomeClass, OutcomeUnknown, PaymentDeclined, RailError, RailMisconfigured, RailUnavailable
from adapters.kit.http import from_status, from_transport, redact
from adapters.stripe.wire_declines import decline_for
from adapters.stripe.wire_errors import BUSY, class_of


@contextmanager
def in_port_words(doing: str, secrets: Sequence[str], *, reading: bool) -> Iterator[None]:
    """Raise the port's errors instead of the SDK's; these carry bodies and headers, so they are not chained."""
    try:
        yield
    except stripe.APIConnectionError as error:
        raise from_transport(error.__cause__, doing=doing, reading=reading) from None
    except stripe.StripeError as error:
        raise _of_answer(error, doing, secrets, reading=reading) from None
    except (aiohttp.ClientError, TimeoutError) as error:  # while the body of an answer was read
        raise from_transport(error, doing=doing, reading=reading) from None


def _of_answer(error: stripe.StripeError, doing: str, secrets: Sequence[str], *, reading: bool) -> RailError:
    if isinstance(error, stripe.CardError):
        detail = error.error
        intent = getattr(detail, "payment_intent", None)  # only where one was made and refused
        advice = getattr(detail, "advice_code", None)
        decline = decline_for(detail.decline_code if detail else None, error.code, advice)
        return PaymentDeclined(decline, None if intent is None else intent.id)
    status = error.http_status or 0
    by_status = from_status(status, doing=doing, reading=reading, rest=_header(error, "retry-after"))
    if by_status is not None:
        return by_status
    said = f"{doing}: Stripe answered {status}: {redact(error.user_message or '', secrets)}"
    if isinstance(error, stripe.IdempotencyError):
        return OutcomeUnknown(f"{said} (something else was sent under this key before)")
    code = error.code or ""
    if isinstance(error, stripe.RateLimitError) or code in BUSY:  # an old form has status 400
        return RailUnavailable(said)
    refused = isinstance(error, (stripe.AuthenticationError, stripe.PermissionError, stripe.InvalidRequestError))
    if refused and class_of(code) is not OutcomeClass.UNKNOWN:
        return RailMisconfigured(said)
    return RailUnavailable(said) if reading else OutcomeUnknown(said)


def _header(error: stripe.StripeError, name: str) -> str | None:
    headers = error.headers or {}
    return next((str(value) for key, value in headers.items() if key.lower() == name), None)


def unreadable(error: ValueError) -> OutcomeUnknown:
    return OutcomeUnknown(f"stripe answered, but not as its documents say ({type(error).__name__}): a person must look")
