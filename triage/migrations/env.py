"""Where Alembic begins: runs on the connection of `triage.database.upgrade`, which owns the transaction."""

from alembic import context

import triage.audit
import triage.people.tables
import triage.work.tables  # noqa: F401 - all tables are declared
from triage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    # SQLite changes a table by making it anew.
    render_as_batch=True,
)
context.run_migrations()
