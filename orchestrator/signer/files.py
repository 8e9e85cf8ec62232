"""Files that nobody else may touch: refused at start where the file system says otherwise."""

from __future__ import annotations

import os
import stat
from pathlib import Path

FILE_BYTES_MAX = 100_000


class FileNotSafe(Exception):
    """Somebody else could read or change it: the text says what to do."""


def read_private(path: Path) -> str:
    """Read a file that only its user may read (0600 or 0400). Raises FileNotSafe."""
    return _read(path, 0o077, "chmod 600")


def read_trusted(path: Path) -> str:
    """Read a file that only its user may change. Raises FileNotSafe."""
    return _read(path, 0o022, "chmod go-w")


def _read(path: Path, forbidden: int, cure: str) -> str:
    try:
        with path.open("rb") as opened:  # what is checked is what is read
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileNotSafe(f"{path} is no file")
            if found.st_uid != os.getuid():
                raise FileNotSafe(f"{path} belongs to another user")
            if found.st_mode & forbidden:
                raise FileNotSafe(f"{path} has mode {stat.S_IMODE(found.st_mode):o}: {cure} {path}")
            return opened.read(FILE_BYTES_MAX).decode()
    except OSError as error:
        raise FileNotSafe(f"{path}: {error.strerror}") from None
