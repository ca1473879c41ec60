"""What alembic runs for every command: here on the connection that `migrating` has opened and locked."""

from __future__ import annotations

from alembic import context

from shared.store.migrations.revisions import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
