"""The book's row says which flush wrote last; a subject's accounts are found together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("shard", sa.Column("flush_id", sa.Text(), nullable=False, server_default=""))
    op.create_index("account_subject", "account", ["merchant_id", "mode", "subject", "code", "asset"])
    if op.get_bind().dialect.name == "postgresql":
        # Rows that change with every charge: room in the page for the next version, so that no index is written again.
        for table in ("wallet", "lot", "account", "usage_rollup"):
            op.execute(f"ALTER TABLE {table} SET (fillfactor = 75)")


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
