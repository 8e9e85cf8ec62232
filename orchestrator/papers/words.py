"""The words of papers in the page's languages. A test asks every language for every word."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import orjson

FALLBACK: Final = "en"
_FILE: Final = Path(__file__).parent / "words.json"


@cache
def all_words() -> Mapping[str, Mapping[str, str]]:
    """Return the words by language."""
    found: Mapping[str, Mapping[str, str]] = orjson.loads(_FILE.read_bytes())
    return found


def language_of(tag: str) -> str:
    """Return the language of ours that a tag such as ``pt-BR`` asks for; English where there is none."""
    code = tag.replace("_", "-").partition("-")[0].lower()
    return code if code in all_words() else FALLBACK


def words(language: str) -> Mapping[str, str]:
    return all_words()[language]
