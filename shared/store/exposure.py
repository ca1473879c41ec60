"""Measuring what is at risk in all channels, in short steps, and asking for channels to be closed because of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.channels.exposure import BASE, MAX_CHANNELS_LISTED, REPAIRED_VERSIONS, AssetAtRisk, ChannelAtRisk
from shared.store import commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from shared.channels.exposure import ExposureRules
    from shared.store.database import Connection

PAGE = 10_000
SWEEP = "sweep"
"""Kind of a command: close the channel's period `params.period`, and go on with the channel afterwards."""

_UNLISTED = ""
"""No asset's name."""

MAX_ATTEMPTS = 64
_LONGEST_PAUSE_S = 3600

# What `at_risk`, `is_closable` and `is_ripe` of `shared.channels.exposure` say, in SQL: reading every channel into the
# worker would cost many times more. A test holds them equal. The statement is short whatever the number of channels:
# a long one would keep Postgres from reusing the space of busy rows.
_MEASURE = """
    WITH page AS MATERIALIZED (
      SELECT aa_address, asset, version, status, period, period_closed_by_me, unsure_period,
             deposited_by_me - spent_by_me + spent_by_peer - credit AS at_risk,
             greatest(0, deposited_by_me - spent_by_me) AS our_own
        FROM channels
       WHERE aa_address > $1
       ORDER BY aa_address
       LIMIT $2
    ), risky AS (
      SELECT aa_address, asset, at_risk,
             status = 'closing_initiated_by_peer' OR (status = 'open' AND period_closed_by_me = period) AS is_settling,
             status = 'open' AND period_closed_by_me <> period AND unsure_period <> period AS is_closable,
             at_risk - our_own >= greatest(1, coalesce(limits.sweep_above, $6)) AS is_ripe
        FROM page
        LEFT JOIN unnest($4::text[], $5::bigint[]) AS limits (asset, sweep_above) USING (asset)
       WHERE at_risk > 0 AND status <> 'closing_initiated_by_me' AND version <> ALL ($3::text[])
    ), ranked AS (
      SELECT *, row_number() OVER (
               PARTITION BY asset COLLATE "C", is_closable, is_ripe ORDER BY at_risk DESC, aa_address COLLATE "C"
             ) AS place
        FROM risky
    ), found AS (
      SELECT asset, sum(at_risk) AS total, sum(at_risk) FILTER (WHERE is_settling) AS settling,
             max(at_risk) AS greatest,
             array_agg((aa_address, at_risk)) FILTER (WHERE is_closable AND is_ripe AND place <= $7) AS ripe,
             array_agg((aa_address, at_risk)) FILTER (WHERE is_closable AND place <= $7) AS closable
        FROM ranked
       GROUP BY asset
    )
    SELECT last, found.*
      FROM (SELECT CASE WHEN count(*) = $2 THEN max(aa_address) END AS last FROM page) AS end_of_page
      LEFT JOIN found ON true
"""


@dataclass(frozen=True, slots=True)
class Page:
    """What was found in some of the channels; the next page is after `last`, None when there is none."""

    last: str | None
    found: dict[str, AssetAtRisk]


async def measure(conn: Connection, rules: ExposureRules, after: str = "", *, limit: int = PAGE) -> Page:
    """Measure what is at risk in the channels whose addresses follow `after`, at most `limit` of them."""
    listed = sorted({BASE, *rules.by_asset})
    rows = await conn.fetch(
        _MEASURE,
        after,
        limit,
        list(REPAIRED_VERSIONS),
        listed,
        [rules.of(asset).sweep_above for asset in listed],
        rules.of(_UNLISTED).sweep_above,
        MAX_CHANNELS_LISTED,
    )
    return Page(rows[0]["last"], {row["asset"]: _found(row) for row in rows if row["asset"] is not None})


_DEPOSITS_ON_THEIR_WAY = """
    SELECT channels.asset, sum(deposits.amount) AS amount
      FROM deposits JOIN channels USING (aa_address)
     WHERE deposits.state = 'pending' AND channels.version <> ALL ($1::text[])
     GROUP BY channels.asset
"""


async def deposits_on_their_way(conn: Connection) -> dict[str, int]:
    """Return by asset what we are depositing in channels that can be robbed: at risk as soon as it arrives."""
    rows = await conn.fetch(_DEPOSITS_ON_THEIR_WAY, list(REPAIRED_VERSIONS))
    return {row["asset"]: int(row["amount"]) for row in rows}


def _found(row: asyncpg.Record) -> AssetAtRisk:
    unordered = AssetAtRisk(
        total=int(row["total"]),
        settling=int(row["settling"] or 0),
        greatest=row["greatest"],
        ripe=tuple(ChannelAtRisk(*channel) for channel in row["ripe"] or ()),
        closable=tuple(ChannelAtRisk(*channel) for channel in row["closable"] or ()),
    )
    return AssetAtRisk().joined(unordered)


# ------------------------------------------------------------------------------------------------------------ sweeping

_ORDER_SWEEPS = """
    INSERT INTO commands (kind, aa_address, params, idempotency_key)
    SELECT 'sweep', aa_address, json_build_object('period', period), 'sweep:' || aa_address || ':' || period
      FROM unnest($1::text[], $2::bigint[]) AS channel (aa_address, period)
    ON CONFLICT (idempotency_key) DO NOTHING
    RETURNING id
"""

_ATTEMPTS = """
    SELECT count(*) AS made, count(*) FILTER (WHERE state IN ('queued', 'running')) AS unfinished,
           date_part('epoch', clock_timestamp() - max(finished_at)) AS idle_s
      FROM commands
     WHERE idempotency_key = ANY($1)
"""


async def order_sweeps(conn: Connection, channels: Sequence[tuple[str, int]]) -> list[int]:
    """Ask the worker to close (channel, period), each once however often it is asked for; return the new commands."""
    rows = await conn.fetch(_ORDER_SWEEPS, [address for address, _ in channels], [period for _, period in channels])
    return [row["id"] for row in rows]


async def order_sweep_again(conn: Connection, aa_address: str, period: int) -> int | None:
    """Ask for a period to be closed unless that is under way; return the command. The channel is locked. Worker only.

    An attempt that failed is made again after a pause that doubles each time: a closing that the agent turns down
    costs its fees.
    """
    keys = [_key(aa_address, period, attempt) for attempt in range(MAX_ATTEMPTS)]
    [row] = await conn.fetch(_ATTEMPTS, keys)
    made = row["made"]
    if row["unfinished"] or made == MAX_ATTEMPTS:
        return None
    if made and row["idle_s"] < min(2**made, _LONGEST_PAUSE_S):
        return None
    command = await commands.insert(conn, SWEEP, {"period": period}, idempotency_key=keys[made], aa_address=aa_address)
    return command.id


def _key(aa_address: str, period: int, attempt: int) -> str:
    first = f"sweep:{aa_address}:{period}"
    return f"{first}:{attempt}" if attempt else first
