"""What the rails report, and what each line is about."""

import sqlalchemy as sa
from alembic import op

from orchestrator.database.migrations.guards import guard

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PLACE = ("rail", "account", "mode")
OPEN = "state IN ('waiting', 'open')"


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _big(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, BIG, nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "settlement_line",
        *_text(*PLACE, "line_id", "kind", "word", "asset", "batch"),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("money_id", "attempt_id", "reference")),
        *_big("gross_units", "fee_units", "net_units", "occurred_us", "recorded_us"),
        sa.PrimaryKeyConstraint(*PLACE, "line_id"),
        sqlite_strict=True,
    )
    op.create_index("settlement_line_time", "settlement_line", [*PLACE, "occurred_us"])
    op.create_table(
        "settlement_match",
        *_text(*PLACE, "line_id", "kind", "state", "broken", "object_id", "merchant_id", "payout"),
        *_big("updated_us"),
        sa.PrimaryKeyConstraint(*PLACE, "line_id"),
        sqlite_strict=True,
    )
    op.create_index("settlement_match_object", "settlement_match", [*PLACE, "object_id"])
    op.create_index("settlement_match_open", "settlement_match", list(PLACE), sqlite_where=sa.text(OPEN),
                    postgresql_where=sa.text(OPEN))  # fmt: skip
    op.create_table(
        "settlement_cursor", *_text(*PLACE, "cursor"), *_big("read_us"), sa.PrimaryKeyConstraint(*PLACE),
        sqlite_strict=True,
    )  # fmt: skip
    guard(("settlement_line",))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
