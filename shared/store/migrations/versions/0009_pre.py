"""An archive for the payments of finished periods."""

from shared.store.migrations.steps import run_sql_beside

revision = "0009_pre"
down_revision = "0008_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0009_archive.pre.sql")
