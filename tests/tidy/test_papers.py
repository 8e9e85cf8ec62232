"""The papers of the house: locks, addresses, licence, and that what is declared is used."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.tidy.repository import PRODUCT, ROOT, files, imports_any, python_files, text

PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)
LOCKS = ("requirements.lock", "requirements-dev.lock")
LOADED_BY_NAME = {
    "aiosqlite": "SQLAlchemy loads it for sqlite+aiosqlite://",
    "asyncpg": "SQLAlchemy loads it for postgresql+asyncpg://",
}
REGISTRIES = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian.org")
HOMES = re.compile(r"(?<![\w.~-])/(?:root|home/\w+|Users/\w+)/")


@cache
def project() -> dict[str, Any]:
    return tomllib.loads(text(Path("pyproject.toml")))


def runtime_requirements() -> list[Requirement]:
    return [Requirement(line) for line in project()["project"]["dependencies"]]


def pins(lock: str) -> dict[str, set[str]]:
    """Return the versions of every package: more than one where they differ by Python's version."""
    found: dict[str, set[str]] = {}
    for match in PIN.finditer(text(Path(lock))):
        found.setdefault(canonicalize_name(match["name"]), set()).add(match["version"])
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_in_step_with_the_project(lock: str) -> None:
    wanted = runtime_requirements()
    if lock == "requirements-dev.lock":
        wanted += [Requirement(line) for line in project()["dependency-groups"]["dev"]]
    pinned = pins(lock)
    behind = [
        str(requirement)
        for requirement in wanted
        if not any(
            requirement.specifier.contains(Version(version), prereleases=True)
            for version in pinned.get(canonicalize_name(requirement.name), ())
        )
    ]
    assert not behind, f"{lock} does not hold {behind}: run `make lock`"


def test_the_development_lock_holds_the_pins_of_the_product() -> None:
    development = pins("requirements-dev.lock")
    different = {
        name: versions for name, versions in pins("requirements.lock").items() if development.get(name) != versions
    }
    assert not different, f"other versions are tested than are shipped: {different}; run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_addresses(lock: str) -> None:
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text(Path(lock)))
    bare = [block.split()[0] for block in blocks if PIN.match(block) and "--hash=sha256:" not in block]
    assert not bare, f"without a hash: {bare}"
    assert "://" not in text(Path(lock))
    assert not re.search(r"--(extra-)?index-url|--find-links", text(Path(lock)))


def test_no_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    found: list[str] = []
    for path in files():
        content = text(path)
        found += [f"{path} names {host}" for host in REGISTRIES if host in content]
        found += [f"{path} names {home.group()}" for home in HOMES.finditer(content)]
        if f"{ROOT}/" in content:
            found.append(f"{path} names the folder that the project is in")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "says"),
    [("LICENSE", "Apache License"), ("CHANGELOG.md", "0.1.0"), ("README.md", "make run"), ("README.md", "make test")],
)
def test_the_house_has_its_papers(name: str, says: str) -> None:
    assert Path(name) in files(), f"{name} is missing"
    assert says in text(Path(name)), f"{name} does not say {says!r}"


def test_every_package_that_the_product_asks_for_is_used_by_it() -> None:
    modules: dict[str, list[str]] = {}
    for module, distributions in packages_distributions().items():
        for distribution in distributions:
            modules.setdefault(canonicalize_name(distribution), []).append(module)
    modules["ruamel-yaml"] = ["ruamel.yaml"]  # a namespace package
    unused = [
        requirement.name
        for requirement in runtime_requirements()
        if requirement.name not in LOADED_BY_NAME
        and not any(
            imports_any(path, *modules.get(canonicalize_name(requirement.name), [requirement.name]))
            for path in python_files(*PRODUCT)
        )
    ]
    assert not unused, f"declared in pyproject.toml and imported nowhere: {unused}"


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("aiohttp", "orchestrator/api"),
        ("aiohttp", "adapters"),
        ("stripe", "adapters/stripe"),
        ("Adyen", "adapters/adyen"),
        ("web3", "adapters"),
        ("tronpy", "adapters"),
        ("forex_python", "rates/sources"),
        ("tenacity", "orchestrator"),
        ("sqlmodel", "orchestrator/database"),
    ],
)
def test_a_package_of_the_brief_works_where_it_belongs(module: str, room: str) -> None:
    assert any(imports_any(path, module) for path in python_files(room)), f"{room} does not use {module}"


def test_the_tests_run_on_pytest_asyncio() -> None:
    assert project()["tool"]["pytest"]["ini_options"]["asyncio_mode"] == "auto"
    assert "pytest-asyncio" in pins("requirements-dev.lock")
