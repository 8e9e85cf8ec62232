"""Refunds: what goes back of each piece of money."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
GOES_BACK = (
    "refunding_units >= 0 AND refunded_units >= 0 AND withdrawn_units >= 0 "
    "AND refunding_units + refunded_units + withdrawn_units <= units"
)
OPEN_REFUND = "status IN ('created', 'sent', 'pending')"


def upgrade() -> None:
    for table in ("capture", "deposit"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            if table == "capture":
                batch_op.add_column(sa.Column("lines", sa.Text(), nullable=True))
            for name in ("refunding_units", "refunded_units", "withdrawn_units"):
                batch_op.add_column(sa.Column(name, BIG, server_default="0", nullable=False))
            batch_op.create_check_constraint(f"{table}_goes_back_once", GOES_BACK)
    op.create_index("capture_payment", "capture", ["merchant_id", "payment_id"])
    with op.batch_alter_table("payment", schema=None) as batch_op:
        for name in ("refunding_units", "refunded_units"):
            batch_op.add_column(sa.Column(name, BIG, server_default="0", nullable=False))
    texts = ("merchant_id", "id", "mode", "payment_id", "money_id", "wallet_id", "rail", "account", "status", "origin",
             "destination", "reason", "requested_by")  # fmt: skip
    op.create_table(
        "refund",
        *(sa.Column(name, sa.Text(), nullable=False) for name in texts),
        sa.Column("units", BIG, nullable=False),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("local_units", BIG, nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("sources", sa.Text(), nullable=False),
        sa.Column("rail_reference", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        *(sa.Column(name, BIG, nullable=False) for name in ("next_check_us", "checks", "created_us", "updated_us")),
        sa.PrimaryKeyConstraint("merchant_id", "id"),
        sqlite_strict=True,
    )
    op.create_index("refund_id", "refund", ["id"])
    op.create_index("refund_payment", "refund", ["merchant_id", "payment_id", "id"])
    op.create_index("refund_list", "refund", ["merchant_id", "mode", "id"])
    op.create_index("refund_watch", "refund", ["next_check_us"], sqlite_where=sa.text(OPEN_REFUND),
                    postgresql_where=sa.text(OPEN_REFUND))  # fmt: skip


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
