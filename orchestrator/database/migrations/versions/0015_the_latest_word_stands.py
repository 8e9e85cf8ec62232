"""Of a refund the rail's latest word stands, whatever was heard when."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.alter_column("refund", "failed_us", new_column_name="ended_us")
    # Such a word made a row of its own until now: said again, it is not news.
    op.execute(
        "UPDATE refund SET ended_us = 9223372036854775807 WHERE status = 'failed' AND EXISTS (SELECT 1 FROM refund AS later"
        " WHERE later.merchant_id = refund.merchant_id AND later.reason = refund.id || ' was through after all')"
    )
    op.add_column("refund", sa.Column("turns", BIG, nullable=False, server_default="0"))
    op.add_column("refund", sa.Column("above_units", BIG, nullable=False, server_default="0"))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
