"""Which entries of the catalogue were compared with what had been heard before they came."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the mark; what is there already is compared once."""
    op.add_column("entities", sa.Column("matched", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index(op.f("ix_entities_matched"), "entities", ["matched"], unique=False)
