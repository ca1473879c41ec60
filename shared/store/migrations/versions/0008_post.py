"""Keys that expire, channels that are given up: what earlier releases needed goes."""

from shared.store.migrations.steps import run_sql_beside

revision = "0008_post"
down_revision = "0007_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0008_keys_and_limits.post.sql")
