"""Payouts leave in batches, as files; where a merchant is paid to changes with two people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from orchestrator.database.migrations.guards import guard

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("merchant", sa.Column("destination_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("merchant", sa.Column("destination_held", BIG, nullable=False, server_default="0"))
    op.add_column("payout", sa.Column("batch_id", sa.Text(), nullable=True))
    op.add_column("payout", sa.Column("batch_held", BIG, nullable=False, server_default="0"))
    op.create_index("payout_of_batch", "payout", ["batch_id"])
    op.create_table(
        "destination_change",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("merchant_id", "kind", "destination", "person")),
        *(sa.Column(name, BIG, nullable=False) for name in ("number", "at_us")),
        sa.PrimaryKeyConstraint("merchant_id", "number"),
        sqlite_strict=True,
    )
    op.create_table(
        "payout_batch",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("id", "mode", "status", "content_hash", "built_by")),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("approved_by", "canceled_by", "fetched_by")),
        *(sa.Column(name, BIG, nullable=False) for name in ("lines", "units", "created_us", "updated_us")),
        sa.Column("fetched_us", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sqlite_strict=True,
    )
    op.create_table(
        "payout_file",
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("batch_id", "content")),
        sa.PrimaryKeyConstraint("batch_id"),
        sqlite_strict=True,
    )
    guard(("destination_change", "payout_file"))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
