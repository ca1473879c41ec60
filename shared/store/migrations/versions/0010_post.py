"""Lanes of webhooks are bounded: from now on they may be held."""

from shared.store.migrations.steps import run_sql_beside

revision = "0010_post"
down_revision = "0009_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0010_lanes.post.sql")
