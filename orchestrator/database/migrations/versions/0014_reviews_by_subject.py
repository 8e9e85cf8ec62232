"""A review is found by what it is about: its question is withdrawn when that answers itself."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("review_subject", "review", ["merchant_id", "subject"])


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
