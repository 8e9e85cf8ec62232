from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from adapters import registry
from adapters.base import Mode, RailAccount, RailEventKind, ReceivesWebhooks, SimulatorSettings
from tests.adapters.contract import RailUnderTest
from tests.adapters.loopback import address, inbox, listen, serving
from tests.adapters.rail_stripe import OPTIONS, RAIL

ADAPTERS = Path(registry.__file__).parent


def test_a_rail_is_found_by_the_name_of_its_folder() -> None:
    adapter, simulator = registry.load("stripe")
    assert callable(adapter)
    assert callable(simulator)
    assert {"stripe", "adyen"} <= set(registry.names())


@pytest.mark.parametrize("name", ["strip", "kit", "", "base", "../stripe", "stripe.adapter", "STRIPE", "__pycache__"])
def test_an_unknown_name_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(registry.UnknownRail, match=r"there are: .*stripe"):
        registry.load(name)


def test_finding_a_rail_does_not_import_its_sdk() -> None:
    code = "import sys, adapters.registry as r; r.load('stripe'); print('stripe' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("path", sorted(ADAPTERS.glob("*/simulator*.py")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_a_simulator_knows_nothing_of_its_adapter(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    own = f"adapters.{path.parent.name}."
    seen = {name for name in imported if name.startswith(own) and not name.startswith(f"{own}simulator")}
    assert seen == set()


async def test_a_simulator_works_below_a_prefix_of_another_application() -> None:
    make, simulator = registry.load("stripe")
    bound = listen()
    base = f"{address(bound)}/sandbox/stripe"
    async with inbox() as (url, box), aiohttp.ClientSession() as http:
        host = web.Application()
        host.add_subapp("/sandbox/stripe", simulator(SimulatorSettings(OPTIONS, base, url)))
        adapter = make(RailAccount("stripe", "main", Mode.TEST, OPTIONS, base), http)
        assert isinstance(adapter, ReceivesWebhooks)
        async with serving(host, bound):
            rail = RailUnderTest(RAIL, http, base, box, adapter)
            await RAIL.pay(rail, await adapter.create_payment(rail.order()))
            assert (await rail.told(RailEventKind.CAPTURED))[0].amount == RAIL.amount
            await rail.control(down=0)
