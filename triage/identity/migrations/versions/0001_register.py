"""The register: patients with their identity, their cells, and all that was done."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "register_0001"  # not a step of the queue: one database cannot be both
down_revision = None

Json = sa.JSON().with_variant(JSONB(), "postgresql")
RowNumber = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
FOLLOWED = sa.text("closed_ms IS NULL")
NOW = sa.text("until_ms IS NULL")


def upgrade() -> None:
    """Make the three tables, and have the database refuse that what was done is changed."""
    op.create_table(
        "patient",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("ins", sa.String(), nullable=False),
        sa.Column("ins_oid", sa.String(), nullable=False),
        sa.Column("birth_name", sa.String(), nullable=False),
        sa.Column("used_name", sa.String()),
        sa.Column("given_name", sa.String(), nullable=False),
        sa.Column("birth_date", sa.Date(), nullable=False),
        sa.Column("sex", sa.String(), nullable=False),
        sa.Column("birth_place", sa.String(), nullable=False),
        sa.Column("telephones", Json, nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("protocols", Json, nullable=False),
        sa.Column("language", sa.String(), nullable=False),
        sa.Column("zone", sa.String()),
        sa.Column("enrolled_ms", sa.BigInteger(), nullable=False),
        sa.Column("enrolled_by", sa.String(), nullable=False),
        sa.Column("closed_ms", sa.BigInteger()),
        sa.Column("closed_by", sa.String()),
        sa.Column("close_reason", sa.String()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient")),
        sa.CheckConstraint("length(ins) = 15", name=op.f("ck_patient_ins")),
        sa.CheckConstraint("sex IN ('F', 'M', 'I')", name=op.f("ck_patient_sex")),
        sa.CheckConstraint(
            "(closed_ms IS NULL) = (closed_by IS NULL) AND (closed_ms IS NULL) = (close_reason IS NULL)",
            name=op.f("ck_patient_closed"),
        ),
        sa.CheckConstraint("closed_ms IS NULL OR closed_ms >= enrolled_ms", name=op.f("ck_patient_order")),
    )
    op.create_index(
        "uq_patient_followed_ins",
        "patient",
        ["ins"],
        unique=True,
        sqlite_where=FOLLOWED,
        postgresql_where=FOLLOWED,
    )
    op.create_index("ix_patient_cell", "patient", ["cell", "closed_ms"])
    op.create_index("ix_patient_birth_date", "patient", ["birth_date"])
    op.create_table(
        "stay",
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("cell", sa.String(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("until_ms", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stay")),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_stay_patient")),
        sa.CheckConstraint("until_ms IS NULL OR until_ms >= from_ms", name=op.f("ck_stay_order")),
    )
    op.create_index("uq_stay_now", "stay", ["patient"], unique=True, sqlite_where=NOW, postgresql_where=NOW)
    op.create_index("ix_stay_patient", "stay", ["patient", "from_ms"])
    op.create_table(
        "change",
        sa.Column("id", RowNumber, nullable=False, autoincrement=True),
        sa.Column("patient", sa.String(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("fields", Json, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change")),
        sa.ForeignKeyConstraint(["patient"], ["patient.id"], name=op.f("fk_change_patient")),
        sa.CheckConstraint(
            "action IN ('enrolled', 'updated', 'transferred', 'closed', 'read')",
            name=op.f("ck_change_action"),
        ),
    )
    op.create_index("ix_change_patient", "change", ["patient", "id"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION change_stays() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'what was done is never changed nor removed'; END $$"
        )
        op.execute(
            "CREATE TRIGGER change_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON change "
            "FOR EACH STATEMENT EXECUTE FUNCTION change_stays()"
        )
        return
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER change_stays_{act.lower()} BEFORE {act} ON change "
            "BEGIN SELECT RAISE(ABORT, 'what was done is never changed nor removed'); END"
        )
