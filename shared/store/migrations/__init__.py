"""The schema of the database, as steps of raw SQL in two branches.

`pre` steps expand: they add what the new release needs and leave the running one working. `post` steps contract:
they remove what nobody needs any more, once every process of the old release has gone. So releases N and N+1 run
side by side on the schema between the two.

A step is `versions/NNNN_what.pre.sql` (or `.post.sql`) with a revision module `NNNN_pre.py` beside it. Steps are
never edited after their release, each must work with the four second lock limit on a busy database, and a `pre`
step must not rely on the previous release's `post` step.
"""

from __future__ import annotations

from shared.store.migrations.revisions import REQUIRED_REVISION, Phase, Revisions, schema_is_usable

__all__ = ["REQUIRED_REVISION", "Phase", "Revisions", "current", "migrate", "schema_is_usable"]

# The tools that migrate are imported when they are used: a front asks whether the schema is usable and nothing else.


def migrate(dsn: str, phase: Phase = "all", *, wait_s: int = 30) -> Revisions:
    """Run the steps of the phase that the database does not have yet, and return where it stands.

    Several starters may call this at once: one works, the others wait (at most `wait_s` seconds) and find nothing
    left to do. A database that is ahead of this release is left alone. The login in `dsn` becomes the owner of the
    tables and must be able to create roles the first time; the connection must be a direct one, because the lock
    belongs to the session.

    Raises DatabaseUnavailableError when there is no primary to connect to, MigrationError for everything else.
    """
    from shared.store.migrations import migrating  # noqa: PLC0415

    return migrating.migrate(dsn, phase, wait_s)


def current(dsn: str) -> Revisions:
    """Return where a database's schema stands. Raises DatabaseUnavailableError."""
    from shared.store.migrations import migrating  # noqa: PLC0415

    return migrating.current(dsn)
