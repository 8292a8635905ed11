"""Where Alembic begins: runs on the connection of `triage.database.upgrade`, which owns the transaction."""

from alembic import context

from triage.identity.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
)
context.run_migrations()
