"""Answers that are kept for who asks again: what earlier releases needed goes."""

from shared.store.migrations.steps import run_sql_beside

revision = "0005_post"
down_revision = "0004_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0005_idempotency.post.sql")
