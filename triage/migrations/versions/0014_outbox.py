"""The outbox by patient and by the time of what it holds; which of its acts told a limit."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

WAITING = sa.text("sent_ms IS NULL")


def upgrade() -> None:
    """Add the columns. What is there stays without: it is dated when it was made, and counts for everybody."""
    op.add_column("outgoing", sa.Column("patient", sa.String(), nullable=True))
    op.add_column("outgoing", sa.Column("t_ms", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_outgoing_patient", "outgoing", ["patient", "id"], sqlite_where=WAITING, postgresql_where=WAITING
    )
    op.add_column("limit_change", sa.Column("outgoing_id", sa.BigInteger(), nullable=True))
    op.add_column("cell_limit_said", sa.Column("outgoing_id", sa.BigInteger(), nullable=True))
