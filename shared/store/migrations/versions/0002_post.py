"""What the vault needs to be left alone: what earlier releases needed goes."""

from shared.store.migrations.steps import run_sql_beside

revision = "0002_post"
down_revision = "0001_post"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0002_vault.post.sql")
