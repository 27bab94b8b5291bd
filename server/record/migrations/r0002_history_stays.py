"""Rows of `audit` and `versions` are never changed or deleted: the database refuses it, whoever asks.

Whoever may drop a trigger gets past it, and is found by `burgee audit verify`.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

HISTORY = ("audit", "versions")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in HISTORY:
            for event in ("update", "delete"):
                op.execute(
                    f"CREATE TRIGGER {table}_refuses_{event} BEFORE {event.upper()} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, 'rows of {table} stay as they are'); END"
                )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION burgee_history_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'rows of % stay as they are', TG_TABLE_NAME; END $$"
    )
    for table in HISTORY:
        op.execute(
            f"CREATE TRIGGER {table}_stays BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION burgee_history_stays()"
        )
