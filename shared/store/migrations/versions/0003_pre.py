"""Peers that are reached by encrypted device messages."""

from shared.store.migrations.steps import run_sql_beside

revision = "0003_pre"
down_revision = "0002_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0003_devices.pre.sql")
