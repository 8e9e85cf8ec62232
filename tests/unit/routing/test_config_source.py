"""Files as people write them, and complaints as people need them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from orchestrator.config_source import ConfigInvalid, check, load_document


def refusal(text: str) -> str:
    with pytest.raises(ConfigInvalid) as caught:
        load_document(text)
    return str(caught.value)


def test_no_is_norway_and_not_false() -> None:
    document = load_document("country: NO\nother: [yes, on, off, n]\nreally: true")
    assert document.data == {"country": "NO", "other": ["yes", "on", "off", "n"], "really": True}


def test_a_file_that_asks_for_yaml_1_1_is_refused_because_norway_would_be_false() -> None:
    assert refusal("%YAML 1.1\n---\ncountry: NO").startswith("config.yaml:1:1: this file is read as YAML 1.2")


def test_a_number_with_a_point_is_exact() -> None:
    data = load_document("a: 0.1\nb: 3000.01\nc: 7\nd: '7'\ne: 2027-06-30").data
    assert data == {"a": Decimal("0.1"), "b": Decimal("3000.01"), "c": 7, "d": "7", "e": "2027-06-30"}
    assert isinstance(data["a"], Decimal)


@pytest.mark.parametrize("number", ["017", "1_000", ".inf", ".nan", "0x1f"])
def test_a_number_that_can_be_read_in_two_ways_is_refused(number: str) -> None:
    assert refusal(f"a: {number}") == (
        f"config.yaml:1:4: a: {number} is not a plain number (write 17 or 1.5, or put it in quotes)\n"
        f"    a: {number}\n       ^"
    )


def test_every_node_knows_its_line_and_column() -> None:
    document = load_document("a:\n  b:\n    - x\n    - {c: 1}\n")
    assert document.position(("a", "b", 0)) == (3, 7)
    assert document.position(("a", "b", 1, "c")) == (4, 11)
    assert document.position(("a", "b", 9, "nowhere")) == (3, 5)


def test_a_key_that_is_there_twice_is_refused() -> None:
    assert refusal("a: 1\nb: 2\na: 3") == (
        "config.yaml:3:1: a: the key is here twice; first in line 1\n    a: 3\n    ^"
    )


def test_a_tab_is_refused_with_a_hint() -> None:
    assert "config.yaml:2:1: not YAML" in refusal("a:\n\t- b")
    assert "(indent with spaces, not tabs)" in refusal("a:\n\t- b")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "config.yaml:1:1: the file is empty"),
        ("a: [1, 2\nb: 3", "config.yaml:2:2: not YAML"),
        ("a: 1\n---\nb: 2", "config.yaml:2:1: not YAML"),
        ("a: &x [*x]", "config.yaml:1:4: a[0][0]: the file is nested too deeply"),
        ("a: {<<: {b: 1}}", "config.yaml:1:5: a.'<<': merge keys are not part of YAML 1.2"),
        ("a: !python/object x", "config.yaml:1:4: a: the tag !python/object is not known here"),
        ("a: 1\nb: \x00", "config.yaml:2:4: not YAML: a character"),
        ("? [a]\n: 1", "config.yaml:1:3: a key must be a plain word"),
        ("a: *nobody", "config.yaml:1:4: not YAML"),
    ],
)
def test_what_is_not_a_plain_yaml_file_is_refused_where_it_goes_wrong(text: str, start: str) -> None:
    assert refusal(text).startswith(start)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1, 2\nb: 3", "a comma or a closing ] is missing before this (what must be closed begins in line 1)"),
        ("a:\n  - b\n - c", "this line is not indented like those that it belongs to (they begin in line"),
        ("a: b: c", "mapping values are not allowed here (is the line above finished?"),
        ("a: 1\nbcd\ne: 2", "a key needs a colon behind it (the key stands in line 2)"),
    ],
)
def test_a_text_that_is_not_yaml_is_told_in_words_for_people(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_value_that_is_missing_stands_at_its_key() -> None:
    document = load_document("a:\n  b:\n  c: 1\n")
    assert document.position(("a", "b")) == (2, 3)


def test_aliases_cannot_make_a_small_file_huge() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 8):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert "aliases make it too large" in refusal(bomb)


def test_a_file_that_is_missing_or_not_utf_8_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"config\.yaml:1:1: the file cannot be read: No such file"):
        load_document(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(ConfigInvalid, match=r"config\.yaml:2:4: the file is not UTF-8 text"):
        load_document(tmp_path / "config.yaml")


class Rail(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    api_key: int
    retries: int = 1


class Config(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rails: list[Rail]


def test_all_errors_of_a_model_come_at_once_each_in_its_place() -> None:
    text = "rails:\n  - {name: 5, api_key: 1, retrys: 2}\n  - name: b\n    api_key: 'sk_live_geheim'\n"
    with pytest.raises(ConfigInvalid) as caught:
        check(Config, load_document(text, "conf.yaml"))
    assert str(caught.value) == (
        "conf.yaml:2:12: rails[0].name: must be text (put it in quotes)\n"
        "      - {name: 5, api_key: ***, retrys: 2}\n"
        "               ^\n"
        "conf.yaml:2:27: rails[0].retrys: this key is not known (did you mean 'retries'?)\n"
        "      - {name: 5, api_key: ***, retrys: 2}\n"
        "conf.yaml:4:14: rails[1].api_key: must be a whole number\n"
        "        api_key: ***\n"
        "                 ^"
    )


def test_a_part_that_is_missing_is_said() -> None:
    with pytest.raises(ConfigInvalid, match="rails: rails is missing or empty"):
        check(Config, load_document("a: 1"), ("rails",))


def test_an_empty_key_is_no_crash() -> None:
    with pytest.raises(ConfigInvalid, match="this key is not known"):
        check(Config, load_document("'': 1"))
