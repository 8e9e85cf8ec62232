"""Single files out of npm packages, pinned by version and by hash: the EVM node, and documents that vendors publish there.

Nothing is installed and no script of a package runs: the archive is fetched with ``npm pack``, checked and opened.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / "var" / "npm"
FETCH_SECONDS_MAX = 300


class NpmFailed(Exception):
    """The archive could not be had, or is not the one that was pinned."""


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """``integrity`` is what ``npm view NAME@VERSION dist.integrity`` prints."""

    name: str
    version: str
    integrity: str

    def file(self, member: str) -> Path:
        """Return one file of the package (``member`` as in the archive, without "package/"), fetched once."""
        target = CACHE / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}" / member
        if not target.exists():
            self._fetch(member, target)
        return target

    def _fetch(self, member: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as place:
            archive = self._pack(Path(place))
            self._check(archive)
            with tarfile.open(archive) as opened:
                entry = opened.extractfile(f"package/{member}")
                if entry is None:
                    raise NpmFailed(f"{self.name} {self.version} has no file {member}")
                partial = Path(place) / "file"
                with entry, partial.open("wb") as copy:
                    shutil.copyfileobj(entry, copy)
                partial.chmod(0o755)
            partial.replace(target)  # whole or not at all

    def _pack(self, place: Path) -> Path:
        npm = Path(sys.executable).with_name("npm")
        command: list[str | Path] = [
            npm,
            "pack",
            f"{self.name}@{self.version}",
            "--ignore-scripts",
            "--silent",
            "--pack-destination",
            place,
        ]
        path = f"{npm.parent}{os.pathsep}{os.environ.get('PATH', '')}"  # npm starts "node"
        for last in (False, True):
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                timeout=FETCH_SECONDS_MAX,
                cwd=place,
                env={**os.environ, "PATH": path, "npm_config_cache": str(place / "cache")},
            )
            if done.returncode == 0:
                break
            if last:
                raise NpmFailed(f"npm pack {self.name}@{self.version}: {done.stderr.strip() or done.stdout.strip()}")
        return next(place.glob("*.tgz"))

    def _check(self, archive: Path) -> None:
        with archive.open("rb") as content:
            digest = hashlib.file_digest(content, "sha512").digest()
        found = "sha512-" + base64.b64encode(digest).decode()
        if found != self.integrity:
            raise NpmFailed(f"{self.name} {self.version} is not what was pinned: {found}")


ANVIL = NpmPackage(
    "@foundry-rs/anvil-linux-amd64",
    "1.7.1",
    "sha512-+XmShybEaxfCrr0OUUZwYEy2OnYZt5pHH9TzBtLv3+VrK0O/ANuNSVEahqNhKHlgX7GRJ59383ofNhxkRWIYTg==",
)


def anvil_program() -> Path | None:
    """The real EVM node of Foundry as one program; None on a machine that the pinned package is not for."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    return ANVIL.file("bin/anvil")
