"""Every language says everything, and the right one is chosen."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from adapters.kit.refusals import SENTENCES
from orchestrator.web.locales import LANGUAGES, choose, language, own_name

TEMPLATES = Path(__file__).parents[3] / "orchestrator" / "web" / "templates"
ENGLISH = language("en")


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_has_every_sentence_with_the_same_values(code: str) -> None:
    words = language(code).words
    assert set(words) == set(ENGLISH.words)
    for key, sentence in words.items():
        assert sentence.strip(), key
        assert placeholders(sentence) == placeholders(ENGLISH.words[key]), key


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_a_rail_tells_a_buyer_after_a_decline_is_said_in_every_language(code: str) -> None:
    refusals = {key for key in ENGLISH.words if key.startswith("refusal.")}
    assert {ENGLISH.words[key] for key in refusals} == SENTENCES
    for key in refusals:
        assert language(code).refusal(ENGLISH.words[key]) == language(code).words[key]
    assert language(code).refusal("What no table says.") == "What no table says."


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_no_language_is_a_copy_of_english(code: str) -> None:
    words = language(code).words
    same = [key for key, sentence in words.items() if sentence == ENGLISH.words[key]]
    assert len(same) <= 6, same  # "Total", "Sandbox" and the like may be


def test_every_sentence_that_a_template_asks_for_exists() -> None:
    asked = {
        key
        for file in TEMPLATES.glob("*.html")
        for key in re.findall(r'(?:\bt|language\.text)\("([a-z_.]+)"', file.read_text("utf-8"))
    }
    assert len(asked) > 40
    assert asked <= set(ENGLISH.words)


@pytest.mark.parametrize(
    ("wanted", "session", "header", "chosen"),
    [
        ("de", "pt", "fr", "de"),
        (None, "pt-BR", "fr", "pt"),
        (None, "", "fr;q=0.5, vi-VN, en;q=0.9", "vi"),
        (None, "auto", "tl-PH, en;q=0.5", "fil"),
        (None, "", "ja, ko;q=0.9", "en"),
        (None, "", "de;q=nonsense, es;q=0.1", "es"),
        ("xx", "yy", "", "en"),
    ],
)
def test_a_language_is_chosen_by_the_buyer_then_the_session_then_the_browser(
    wanted: str | None, session: str, header: str, chosen: str
) -> None:
    assert choose(wanted, session, header).code == chosen


def test_languages_name_themselves() -> None:
    assert [own_name(code) for code in ("de", "pt", "vi")] == ["Deutsch", "Português", "Tiếng Việt"]


def test_a_language_that_we_do_not_have_is_refused() -> None:
    with pytest.raises(KeyError):
        language("../en")
