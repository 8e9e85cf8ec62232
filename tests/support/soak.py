"""What ``make soak`` runs: tests marked ``soak`` (a storm of DURATION_S over real processes too), the simulation (200 seeds of 50 payments, or as many as half of DURATION_S
allows), then every property again and again with other seeds until DURATION_S is over,
then how the ledger's figures change with ten million stored postings (``bench.load.growth``).

The seed of a round is SEED plus its number, printed before it: ``make soak SEED=that`` replays it first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

NO_TESTS = 5
PYTEST = (sys.executable, "-m", "pytest")


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(*arguments: str) -> int:
    environment = {**os.environ, "CROSSRAIL_PROPERTIES": "soak"}
    return subprocess.run([*PYTEST, *arguments], check=False, env=environment).returncode


def main() -> int:
    seconds = float(os.environ.get("DURATION_S", "60"))
    seed = int(os.environ.get("SEED", "1"))
    deadline = time.monotonic() + seconds
    marked = run("-m", "soak", "-s")
    if marked not in {0, NO_TESTS}:
        say(f"soak: failed with SEED={seed}")
        return marked
    simulated = [sys.executable, "-m", "tests.simulation.soak", str(seed), "200", "50", str(int(seconds / 2))]
    if subprocess.run(simulated, check=False).returncode:
        return 1
    rounds = 0
    while rounds == 0 or time.monotonic() < deadline:
        say(f"soak: properties with SEED={seed + rounds}")
        code = run("tests/properties", f"--hypothesis-seed={seed + rounds}", "-x")
        if code:
            say(f"soak: failed with SEED={seed + rounds}")
            return code
        rounds += 1
    say(f"soak: {rounds} rounds, nothing found")
    return subprocess.run([sys.executable, "-m", "bench.load.growth"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
