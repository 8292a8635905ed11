"""The queue: episodes, alerts and what the engine said of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

Json = sa.JSON().with_variant(JSONB(), "postgresql")
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("ended_ms IS NULL")


def upgrade() -> None:
    """Make the three tables."""
    op.create_table(
        "episode",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("latched", sa.Boolean(), nullable=False),
        sa.Column("onset_ms", sa.BigInteger(), nullable=False),
        sa.Column("opened_clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("raised_clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("due_ms", sa.BigInteger()),
        sa.Column("policy", Json, nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("evidence", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger()),
        sa.Column("ended_clock_ms", sa.BigInteger()),
        sa.Column("outcome", sa.String()),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("shown_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_episode")),
        sa.CheckConstraint("level BETWEEN 1 AND 3", name=op.f("ck_episode_level")),
        sa.CheckConstraint("(ended_ms IS NULL) = (outcome IS NULL)", name=op.f("ck_episode_ended")),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome IN ('resolved', 'closed')", name=op.f("ck_episode_outcome")
        ),
        sa.CheckConstraint(
            "outcome IS NULL OR outcome = 'closed' OR level < 3", name=op.f("ck_episode_rouge_latches")
        ),
    )
    op.create_index(
        "uq_episode_open",
        "episode",
        ["patient", "protocol", "problem"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_episode_waiting", "episode", ["level"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_episode_patient", "episode", ["patient", "onset_ms"])
    op.create_table(
        "alert",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("onset_ms", sa.BigInteger(), nullable=False),
        sa.Column("episode_id", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
        sa.ForeignKeyConstraint(["episode_id"], ["episode.id"], name=op.f("fk_alert_episode_id")),
        sa.UniqueConstraint(
            "patient", "protocol", "rule", "onset_ms", name=op.f("uq_alert_patient_protocol_rule_onset_ms")
        ),
    )
    op.create_index("ix_alert_episode_id", "alert", ["episode_id"])
    op.create_table(
        "transition",
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("alert_id", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("t_ms", sa.BigInteger(), nullable=False),
        sa.Column("clock_ms", sa.BigInteger(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("protocol_hash", sa.String(), nullable=False),
        sa.Column("signed", sa.Boolean(), nullable=False),
        sa.Column("sentence", sa.String(), nullable=False),
        sa.Column("features", Json, nullable=False),
        sa.Column("limits", Json, nullable=False),
        sa.Column("points", Json, nullable=False),
        sa.Column("kernels", sa.String(), nullable=False),
        sa.Column("time_basis", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transition")),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_transition_alert_id")),
        sa.UniqueConstraint(
            "alert_id",
            "rule",
            "kind",
            "t_ms",
            "log_offset",
            name=op.f("uq_transition_alert_id_rule_kind_t_ms_log_offset"),
        ),
    )
    op.create_index("ix_transition_clock", "transition", ["clock_ms", "id"])
