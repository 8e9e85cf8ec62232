from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.metering.litellm_prices import FIELDS, parse_map, read_map
from orchestrator.metering.prices_file import read_file
from orchestrator.metering.rating import TOKEN_TYPES, PriceInvalid, show_price

MAP = """{
 "sample_spec": {"input_cost_per_token": "what it is"},
 "gpt-5-mini": {"litellm_provider": "openai", "mode": "chat", "max_tokens": 8, "input_cost_per_token": 2.5e-07,
   "output_cost_per_token": 2e-06, "cache_read_input_token_cost": 2.5e-08, "input_cost_per_token_batches": 1e-07,
   "supports_vision": true, "output_cost_per_reasoning_token": null},
 "gemini": {"litellm_provider": "vertex_ai", "mode": "chat", "input_cost_per_token": 1.25e-06, "output_cost_per_token": 1e-05,
   "input_cost_per_token_above_200k_tokens": 2.5e-06, "output_cost_per_token_above_200k_tokens": 1.5e-05},
 "whisper": {"litellm_provider": "openai", "mode": "audio_transcription", "input_cost_per_second": 0.0001},
 "sora": {"litellm_provider": "openai", "mode": "video_generation", "output_cost_per_second": 0.1},
 "free": {"litellm_provider": "x", "mode": "chat", "input_cost_per_token": 0.0, "output_cost_per_token": 0},
 "dalle": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_pixel": 1.9e-08},
 "noise": {"litellm_provider": "x", "input_cost_per_token": 9.999999999999999e-08},
 "tiers": {"litellm_provider": "x", "input_cost_per_token": 1e-7, "tiered_pricing": [{"range": [0, 1]}]},
 "negative": {"litellm_provider": "x", "input_cost_per_token": -1e-7},
 "text": {"litellm_provider": "x", "input_cost_per_token": "cheap"},
 "nothing": 3
}"""


def test_a_price_map_of_litellm_is_taken_exactly_and_the_rest_is_named() -> None:
    found = read_map(parse_map(MAP))
    shown = {
        model: {name: show_price(price) for name, price in one.prices.items()} for model, one in found.models.items()
    }
    assert shown == {
        "gpt-5-mini": {"input": "0.00000025", "output": "0.000002", "cache_read": "0.000000025"},
        "gemini": {"input": "0.00000125", "output": "0.00001"},
        "whisper": {"audio": "0.0001"},
    }
    assert found.models["gemini"].above == {200_000: {"input": 2_500_000_000_000, "output": 15_000_000_000_000}}
    assert set(found.skipped) == {"sora", "free", "dalle", "noise", "tiers", "negative", "text", "nothing"}
    assert found.skipped["dalle"] == "priced by input_cost_per_pixel"
    assert "18 decimals" in found.skipped["noise"]
    assert found.left_out == {"input_cost_per_token_batches": 1}
    assert set(read_map(parse_map(MAP), "vertex_ai").models) == {"gemini"}


def test_every_field_has_a_token_type() -> None:
    assert set(FIELDS.values()) <= set(TOKEN_TYPES)


def test_a_file_of_our_own_may_speak_of_millions(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(
        "markup_bps: 2000\nbase: null\nmodels:\n"
        "  mini: {input: '0.00000025', output: 0.000002}\n"
        "  big:\n    per_million: {input: 3, output: '22.5'}\n    request: 0.001\n    markup_bps: -500\n"
        "    above: {200000: {per_million: {input: 6}}}\n"
        "  other: {markup_bps: 7}\n"
    )
    request = read_file(path).request()
    assert request["models"] == {
        "mini": {"input": "0.00000025", "output": "0.000002"},
        "big": {"request": "0.001", "input": "0.000003", "output": "0.0000225"},
    }
    assert request["above"] == {"big": {"200000": {"input": "0.000006"}}}
    assert (request["markup_bps"], request["markups"], request["base"]) == (2000, {"big": -500, "other": 7}, None)


@pytest.mark.parametrize(
    "text",
    ["models: {a: {inptu: 1}}", "models: {a: {input: -1}}", "models: {a: {input: 1, per_million: {input: 1}}}",
     "models: {a: {}}", "markup: 5", "models: {a: {input: 0.0000000000000000001}}", "markup_bps: 1.5", "- 1",
     "models: {a: {input: true}}"],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(text)
    with pytest.raises(PriceInvalid):
        read_file(path)


def test_the_kind_of_a_json_file_is_seen_from_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "prices.json"
    path.write_text(MAP)
    assert read_file(path).kind == "litellm"
    path.write_text(json.dumps({"models": {"a": {"input": "0.5"}}}))
    assert read_file(path).kind == "crossrail"
    path.write_text("{")
    with pytest.raises(PriceInvalid):
        read_file(path)
