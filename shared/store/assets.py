"""Assets: the lock under which an asset's unconfirmed allowance is used up, and what is at risk in its channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from shared.store.database import Connection

_LOCK = "SELECT asset FROM assets WHERE asset = ANY($1) ORDER BY asset FOR NO KEY UPDATE"


async def lock(conn: Connection, assets: Collection[str]) -> None:
    """Lock assets, in order, until the end of the transaction; the channels must be locked already.

    Whoever lets a channel rely on more unconfirmed deposits holds this, so the limit per asset is exact.
    """
    await conn.execute(_LOCK, list(assets))


@dataclass(frozen=True, slots=True)
class AssetExposure:
    """What was at risk in an asset when the worker last measured it, and whether the fronts must add nothing to it."""

    asset: str
    at_risk: int
    is_stopped: bool
    age_s: float | None
    """How long ago it was measured, in seconds; None if it never was."""


_EXPOSURES = """
    SELECT asset, at_risk, is_stopped,
           date_part('epoch', clock_timestamp() - at_risk_measured_at) AS age_s
      FROM assets
     WHERE at_risk > 0 OR is_stopped OR asset = ANY($1)
     ORDER BY asset
"""

# A measurement that says what is known already still says that it was made: the age is what tells a blind worker.
_RECORD = """
    UPDATE assets
       SET at_risk = measured.at_risk, is_stopped = measured.is_stopped, at_risk_measured_at = clock_timestamp()
      FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS measured (asset, at_risk, is_stopped)
     WHERE assets.asset = measured.asset
"""

_MAX_BIGINT = 2**63 - 1


_IS_STOPPED = "SELECT is_stopped FROM assets WHERE asset = $1"


async def is_stopped(conn: Connection, asset: str) -> bool:
    """Whether so much is at risk in the asset that nothing may be added to it."""
    return bool(await conn.fetchval(_IS_STOPPED, asset))


async def exposures(conn: Connection, listed: Collection[str] = ()) -> dict[str, AssetExposure]:
    """Return the assets in which something is at risk or that are stopped, and those in `listed`, by name."""
    rows = await conn.fetch(_EXPOSURES, list(listed))
    return {row["asset"]: AssetExposure(**row) for row in rows}


async def record_exposures(conn: Connection, measured: Sequence[tuple[str, int, bool]]) -> None:
    """Write (asset, at risk, is stopped) as measured now. Worker only, in a transaction."""
    await lock(conn, [asset for asset, _, _ in measured])
    await conn.execute(
        _RECORD,
        [asset for asset, _, _ in measured],
        [min(at_risk, _MAX_BIGINT) for _, at_risk, _ in measured],
        [is_stopped for _, _, is_stopped in measured],
    )
