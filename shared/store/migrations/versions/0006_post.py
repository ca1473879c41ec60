"""Webhooks: what earlier releases needed goes."""

from shared.store.migrations.steps import run_sql_beside

revision = "0006_post"
down_revision = "0005_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0006_webhooks.post.sql")
