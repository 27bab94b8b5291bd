"""Versions that some workers answer from before the others (ADR 0017)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "canaries",
        sa.Column("tenant", sa.String(length=128), nullable=False),
        sa.Column("project", sa.String(length=128), nullable=False),
        sa.Column("environment", sa.String(length=128), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("share", sa.Float(precision=53), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("since", sa.Float(precision=53), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "project", "environment"],
            ["environments.tenant", "environments.project", "environments.name"],
            name=op.f("fk_canaries_environments"),
        ),
        sa.PrimaryKeyConstraint("tenant", "project", "environment", name=op.f("pk_canaries")),
    )
