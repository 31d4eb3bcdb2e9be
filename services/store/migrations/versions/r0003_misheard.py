"""What the live bundle writes for a name that is spoken by machines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; nothing was listened to yet."""
    op.add_column("names", sa.Column("misheard", sa.JSON(), nullable=True))
