"""What the vault needs to be left alone."""

from shared.store.migrations.steps import run_sql_beside

revision = "0002_pre"
down_revision = "0001_pre"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0002_vault.pre.sql")
