"""Work on the lines: their states, the cells of patients, what goes to the log, who was told what."""

import secrets

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"

Json = sa.JSON().with_variant(JSONB(), "postgresql")
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("ended_ms IS NULL")
WAITING = sa.text("sent_ms IS NULL")
LOOK_AGAIN_MS = 86_400_000


def upgrade() -> None:
    """Give the lines their states: those that are open wait for anybody."""
    with op.batch_alter_table("episode") as table:
        table.add_column(sa.Column("state", sa.String(), nullable=False, server_default="new"))
        table.add_column(sa.Column("version", sa.BigInteger(), nullable=False, server_default="1"))
        table.add_column(sa.Column("owner", sa.String()))
        table.add_column(sa.Column("state_ms", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("until_ms", sa.BigInteger()))
        table.add_column(sa.Column("next_ms", sa.BigInteger()))
        table.add_column(sa.Column("step", sa.BigInteger(), nullable=False, server_default="0"))
        table.add_column(sa.Column("answered_ms", sa.BigInteger()))
        table.add_column(sa.Column("silent", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.add_column(sa.Column("work", Json, nullable=False, server_default="{}"))
    episode = sa.table(
        "episode",
        *(
            sa.column(name)
            for name in ("state", "state_ms", "next_ms", "due_ms", "ended_ms", "raised_clock_ms")
        ),
        sa.column("silent", sa.Boolean()),
        sa.column("shown_id"),
    )
    transition = sa.table("transition", sa.column("id"), sa.column("features"))
    silences = sa.select(transition.c.id).where(
        sa.cast(transition.c.features, sa.String()).like('%"silence_h"%')
    )
    op.execute(episode.update().values(state_ms=episode.c.raised_clock_ms))
    op.execute(episode.update().where(episode.c.ended_ms.is_not(None)).values(state="closed"))
    later = episode.c.raised_clock_ms + LOOK_AGAIN_MS
    op.execute(
        episode.update()
        .where(episode.c.ended_ms.is_(None))
        .values(next_ms=sa.func.coalesce(episode.c.due_ms, later))
    )
    op.execute(episode.update().where(episode.c.shown_id.in_(silences)).values(silent=sa.true()))
    with op.batch_alter_table("episode") as table:
        for name in ("state", "version", "state_ms", "step", "silent", "work"):
            table.alter_column(name, server_default=None)
        table.create_check_constraint(
            op.f("ck_episode_state"),
            "state IN ('new', 'claimed', 'called', 'escalated', 'muted', 'closed', 'reopened')",
        )
        table.create_check_constraint(
            op.f("ck_episode_state_ended"), "(ended_ms IS NULL) = (state <> 'closed')"
        )
        table.create_check_constraint(
            op.f("ck_episode_next_step"), "(ended_ms IS NULL) = (next_ms IS NOT NULL)"
        )
    op.create_index("ix_episode_next", "episode", ["next_ms"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_episode_ended", "episode", ["ended_clock_ms"])
    _beside()


def _beside() -> None:
    op.create_table(
        "followed",
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("programmes", Json, nullable=False),
        sa.PrimaryKeyConstraint("patient", name=op.f("pk_followed")),
    )
    op.create_index("ix_followed_cell", "followed", ["cell"])
    op.create_table(
        "outgoing",
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outgoing")),
    )
    op.create_index("ix_outgoing_waiting", "outgoing", ["id"], sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_table(
        "notice",
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("t_ms", sa.BigInteger(), nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("account", sa.String()),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("episode_id", sa.String(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("details", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index("ix_notice_time", "notice", ["t_ms"])
    op.create_table(
        "desk",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk")),
        sa.CheckConstraint("id = 1", name=op.f("ck_desk_one")),
    )
    desk = sa.table("desk", sa.column("id"), sa.column("name"))
    op.bulk_insert(desk, [{"id": 1, "name": f"desk-{secrets.token_hex(6)}"}])
