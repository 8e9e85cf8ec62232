"""Ends what a process left open that stopped in the middle of a COPY (SIGSTOP, a frozen machine): it holds its locks for ever.

A transaction whose client sleeps between two statements is rolled back by the server
(``idle_in_transaction_session_timeout``). Between the rows of a COPY that setting does not count, and neither do
``statement_timeout`` and ``transaction_timeout``: PostgreSQL looks at them only while it waits for a command, and there it
waits for data. To be told to end, it listens there too. Source: ``ProcessClientReadInterrupt`` in
``src/backend/tcop/postgres.c``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    import asyncpg

WRITER_NAME: Final = "crossrail-writer"
"""The ``application_name`` of a writer's connection."""
PAUSE_S_MAX: Final = 10.0
"""So long a process that stopped in the middle of a flush holds its locks; then it is rolled back and the others go on."""
_log = structlog.get_logger("sleepers")

_END = """SELECT pid, pg_terminate_backend(pid) AS ended FROM pg_stat_activity
 WHERE application_name = $1 AND datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
 AND state = 'active' AND wait_event_type = 'Client' AND state_change < clock_timestamp() - make_interval(secs => $2)"""


async def end_sleepers(connection: asyncpg.Connection[Any], pause_s_max: float) -> int:
    """End writers that have been waiting for their process in the middle of a statement for longer than ``pause_s_max``.

    Their transactions are rolled back; a process that wakes up finds its connection closed and asks by its units' keys.
    Return how many were ended. Raises what the database raises.
    """
    found = await connection.fetch(_END, WRITER_NAME, pause_s_max)
    for row in found:
        _log.warning("sleeping_writer_ended", pid=row["pid"], ended=row["ended"], pause_s_max=pause_s_max)
    return len(found)
