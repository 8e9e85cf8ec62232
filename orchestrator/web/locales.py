"""The buyer's language: one JSON catalogue per language, and how a language is chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import orjson
from babel import Locale

LANGUAGES: Final = ("en", "de", "pt", "nl", "fil", "vi", "es", "fr")
FALLBACK: Final = "en"
_OLD_NAMES: Final = {"tl": "fil"}
"""Tagalog's code is what browsers in the Philippines may still send for Filipino."""
_FOLDER: Final = Path(__file__).parent / "translations"
_ACCEPTED_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class Language:
    """One language with its words."""

    code: str
    words: Mapping[str, str]

    @property
    def locale(self) -> Locale:
        return Locale.parse(self.code)

    def text(self, key: str, /, **values: str) -> str:
        """Return a sentence with its values put in. Raises KeyError on a key that no catalogue has."""
        return self.words[key].format(**values)

    def has(self, key: str) -> bool:
        return key in self.words

    def refusal(self, english: str) -> str:
        """Return in this language what a rail's table says to the buyer; the English sentence where it is not ours."""
        key = _refusals().get(english)
        return english if key is None else self.words[key]


@cache
def language(code: str) -> Language:
    """Return one of LANGUAGES. Raises KeyError on another code."""
    if code not in LANGUAGES:
        raise KeyError(code)
    return Language(code, orjson.loads((_FOLDER / f"{code}.json").read_bytes()))


@cache
def _refusals() -> Mapping[str, str]:
    return {words: key for key, words in language(FALLBACK).words.items() if key.startswith("refusal.")}


def own_name(code: str) -> str:
    """Return what a language calls itself, with a capital."""
    name = Locale.parse(code).get_display_name(code) or code
    return name[:1].upper() + name[1:]


def known(tag: str) -> str | None:
    """Return the language of ours that a tag such as ``pt-BR`` asks for, or None."""
    code = tag.strip().replace("_", "-").partition("-")[0].lower()
    code = _OLD_NAMES.get(code, code)
    return code if code in LANGUAGES else None


def choose(wanted: str | None, session_locale: str, accept_language: str) -> Language:
    """Return the language: what the buyer picked, else what the session says, else what the browser says."""
    picked = known(wanted or "") or known(session_locale) or _accepted(accept_language)
    return language(picked or FALLBACK)


def _accepted(header: str) -> str | None:
    """Read ``pt-BR,pt;q=0.9,en;q=0.8``: the best known one; the first of equals."""
    best: tuple[float, str] | None = None
    for part in header.split(",")[:_ACCEPTED_MAX]:
        tag, _, parameter = part.partition(";")
        code = known(tag)
        try:
            weight = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if code is not None and weight > 0 and (best is None or weight > best[0]):
            best = (weight, code)
    return None if best is None else best[1]
