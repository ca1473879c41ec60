"""Assets: the lock under which an asset's unconfirmed allowance is used up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.store.database import Connection

_LOCK = "SELECT asset FROM assets WHERE asset = ANY($1) ORDER BY asset FOR NO KEY UPDATE"


async def lock(conn: Connection, assets: Collection[str]) -> None:
    """Lock assets, in order, until the end of the transaction; the channels must be locked already.

    Whoever lets a channel rely on more unconfirmed deposits holds this, so the limit per asset is exact.
    """
    await conn.execute(_LOCK, list(assets))
