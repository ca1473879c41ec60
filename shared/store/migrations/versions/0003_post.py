"""Peers that are reached by encrypted device messages: what earlier releases needed goes."""

from shared.store.migrations.steps import run_sql_beside

revision = "0003_post"
down_revision = "0002_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0003_devices.post.sql")
