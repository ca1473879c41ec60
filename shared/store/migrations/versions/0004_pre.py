"""What happened, for whoever wants to hear of it: the stream of events."""

from shared.store.migrations.steps import run_sql_beside

revision = "0004_pre"
down_revision = "0003_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0004_events.pre.sql")
