"""Disputes: their stages, their facts, and who bore what."""

import sqlalchemy as sa
from alembic import op

from orchestrator.database.migrations.guards import guard

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN_DISPUTE = "state IN ('needs_answer', 'under_review')"


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _big(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, BIG, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "dispute",
        *_text("merchant_id", "id", "mode", "rail", "account", "rail_dispute_id", "payment_id", "capture_id", "wallet_id",
               "state", "asset", "frozen", "reason", "evidence", "answered"),
        *_big("inquiry", "local_units", "units", "withdrawn_units", "withdrawals", "clawed_units", "reminded",
              "next_check_us", "created_us", "updated_us"),
        sa.Column("answer_by_us", BIG, nullable=True),
        sa.PrimaryKeyConstraint("merchant_id", "id"),
        sa.UniqueConstraint("rail", "account", "mode", "rail_dispute_id"),
        sqlite_strict=True,
    )  # fmt: skip
    op.create_index("dispute_id", "dispute", ["id"])
    op.create_index("dispute_list", "dispute", ["merchant_id", "mode", "id"])
    op.create_index("dispute_payment", "dispute", ["merchant_id", "payment_id"])
    op.create_index("dispute_open", "dispute", ["next_check_us"], sqlite_where=sa.text(OPEN_DISPUTE),
                    postgresql_where=sa.text(OPEN_DISPUTE))  # fmt: skip
    key = ("merchant_id", "dispute_id")
    op.create_table(
        "dispute_fact", *_text(*key, "kind", "state", "body"), *_big("number", "at_us", "recorded_us"),
        sa.PrimaryKeyConstraint(*key, "number"), sqlite_strict=True,
    )  # fmt: skip
    op.create_table(
        "dispute_allocation", *_text(*key, "source", "subject"), *_big("number", "units", "created_us"),
        sa.PrimaryKeyConstraint(*key, "number"), sqlite_strict=True,
    )  # fmt: skip
    guard(("dispute_fact", "dispute_allocation"))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
