"""What ran in the shadow stays readable: until when it did, and day by day what it would have raised."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns; a shadow that ended before left nothing."""
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("proposal", sa.Column("shadow_until_ms", sa.BigInteger(), nullable=True))
    op.add_column("proposal", sa.Column("shadow_kept", json, nullable=True))
