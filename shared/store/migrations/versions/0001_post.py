"""Nothing to take away yet: the branch of contracting steps starts here."""

from shared.store.migrations.steps import run_sql_beside

revision = "0001_post"
down_revision = None
branch_labels = ("post",)
depends_on = None


def upgrade() -> None:
    run_sql_beside(__file__, "0001_first_schema.post.sql")
