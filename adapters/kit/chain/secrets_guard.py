"""No key that can spend belongs into a rail's options: found ones are refused by the field's name, never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

_EXTENDED_PRIVATE: Final = re.compile(r"[a-zA-Z]prv[1-9A-HJ-NP-Za-km-z]{20,}")
_RAW_PRIVATE: Final = re.compile(r"\s*(0x)?[0-9a-fA-F]{64}\s*")
_WIF: Final = re.compile(r"\s*[5KLc9][1-9A-HJ-NP-Za-km-z]{50,51}\s*")
_WORD: Final = re.compile(r"[a-z]{3,8}")
_MNEMONIC_WORDS: Final = frozenset({12, 15, 18, 21, 24})
_TELLING_NAMES: Final = ("private", "mnemonic", "seed", "xprv", "secret_key", "passphrase")


def field_holding_a_key(options: Mapping[str, Any]) -> str | None:
    """Return the dotted name of the first field that holds, or by its name should hold, a spending key."""
    return next(_suspects("", options), None)


def place_of_a_wallet_key(data: Any) -> tuple[str | int, ...] | None:
    """Return the way to the first text that is an extended private key or a mnemonic, wherever it stands.

    Raw 32-byte keys are not looked for: a rail's HMAC key looks the same. ``field_holding_a_key`` finds those.
    """
    return next(_wallet_keys((), data), None)


def _wallet_keys(trail: tuple[str | int, ...], value: Any) -> Iterator[tuple[str | int, ...]]:
    match value:
        case dict():
            for key, inner in value.items():
                yield from _wallet_keys((*trail, key), inner)
        case list():
            for place, inner in enumerate(value):
                yield from _wallet_keys((*trail, place), inner)
        case str() if _EXTENDED_PRIVATE.search(value) or _is_mnemonic(value):
            yield trail
        case _:
            pass


def _suspects(name: str, value: Any) -> Iterator[str]:
    if any(telling in name.rpartition(".")[2].lower() for telling in _TELLING_NAMES):
        yield name
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _suspects(f"{name}.{key}".lstrip("."), inner)
    elif isinstance(value, list | tuple):
        for place, inner in enumerate(value):
            yield from _suspects(f"{name}.{place}", inner)
    elif isinstance(value, str) and _is_key(value):
        yield name


def _is_key(text: str) -> bool:
    if _EXTENDED_PRIVATE.search(text) or _RAW_PRIVATE.fullmatch(text) or _WIF.fullmatch(text):
        return True
    return _is_mnemonic(text)


def _is_mnemonic(text: str) -> bool:
    words = text.split()
    return len(words) in _MNEMONIC_WORDS and all(_WORD.fullmatch(word.lower()) for word in words)
