"""What ``make test`` and ``make check`` run: lint, types and import contracts beside the tests, one after the other on the screen.

pytest comes last on the screen, so that its closing line closes the run. Any failure is a failure of the whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PROGRAMS = Path(sys.executable).parent
STOP_SECONDS_MAX = 30
ROOMS = ("rates", "adapters", "orchestrator", "tests", "bench")


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    command: tuple[str | Path, ...]


CHECKS = (
    Step("ruff check", (PROGRAMS / "ruff", "check", "--quiet", *ROOMS)),
    Step("ruff format", (PROGRAMS / "ruff", "format", "--check", "--quiet", *ROOMS)),
    Step("import contracts", (sys.executable, PROGRAMS / "lint-imports", "--no-logo")),
    Step("mypy --strict", (sys.executable, "-m", "mypy", "--no-error-summary")),
)
TESTS = Step("pytest", (sys.executable, "-m", "pytest", "-n", "2", "--cov", "--cov-report=term", "--durations=5"))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def check(step: Step) -> bool:
    """Run one check; its output is shown where it fails."""
    started = time.monotonic()
    done = subprocess.run(step.command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    passed = done.returncode == 0
    say(f"  {step.name}: {'ok' if passed else 'FAILED'}, {time.monotonic() - started:.1f} s")
    if not passed:
        say(done.stdout + done.stderr)
    return passed


def run_checks() -> list[str]:
    return [step.name for step in CHECKS if not check(step)]


def follow(process: subprocess.Popen[bytes], written: IO[bytes]) -> int:
    """Show what a process writes into a file, from the beginning, until it ends."""
    while True:
        ended = process.poll() is not None
        while part := written.read(65536):
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        if ended:
            return process.returncode
        time.sleep(0.2)


def end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process that Ctrl-C reached as well, and is stopping its servers; then insist."""
    try:
        process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()


def run_all(arguments: Sequence[str]) -> list[str]:
    """Run the tests beside the checks and return the names of what failed."""
    with tempfile.NamedTemporaryFile() as output, Path(output.name).open("rb") as written:
        tests = subprocess.Popen(
            [*TESTS.command, *arguments], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            failed = run_checks()
            if follow(tests, written):
                failed.append(TESTS.name)
        finally:
            end(tests)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="suite", description=__doc__)
    parser.add_argument("--checks-only", action="store_true", help="no tests")
    options, rest = parser.parse_known_args()
    failed = run_checks() if options.checks_only else run_all(rest)
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
