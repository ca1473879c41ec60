"""Lanes of webhooks are bounded: one busy channel does not fill a whole webhook."""

from shared.store.migrations.steps import run_sql_beside

revision = "0010_pre"
down_revision = "0009_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0010_lanes.pre.sql")
