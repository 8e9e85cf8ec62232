"""Money that a rail only reserved, until it is taken or let go."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    names = ("merchant_id", "attempt_id", "mode", "payment_id", "rail", "account", "authorisation", "state")
    op.create_table(
        "reservation",
        *(sa.Column(name, sa.Text(), nullable=False) for name in names),
        *(sa.Column(name, BIG, nullable=False) for name in ("authorised_us", "next_us", "tries", "created_us")),
        sa.PrimaryKeyConstraint("merchant_id", "attempt_id"),
        sqlite_strict=True,
    )
    waits = "state IN ('held', 'capturing', 'releasing')"
    op.create_index("reservation_waits", "reservation", ["next_us"], sqlite_where=sa.text(waits),
                    postgresql_where=sa.text(waits))  # fmt: skip


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
