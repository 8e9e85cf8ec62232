"""Files that nobody else may touch: refused at start where the file system says otherwise."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

FILE_BYTES_MAX = 100_000
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")


class FileNotSafe(Exception):
    """Somebody else could read or change it: the text says what to do."""


def read_private(path: Path) -> str:
    """Read a file that only its user may read (0600 or 0400). Raises FileNotSafe."""
    return _read(path, 0o077, "chmod 600")


def read_trusted(path: Path) -> str:
    """Read a file that only its user may change. Raises FileNotSafe."""
    return _read(path, 0o022, "chmod go-w")


def read_secrets_file(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines; blank ones and ``#`` comments are passed over, a value is all behind the first ``=``.

    Raises FileNotSafe, which names lines and never what stands in them.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_private(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or _NAME.fullmatch(name) is None:
            raise FileNotSafe(f"{path}:{number}: a line is NAME=value, its name in capitals, digits and _")
        if value[:1] in {"'", '"'}:
            raise FileNotSafe(f"{path}:{number}: the value of {name} stands in quotes: they would be part of it")
        if name in found:
            raise FileNotSafe(f"{path}:{number}: {name} stands here twice")
        found[name] = value
    return found


def _read(path: Path, forbidden: int, cure: str) -> str:
    try:
        with path.open("rb") as opened:  # what is checked is what is read
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileNotSafe(f"{path} is no file")
            if found.st_uid != os.getuid():
                raise FileNotSafe(f"{path} belongs to another user: chown {os.getuid()} {path}")
            if found.st_mode & forbidden:
                raise FileNotSafe(f"{path} has mode {stat.S_IMODE(found.st_mode):o}: {cure} {path}")
            return opened.read(FILE_BYTES_MAX).decode()
    except OSError as error:
        raise FileNotSafe(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FileNotSafe(f"{path} is no text") from None
