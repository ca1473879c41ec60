"""The schema of the database, as steps of raw SQL in two branches.

`pre` steps expand: they add what the new release needs and leave the running one working. `post` steps contract:
they remove what nobody needs any more, once every process of the old release has gone. So releases N and N+1 run
side by side on the schema between the two.

A step is `versions/NNNN_what.pre.sql` (or `.post.sql`) with a revision module `NNNN_pre.py` beside it. Steps are
never edited after their release, each must work with the four second lock limit on a busy database, and a `pre`
step must not rely on the previous release's `post` step.
"""

from shared.store.migrations.migrating import REQUIRED_REVISION, Phase, Revisions, current, migrate, schema_is_usable

__all__ = ["REQUIRED_REVISION", "Phase", "Revisions", "current", "migrate", "schema_is_usable"]
