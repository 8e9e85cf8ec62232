"""Receipts and invoices with their numbers."""

import sqlalchemy as sa
from alembic import op

from orchestrator.database.migrations.guards import guard

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "paper",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("merchant_id", "mode", "kind", "subject", "body")),
        *(sa.Column(name, BIG, nullable=False) for name in ("number", "created_us")),
        sa.PrimaryKeyConstraint("merchant_id", "mode", "number"),
        sa.UniqueConstraint("merchant_id", "mode", "kind", "subject"),
        sqlite_strict=True,
    )
    op.create_table(
        "paper_counter",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("merchant_id", "mode")),
        sa.Column("next_number", BIG, nullable=False),
        sa.PrimaryKeyConstraint("merchant_id", "mode"),
        sqlite_strict=True,
    )
    guard(("paper",))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
