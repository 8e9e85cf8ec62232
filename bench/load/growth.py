"""How the ledger's figures change with what is stored: 1,000 postings beside 10,000,000, measured in turns. For ``make soak``.

    python -m bench.load.growth [POSTINGS]

The postings (and an entry and a usage event for each two of them) are of the same merchant and wallet that is charged. They
are loaded as text by COPY, without the product. Exit 1 where a figure is worse by more than 1.3.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from typing import Any, Final

from bench.__main__ import table
from bench.ledger import WALLETS, database, debits
from bench.load.charges import MERCHANT, MODE, wallet_names
from bench.result import Result
from tests.support.postgres import PostgresServer, start_postgres

POSTINGS: Final = 10_000_000
FEW: Final = 1_000
ROUNDS: Final = 3
SECONDS: Final = 4
WORSE_AT_MOST: Final = 1.3
PORTION: Final = 500_000
LOAD_SECONDS_MAX: Final = 900
DAY: Final = 19_000
"""Days since 1970 of the oldest stored events; each holds a portion."""
_EVENT: Final = (
    "usage_event (merchant_id, mode, day, source, event_id, wallet_id, model, tokens, status, reason, units, "
    "price_version, fingerprint, period, flush_id, at_us, recorded_us)"
)


def main(postings: int) -> int:
    server = start_postgres()
    try:
        urls = {size: _loaded(server, size) for size in (FEW, postings)}
        cases: dict[str, dict[str, Any]] = {
            "hot wallet": {"wallets": 1},
            "100,000 wallets": {"wallets": WALLETS},
            "random ids": {"wallets": 1, "ordered": False},
        }
        found: dict[tuple[str, int], list[dict[str, float]]] = {}
        for _ in range(ROUNDS):
            for name, case in cases.items():
                for size, url in urls.items():
                    found.setdefault((name, size), []).append(debits(url, seconds=SECONDS, **case))
    finally:
        server.stop()
    rows = [_row(name, found[name, FEW], found[name, postings]) for name in cases]
    print(f"with {postings:,} postings, beside {FEW:,} (random ids are there to be looked at):")
    print(table([row.row() for row in rows]))
    return 1 if any(row.met is False for row in rows) else 0


def _row(name: str, few: list[dict[str, float]], many: list[dict[str, float]]) -> Result:
    value, reference = (statistics.median(one["rate"] for one in runs) for runs in (many, few))
    goal = None if name == "random ids" else 1 / WORSE_AT_MOST
    return Result(f"growth: {name}", "debits/s", value, reference, goal)


def _loaded(server: PostgresServer, postings: int) -> str:
    name, url = database(server)
    debits(url, wallets=WALLETS, seconds=0.5, fill=True)
    entries = postings // 2
    print(f"loading {postings:,} postings ...", flush=True)
    first = int(server.sql("SELECT entry_sequence FROM shard", name)) + 1  # the database has one merchant
    for start, count in _portions(entries):
        for statement, program in _statements(first + start, count):
            server.sql(f"COPY {statement} FROM PROGRAM '{program}'", name, seconds_max=LOAD_SECONDS_MAX)
    moved = f"UPDATE shard SET entry_sequence = entry_sequence + {entries}"  # noqa: S608  # a number of our own
    server.sql(moved, name)
    server.sql("VACUUM ANALYZE", name, seconds_max=LOAD_SECONDS_MAX)
    # Else the gigabytes of the load are written to the disk while the figures are taken.
    server.sql("CHECKPOINT", name, seconds_max=LOAD_SECONDS_MAX)
    return url


def _portions(total: int) -> Iterator[tuple[int, int]]:
    for start in range(0, total, PORTION):
        yield start, min(PORTION, total - start)


def _statements(first: int, count: int) -> Iterator[tuple[str, str]]:
    """Yield what each COPY fills and the program whose lines it takes: awk writes them on the server's side."""
    wallet = wallet_names(MERCHANT, 1)[0]
    last = first + count - 1
    book = f"{MERCHANT}\\t{MODE}"
    yield (
        "journal_entry (merchant_id, mode, sequence, id, kind, fact, created_us)",
        _awk(first, last, f"{book}\\t%d\\tent_old_%012d\\tusage\\tflu_old_%012d\\t1\\n", "i, i, i"),
    )
    for line, code, sign in ((0, "wallet:paid", ""), (1, "merchant:pending", "-")):
        yield (
            "posting (merchant_id, mode, sequence, line, code, subject, asset, units, balance_after)",
            _awk(first, last, f"{book}\\t%d\\t{line}\\t{code}\\t{wallet}\\tUSD/9\\t{sign}150\\t%d\\n", "i, i"),
        )
    day = DAY + first // PORTION
    yield (
        _EVENT,
        _awk(first, last, f"{book}\\t{day}\\t\\tevu_%032x\\t{wallet}\\tgpt-bench\\t{{}}\\taccepted\\t\\t150\\tprv_old\\tff"
             "\\t2022-01\\tflu_old_%012d\\t%d\\t%d\\n", "i, i, i, i"),
    )  # fmt: skip


def _awk(first: int, last: int, form: str, values: str) -> str:
    return f"""awk ''BEGIN {{ for (i = {first}; i <= {last}; i++) printf "{form}", {values} }}''"""


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else POSTINGS))
