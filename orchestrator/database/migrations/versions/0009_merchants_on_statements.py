"""What the card world is told of a merchant: the words on a statement, and the code of what it sells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("statement_descriptor", "merchant_category"):
        op.add_column("merchant", sa.Column(name, sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
