"""Amounts as the API shows them."""

from __future__ import annotations

_CENT = 10_000_000
_DOLLAR = 1_000_000_000


def usd_text(units: int) -> str:
    """Return nano-dollars as a decimal string: cents at least, more decimals only where they are not zero."""
    whole, part = divmod(abs(units), _DOLLAR)
    text = f"{whole}.{part // _CENT:02}" if part % _CENT == 0 else f"{whole}.{part:09}".rstrip("0")
    return f"-{text}" if units < 0 else text


def usd(units: int) -> dict[str, str]:
    return {"amount": usd_text(units), "currency": "USD"}
