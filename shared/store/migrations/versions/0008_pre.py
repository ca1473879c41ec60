"""Keys that expire, channels that are given up."""

from shared.store.migrations.steps import run_sql_beside

revision = "0008_pre"
down_revision = "0007_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0008_keys_and_limits.pre.sql")
