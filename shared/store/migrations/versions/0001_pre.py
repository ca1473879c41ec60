"""The first schema."""

from shared.store.migrations.steps import run_sql_beside

revision = "0001_pre"
down_revision = None
branch_labels = ("pre",)
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0001_first_schema.pre.sql")
