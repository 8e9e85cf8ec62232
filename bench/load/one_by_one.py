"""The usual way: each debit a transaction of its own through SQLAlchemy, on SQLite (WAL, FULL).

``python -m bench.load.one_by_one URL SECONDS`` prints debits per second. It writes what a debit of ours leaves behind:
the event, the wallet's lot, both balances, one entry with two postings.
"""

from __future__ import annotations

import sys
import time

from sqlalchemy import Engine, create_engine, event, insert, select, update
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from bench.load.charges import MERCHANT, MODE, MODEL, wallet_names
from orchestrator.database.tables import Account, JournalEntry, Lot, Posting, Shard, UsageEvent, Wallet, table_of
from orchestrator.ids import new_id

WALLET = wallet_names(MERCHANT, 1)[0]
UNITS = 123
_event, _entry, _posting = (table_of(model) for model in (UsageEvent, JournalEntry, Posting))
_account, _lot, _shard, _wallet = (table_of(model) for model in (Account, Lot, Shard, Wallet))


def _engine(file: str) -> Engine:
    engine = create_engine(f"sqlite:///{file}")

    @event.listens_for(engine, "connect")
    def durable(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    return engine


def debit(session: Session, event_id: str, now_us: int) -> None:
    """Charge one event, if it was not charged before."""
    key = {"merchant_id": MERCHANT, "mode": MODE, "day": now_us // 86_400_000_000, "source": "", "event_id": event_id}
    if session.execute(select(_event.c.units).filter_by(**key)).first():
        return
    session.execute(select(_wallet).filter_by(merchant_id=MERCHANT, id=WALLET)).one()
    lot = session.execute(select(_lot).filter_by(merchant_id=MERCHANT, wallet_id=WALLET, open=1)).one()
    shard = session.execute(select(_shard).filter_by(merchant_id=MERCHANT, mode=MODE)).one()
    session.execute(
        update(_lot).filter_by(merchant_id=MERCHANT, id=lot.id).values(remaining_units=lot.remaining_units - UNITS)
    )
    session.execute(insert(_event).values(
        **key, wallet_id=WALLET, model=MODEL, tokens="{}", status="accepted", reason="", units=UNITS, price_version="p",
        fingerprint="", period="2026-01", flush_id="", at_us=now_us, recorded_us=now_us,
    ))  # fmt: skip
    scope = {"merchant_id": MERCHANT, "mode": MODE, "sequence": shard.entry_sequence + 1}
    session.execute(insert(_entry).values(**scope, id=new_id("ent"), kind="usage", fact=event_id, created_us=now_us))
    for line, (code, subject, units) in enumerate((("wallet:paid", WALLET, UNITS), ("merchant:pending", "", -UNITS))):
        place = {"merchant_id": MERCHANT, "mode": MODE, "code": code, "subject": subject, "asset": "USD/9"}
        row = session.execute(select(_account.c.balance).filter_by(**place)).first()
        balance = (row.balance if row else 0) + units
        change = update(_account).filter_by(**place) if row else insert(_account)
        session.execute(change.values(balance=balance) if row else insert(_account).values(**place, balance=balance))
        session.execute(insert(_posting).values(
            **scope, line=line, code=code, subject=subject, asset="USD/9", units=units, balance_after=balance,
        ))  # fmt: skip
    session.execute(
        update(_shard).filter_by(merchant_id=MERCHANT, mode=MODE).values(entry_sequence=shard.entry_sequence + 1)
    )


def main(file: str, seconds: float) -> float:
    engine = _engine(file)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        with Session(engine) as session, session.begin():
            debit(session, new_id("evu"), time.time_ns() // 1000)
        done += 1
    rate = done / (time.perf_counter() - began)
    engine.dispose()
    return rate


if __name__ == "__main__":
    print(main(sys.argv[1], float(sys.argv[2])))
