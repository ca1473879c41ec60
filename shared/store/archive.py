"""The archive of payments: where those of finished periods go, and what is left of months that were dropped.

A payment is in `payments` or in `payments_archive`, never in both and never in neither: it is moved by one statement,
and only from here to there. So who looks in `payments` first and then in the archive misses nothing. Everything that
lists or sums reads both (the view `all_payments`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date

    from shared.store.database import Connection
    from shared.store.payments import Filter

_MAY_MOVE = """
    SELECT has_function_privilege('archive_payments(text, integer, integer, double precision)', 'EXECUTE')
"""

_MOVE = "SELECT moved, last_channel FROM archive_payments($1, $2, $3, $4)"

_DROP = "SELECT drop_payments_month($1)"

_DROPPED = """
    SELECT month, asset, sum(payments)::bigint AS count, sum(amount)::text AS amount
      FROM payments_by_month JOIN payments_months USING (month)
     WHERE dropped_at IS NOT NULL AND {matches}
     GROUP BY month, asset ORDER BY month, asset
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """One step through the channels. `last_channel`: the last one that was looked at, None after the end."""

    payments: int
    last_channel: str | None


@dataclass(frozen=True, slots=True)
class DroppedMonth:
    """What the payments of a month come to that are on record no more. `month`: its first day, by UTC."""

    month: date
    asset: str
    count: int
    amount: int

    @property
    def begins_at(self) -> datetime:
        """When the month began."""
        return datetime.combine(self.month, time(), UTC)


async def may_move(conn: Connection) -> bool:
    """Whether payments may be moved: as soon as no process of the previous release can be looking for them."""
    allowed: bool = await conn.fetchval(_MAY_MOVE)
    return allowed


async def move(conn: Connection, after: str, older_than_s: float, *, channels: int, limit: int) -> Moved:
    """Move payments of the next `channels` channels after this address to the archive, at most `limit` of them.

    Moved are those of periods whose end was seen longer ago than `older_than_s`, as far as they have left the stream of
    events. As many as `limit`: there may be more of these channels. Worker only.
    """
    [row] = await conn.fetch(_MOVE, after, channels, limit, older_than_s)
    return Moved(row["moved"], row["last_channel"])


async def drop_month(conn: Connection, older_than_s: float) -> date | None:
    """Drop the oldest month of the archive if all of it is older than this, and return it. Its sums stay. Worker only.

    Raises DatabaseBusyError when somebody reads the archive for long.
    """
    dropped: date | None = await conn.fetchval(_DROP, older_than_s)
    return dropped


async def dropped(conn: Connection, which: Filter) -> list[DroppedMonth]:
    """Return the sums of months that were dropped. `since` and `until` are no matter here.

    Sums know only channels and assets: for a filter by period or amount there are none.
    """
    if any(value is not None for value in (which.period, which.min_amount, which.max_amount)):
        return []
    conditions, arguments = ["true"], []
    for condition, value in (
        ("aa_address = ${}", which.aa_address),
        ("asset = ${}", which.asset),
        ("aa_address IN (SELECT aa_address FROM channels WHERE peer_address = ${})", which.peer_address),
    ):
        if value is not None:
            arguments.append(value)
            conditions.append(condition.format(len(arguments)))
    rows = await conn.fetch(_DROPPED.format(matches=" AND ".join(conditions)), *arguments)
    return [DroppedMonth(row["month"], row["asset"], row["count"], int(row["amount"])) for row in rows]
