"""A wallet's rows in memory, and flushes over them: the real algorithm of the flush, with dictionaries below it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.database import flush
from orchestrator.database.flush import Insert, Select, Update
from orchestrator.database.schema import COLUMNS, DEFAULTS, PRIMARY_KEYS
from orchestrator.database.unit import Applied, Changes, Key, Row, Unit, View
from orchestrator.ledger.purse import Purse, purse_locks

MERCHANT, MODE, WALLET = "mer_1", "test", "wal_1"
NOW_US = 1_000_000


class Desk:
    """Tables as dictionaries. ``run`` decides one unit and writes it."""

    def __init__(self, **wallet: Any) -> None:
        self.tables: dict[str, dict[Key, Row]] = {name: {} for name in PRIMARY_KEYS}
        self.now_us = NOW_US
        self.put("wallet", merchant_id=MERCHANT, id=WALLET, customer_id="cus_1", customer_reference="alice",
                 created_us=0, **{"mode": MODE, "status": "active", **wallet})  # fmt: skip

    def put(self, table: str, **row: Any) -> None:
        whole = {**DEFAULTS[table], **row}
        self.tables[table][tuple(whole[name] for name in PRIMARY_KEYS[table])] = whole

    def lot(self, id_: str, units: int, kind: str = "paid", **more: Any) -> None:
        """Add a lot, and its credit to the wallet's account."""
        self.put("lot", **{"merchant_id": MERCHANT, "id": id_, "mode": MODE, "wallet_id": WALLET, "kind": kind,
                           "source": "src", "units": units, "remaining_units": units, "created_us": 0, **more})  # fmt: skip
        code = {"paid": "wallet:paid", "provisional": "wallet:provisional"}.get(kind, "wallet:promo")
        self.credit(code, units)

    def credit(self, code: str, units: int) -> None:
        balance = self.balance(code)
        self.put("account", merchant_id=MERCHANT, mode=MODE, code=code, subject=WALLET, asset="USD/9",
                 balance=balance - units)  # fmt: skip

    def balance(self, code: str, subject: str = WALLET) -> int:
        row = self.tables["account"].get((MERCHANT, MODE, code, subject, "USD/9"))
        return 0 if row is None else int(row["balance"])

    def lots(self) -> dict[str, tuple[int, int]]:
        """Return what remains of each lot and what of it is held."""
        return {row["id"]: (row["remaining_units"], row["held_units"]) for row in self.tables["lot"].values()}

    @property
    def wallet(self) -> Row:
        return self.tables["wallet"][MERCHANT, WALLET]

    def events(self) -> list[str]:
        return [row["type"] for row in self.tables["event"].values()]

    def spend(self, work: Callable[[Purse], Any], kind: str = "spend", *, fact: str = "f", merge: bool = False) -> Any:
        """Open the purse, let ``work`` spend, write. Return what ``work`` returned; raise what it raised."""
        kept: list[Any] = []

        def decide(view: View, changes: Changes) -> Mapping[str, Any]:
            purse = Purse.open(view, MERCHANT, MODE, WALLET)
            kept.append(work(purse))
            purse.write(changes, kind=kind, fact=fact, merge=merge)
            return {}

        self.run(Unit(MERCHANT, MODE, None, purse_locks(MERCHANT, MODE, WALLET), decide))
        return kept[-1]

    def run(self, *units: Unit) -> list[Applied]:
        results = _drive(self, units)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return [result for result in results if isinstance(result, Applied)]


def _drive(desk: Desk, units: tuple[Unit, ...]) -> list[flush.Result]:
    steps, answer = flush.run(units, desk.now_us), None
    while True:
        try:
            statement = next(steps) if answer is None else steps.send(answer)
        except StopIteration as end:
            results: list[flush.Result] = end.value
            return results
        answer = _perform(desk, statement)


def _perform(desk: Desk, statement: flush.Statement) -> list[Row]:
    table = desk.tables[statement.table]
    match statement:
        case Select(_, columns, values):
            wanted = set(values)
            found = [dict(row) for row in table.values() if tuple(row[name] for name in columns) in wanted]
            return sorted(found, key=lambda row: tuple(row[name] for name in PRIMARY_KEYS[statement.table]))
        case Insert(name, rows):
            table |= {
                tuple(row[key] for key in PRIMARY_KEYS[name]): {column: row[column] for column in COLUMNS[name]}
                for row in rows
            }
        case Update(name, columns, rows):
            for row in rows:
                table[tuple(row[key] for key in PRIMARY_KEYS[name])] |= {column: row[column] for column in columns}
    return []
