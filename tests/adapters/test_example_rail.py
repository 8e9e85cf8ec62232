"""A third rail is a folder and a block of configuration: no other file is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from ruamel.yaml import YAML

ROOT: Final = Path(__file__).parents[2]
EXAMPLE: Final = Path(__file__).parent / "example_rail"
BLOCK: Final = {
    "accounts": {
        "main": {
            "mode": "test",
            "simulated": True,
            "options": {"key": "k", "webhook_secret": "s"},
            "fees": {"tally": {"rail_bps": 100}},
        }
    }
}
PAY: Final = """
import asyncio, datetime, aiohttp
from adapters import registry
from adapters.base import Mode, PaymentOrder, RailAccount, SimulatorSettings
from rates.money import Money, display_asset
from tests.adapters.loopback import address, inbox, listen, serving
import adapters.tally
assert adapters.tally.__file__.startswith({folder!r}), adapters.tally.__file__
async def main():
    make, simulator = registry.load("tally")
    options, bound = {{"key": "k", "webhook_secret": "s"}}, listen()
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        async with serving(simulator(SimulatorSettings(options, address(bound), url)), bound):
            adapter = make(RailAccount("tally", "main", Mode.TEST, options, address(bound)), http)
            order = PaymentOrder("att_1", "tally", Money(500, display_asset("EUR")), "DE", "Top-up",
                "http://127.0.0.1:9/", datetime.datetime.now(datetime.UTC))
            started = await adapter.create_payment(order)
            assert (await adapter.create_payment(order)).rail_reference == started.rail_reference
            async with http.post(started.action.url):
                pass
            [(headers, body)] = await box.wait_for(1)
            [event] = adapter.parse_webhook(headers, body)
            print(event.kind, event.money_id, event.amount)
asyncio.run(main())
"""


def run(folder: Path, *words: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_copied_folder_and_one_block_of_configuration_make_a_rail_that_pays_and_is_routed_to(tmp_path: Path) -> None:
    for room in ("adapters", "rates", "orchestrator", "tests"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    tally = tmp_path / "adapters" / "tally"
    shutil.copytree(EXAMPLE, tally, ignore=shutil.ignore_patterns("__pycache__"))
    init = tally / "__init__.py"
    init.write_text(init.read_text(encoding="utf-8").replace("tests.adapters.example_rail", "adapters.tally"), "utf-8")
    yaml = YAML()
    config = yaml.load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["rails"]["tally"] = BLOCK
    config["routing"]["rules"][5]["offers"].append("tally")
    with (tmp_path / "config.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(config, file)
    assert run(tmp_path, "-c", PAY.format(folder=str(tmp_path))).split()[:2] == ["captured", "t_att_1"]
    crossrail = "from orchestrator.cli.main import main; main()"
    asked = ("-c", crossrail, "rules", "explain", "--country", "DE", "--amount", "20", "--json")
    assert '"tally"' in run(tmp_path, *asked)
