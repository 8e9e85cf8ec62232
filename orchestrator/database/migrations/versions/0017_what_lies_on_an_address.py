"""What came to an address is found by the address: every address is held against the chain in turn."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("deposit", "stray_transfer"):
        op.create_index(f"{table}_recipient", table, ["network", "recipient"])


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
