"""People: accounts, second factors, recovery codes, sessions, tokens of programs, patients opened with a reason."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "account",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("display", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("cells", json, nullable=False),
        sa.Column("password", sa.String(), nullable=True),
        sa.Column("once", sa.Boolean(), nullable=False),
        sa.Column("once_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("locked_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
        sa.UniqueConstraint("subject", name=op.f("uq_account_subject")),
        sa.CheckConstraint(
            "role IN ('nurse', 'cardiologist', 'operator', 'administrator')", name=op.f("ck_account_role")
        ),
        sa.CheckConstraint("once = (once_until_ms IS NOT NULL)", name=op.f("ck_account_once")),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_account_failures")),
    )
    op.create_table(
        "second_factor",
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("sealed", sa.String(), nullable=True),
        sa.Column("since_ms", sa.BigInteger(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("offered", sa.String(), nullable=True),
        sa.Column("offered_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_second_factor")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_second_factor_account")),
        sa.CheckConstraint("(sealed IS NULL) = (since_ms IS NULL)", name=op.f("ck_second_factor_sealed")),
        sa.CheckConstraint("(offered IS NULL) = (offered_ms IS NULL)", name=op.f("ck_second_factor_offered")),
    )
    op.create_table(
        "recovery",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_recovery")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_recovery_account")),
    )
    op.create_index("ix_recovery_account", "recovery", ["account"])
    op.create_table(
        "session",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("idle_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("second", sa.Boolean(), nullable=False),
        sa.Column("csrf", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_session_account")),
        sa.CheckConstraint("until_ms > created_ms", name=op.f("ck_session_until")),
    )
    op.create_index("ix_session_account", "session", ["account"])
    op.create_index("ix_session_until_ms", "session", ["until_ms"])
    op.create_table(
        "api_token",
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_api_token")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_api_token_account")),
        sa.UniqueConstraint("account", "name", name=op.f("uq_api_token_account_name")),
        sa.CheckConstraint("scope IN ('read', 'work')", name=op.f("ck_api_token_scope")),
    )
    op.create_table(
        "opening",
        sa.Column("id", number, nullable=False, autoincrement=True),
        sa.Column("account", sa.String(), nullable=False),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opening")),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_opening_account")),
        sa.CheckConstraint("until_ms > from_ms", name=op.f("ck_opening_until")),
    )
    op.create_index("ix_opening_account", "opening", ["account", "until_ms"])
