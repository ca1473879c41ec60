"""How a revision runs: the SQL file beside it, as it stands."""

from __future__ import annotations

from pathlib import Path

from alembic import op


def run_sql_beside(revision_file: str, name: str) -> None:
    """Execute every statement of the SQL file `name` in the revision's folder."""
    sql = Path(revision_file).with_name(name).read_text(encoding="utf-8")
    # Without parameters the driver sends the text in one simple query: many statements, and % means nothing.
    op.get_bind().exec_driver_sql(sql, execution_options={"no_parameters": True})
