"""Webhooks."""

from shared.store.migrations.steps import run_sql_beside

revision = "0006_pre"
down_revision = "0005_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0006_webhooks.pre.sql")
