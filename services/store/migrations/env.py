"""What alembic runs: the migrations, on the connection that `services.store.migrate` opened."""

from __future__ import annotations

from alembic import context

from services.store.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
context.run_migrations()
