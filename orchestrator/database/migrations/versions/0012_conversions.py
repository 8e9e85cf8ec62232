"""What a rail converted inside its own balance: both amounts and its rate stand on the line."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("settlement_line", sa.Column("original_asset", sa.Text(), nullable=True))
    op.add_column("settlement_line", sa.Column("original_units", BIG, nullable=True))
    op.add_column("settlement_line", sa.Column("exchange_rate", sa.Text(), nullable=True))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
