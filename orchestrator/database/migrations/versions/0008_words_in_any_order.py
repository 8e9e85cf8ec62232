"""What a rail withdrew above what was left, how often it gave back, and when it said that a refund failed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("dispute", sa.Column("above_units", BIG, nullable=False, server_default="0"))
    op.add_column("dispute", sa.Column("returns", BIG, nullable=False, server_default="0"))
    # A day's earnings wait for the money that was taken until its end.
    op.create_index("capture_created", "capture", ["merchant_id", "mode", "created_us"])
    op.add_column("refund", sa.Column("failed_us", BIG, nullable=True))
    # Until now every return was of a withdrawal that had been heard of.
    op.execute("UPDATE dispute SET returns = withdrawals WHERE withdrawals > 0 AND withdrawn_units = 0")
    above = "above_units > 0"
    op.create_index("dispute_above", "dispute", ["next_check_us"], sqlite_where=sa.text(above),
                    postgresql_where=sa.text(above))  # fmt: skip


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
