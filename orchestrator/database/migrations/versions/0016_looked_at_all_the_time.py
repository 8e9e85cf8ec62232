"""What is looked at all the time is found without reading everything: what sessions quoted, and what alarms ask for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_CURRENCY = {
    "sqlite": "substr(json_extract(body, '$.quote'), 1, instr(json_extract(body, '$.quote'), '/') - 1)",
    "postgresql": "split_part(body::json ->> 'quote', '/', 1)",
}
_WORDS = {"sqlite": "group_concat(currency, ' ')", "postgresql": "string_agg(currency, ' ' ORDER BY currency)"}


def upgrade() -> None:
    op.add_column("checkout_session", sa.Column("quoted", sa.Text(), nullable=False, server_default=""))
    dialect = op.get_bind().dialect.name
    # Of what may still be paid: no quote of an open session is older than the oldest of them. Quotes are read once.
    op.execute(
        f"""UPDATE checkout_session SET quoted = told.words FROM (
            SELECT merchant_id, session_id, {_WORDS[dialect]} AS words FROM (
                SELECT merchant_id, session_id, {_CURRENCY[dialect]} AS currency FROM quote
                WHERE session_id IS NOT NULL
                AND created_us >= (SELECT min(created_us) FROM checkout_session WHERE status = 'open')
                ORDER BY merchant_id, session_id, currency
            ) AS each_quote GROUP BY merchant_id, session_id
        ) AS told
        WHERE checkout_session.merchant_id = told.merchant_id AND checkout_session.id = told.session_id"""  # noqa: S608  # no input
    )

    for name, table, column, which in (
        ("account_position", "account", "merchant_id", "code = 'fx:position'"),
        ("payment_settled", "payment", "updated_us", "status = 'settled'"),
        ("review_waits", "review", "created_us", "status = 'open'"),
        ("x402_attempt_settling", "x402_attempt", "id", "status = 'settling'"),
    ):
        where = sa.text(which)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    raise RuntimeError("this schema is not taken back: money facts are append-only; restore a backup instead")
