"""Where a schema stands, and whether this release can work with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shared.store.database import Connection

VERSION_TABLE = "schema_revisions"
"""Where a database remembers which steps it has: one row for each branch."""

REQUIRED_REVISION = "0010_pre"
"""The expanding step without which this release does not work."""

LAST_CONTRACTION = "0010_post"
"""The newest contracting step made with this release in mind; a later one may have removed what it uses."""

Phase = Literal["all", "pre", "post"]


@dataclass(frozen=True, slots=True)
class Revisions:
    """The last step that a database has of each branch, None before the first."""

    pre: str | None
    post: str | None

    @classmethod
    def of(cls, versions: Iterable[str]) -> Revisions:
        """Read what the version table says."""
        newest = {version.rpartition("_")[2]: version for version in sorted(versions)}
        return cls(pre=newest.get("pre"), post=newest.get("post"))

    @property
    def are_usable(self) -> bool:
        """Newer is fine, as long as nothing that this release knows of was taken away."""
        return (self.pre or "") >= REQUIRED_REVISION and (self.post or "") <= LAST_CONTRACTION


READ_REVISIONS = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant


async def schema_is_usable(conn: Connection) -> bool:
    """Whether this release can work with the database's schema. Not inside a transaction that is to go on."""
    try:
        rows = await conn.fetch(READ_REVISIONS)
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError):
        return False
    return Revisions.of(row["version_num"] for row in rows).are_usable
