"""Limits of cells: what was tried and proposed, who signed, what is in force, which patient's log has heard of it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "proposal",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("protocol_version", sa.String(), nullable=False),
        sa.Column("protocol_hash", sa.String(), nullable=False),
        sa.Column("changes", json, nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("signer", sa.String(), nullable=True),
        sa.Column("signed_ms", sa.BigInteger(), nullable=True),
        sa.Column("from_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("ended_reason", sa.String(), nullable=True),
        sa.Column("shadow_ms", sa.BigInteger(), nullable=True),
        sa.Column("study", json, nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_proposal")),
    )
    op.create_index("ix_proposal_cell", "proposal", ["cell", "id"])
    op.create_table(
        "cell_limit",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("t_ms", sa.BigInteger(), nullable=False),
        sa.Column("proposal_id", number, nullable=False),
        sa.ForeignKeyConstraint(
            ["proposal_id"], ["proposal.id"], name=op.f("fk_cell_limit_proposal_id_proposal")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cell_limit")),
        sa.UniqueConstraint(
            "cell", "protocol", "name", "number", name=op.f("uq_cell_limit_cell_protocol_name_number")
        ),
    )
    op.create_table(
        "cell_limit_said",
        sa.Column("id", number, autoincrement=True, nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("limit_id", number, nullable=True),
        sa.Column("t_ms", sa.BigInteger(), nullable=False),
        sa.Column("said_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["limit_id"], ["cell_limit.id"], name=op.f("fk_cell_limit_said_limit_id_cell_limit")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cell_limit_said")),
    )
    op.create_index("ix_cell_limit_said_patient", "cell_limit_said", ["patient", "protocol", "name", "id"])
    op.add_column("followed", sa.Column("present", sa.Boolean(), server_default=sa.true(), nullable=False))
