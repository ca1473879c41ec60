"""What every process has to know about this receiver: its network, its address, and whether its watcher is awake.

Also what shows that the database was restored to an earlier moment (`worker.rollback`): a pulse that grows with
everything the vault does, and since when a restore is known.
"""

# ruff: noqa: S608 - statements are joined from constants only

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.store import events
from shared.store.errors import InstanceMismatchError

if TYPE_CHECKING:
    from collections.abc import Collection

    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Instance:
    """The receiver that the database belongs to. Times are the database's, as seconds since 1970."""

    network: str
    own_address: str
    watcher_age_s: float | None
    """How long ago the watcher was last in step with the ledger; None if it never was, or not since a restore, or not
    since the server started: what the files of a backup say is no sign of life (`AWAKE_AGE_S`)."""
    now_s: float
    """The database's clock when this was read."""
    pulse: int
    declared_at_s: float
    """Everything that our address does on the ledger later than this is in our journal."""
    restored_at_s: float | None
    """When it was noticed that the database is older than what was done; None if it never was."""
    restored_reason: str | None
    agent_versions: tuple[str, ...] = ()
    """Versions of the channels agent that are published on the network, as far as is known."""


AWAKE_AGE_S = """CASE WHEN watcher_synced_at > pg_postmaster_start_time()
         THEN date_part('epoch', clock_timestamp() - watcher_synced_at) END"""
"""Between the start of a server with restored files and the start of the worker nobody has noticed the restore yet."""

_READ = f"""
    SELECT network, own_address, {AWAKE_AGE_S} AS watcher_age_s,
           date_part('epoch', clock_timestamp()) AS now_s, pulse, date_part('epoch', declared_at) AS declared_at_s,
           date_part('epoch', restored_at) AS restored_at_s, restored_reason, agent_versions
      FROM instance
"""

_DECLARE = "INSERT INTO instance (network, own_address) VALUES ($1, $2) ON CONFLICT DO NOTHING"

_HEARTBEAT = "UPDATE instance SET watcher_synced_at = clock_timestamp()"

_NOTE_PUBLISHED = """
    UPDATE instance
       SET agent_versions = (SELECT array_agg(DISTINCT version ORDER BY version)
                               FROM unnest(agent_versions || $1::text[]) AS version)
     WHERE NOT agent_versions @> $1::text[]
"""

_BEAT = "UPDATE instance SET pulse = pulse + 1 RETURNING pulse"


async def read(conn: Connection) -> Instance | None:
    """Return what is known of the receiver, None before its worker has started for the first time."""
    row = await conn.fetchrow(_READ)
    return None if row is None else Instance(**{**row, "agent_versions": tuple(row["agent_versions"])})


async def declare(conn: Connection, *, network: str, own_address: str) -> None:
    """Write down whose database this is, once. Raises InstanceMismatchError if it is somebody else's. Worker only."""
    await conn.execute(_DECLARE, network, own_address)
    found = await read(conn)
    if found is not None:
        check(found, network=network, own_address=own_address)


def check(here: Instance, *, network: str, own_address: str) -> None:
    """Raise InstanceMismatchError if the database is another receiver's."""
    if (here.network, here.own_address) != (network, own_address):
        raise InstanceMismatchError(
            f"this database belongs to {here.own_address} on {here.network}, not to {own_address} on {network}"
        )


async def heartbeat(conn: Connection) -> None:
    """Note that the watcher has seen everything there is on the ledger now. Worker only."""
    await conn.execute(_HEARTBEAT)


async def note_published(conn: Connection, versions: Collection[str]) -> None:
    """Note that versions of the channels agent are published: a ledger forgets nothing, so none goes. Worker only."""
    await conn.execute(_NOTE_PUBLISHED, list(versions))


async def beat(conn: Connection) -> int:
    """Let the pulse grow with what this transaction does, as its last statement; return it. Worker only.

    The row is then locked until the commit, and every lock that comes before it is taken already.
    """
    pulse: int = await conn.fetchval(_BEAT)
    return pulse


# ------------------------------------------------------------------------------------------------- after a restore

_ROOM = 1_000
_PATIENCE_S = 600.0
_BE_PATIENT = f"SET LOCAL statement_timeout = '{_PATIENCE_S:.0f}s'; SET LOCAL lock_timeout = '{_PATIENCE_S:.0f}s'"

_NOTE_RESTORE = f"""
    UPDATE instance
       SET restored_at = clock_timestamp(), restored_reason = $1,
           -- Beyond every mark that any worker may have kept.
           pulse = greatest(pulse, $2) + {_ROOM},
           -- Nobody accepts payments before the ledger was read.
           watcher_synced_at = NULL
    RETURNING pulse
"""

# Locks are taken in the order of addresses, as by those who take payments.
_DOUBT_ALL = """
    WITH locked AS (SELECT aa_address FROM channels ORDER BY aa_address FOR NO KEY UPDATE)
    UPDATE channels
       SET unsure_period = period + (status = 'closed')::int
      FROM locked
     WHERE channels.aa_address = locked.aa_address
"""

_FAIL_COMMANDS = """
    UPDATE commands
       SET state = 'failed', error = $1, finished_at = clock_timestamp()
     WHERE state IN ('queued', 'running')
"""

_FAIL_UNITS = """
    WITH given_up AS (
      UPDATE journal SET state = 'failed', error = $1, resolved_at = now()
       WHERE state IN ('composed', 'posted') AND purpose <> ALL($2)
      RETURNING aa_address, unit
    )
    UPDATE deposits
       SET state = 'bounced', settled_at = now()
      FROM given_up
     WHERE deposits.aa_address = given_up.aa_address AND deposits.unit = given_up.unit AND deposits.state = 'pending'
"""

_BEGAN_AT = """
    SELECT date_part('epoch', restored_at) AS restored_at_s,
           (SELECT min(unit_timestamp_s) FROM ledger_events WHERE aa_address = $1 AND period = $2) AS began_at_s,
           date_part('epoch', watcher_synced_at) AS read_until_s
      FROM instance
     WHERE restored_at IS NOT NULL
"""

_COUNT_UNSURE = "SELECT count(*) FROM channels WHERE unsure_period > 0"

_END_IDLE_DOUBT = """
    UPDATE channels SET unsure_period = 0
      FROM instance
     WHERE unsure_period > 0 AND status = 'closed'
       AND instance.watcher_synced_at > instance.restored_at + make_interval(secs => $1)
"""

_TRUST_CHANNELS = "UPDATE channels SET unsure_period = 0 WHERE unsure_period > 0 AND aa_address = ANY($1)"

_TRUST_ALL = "UPDATE channels SET unsure_period = 0 WHERE unsure_period > 0"

_TRUST_FROM_NOW = """
    UPDATE instance SET restored_at = NULL, restored_reason = NULL, declared_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class BeganAt:
    """What decides whether a period of a channel is unsure (`shared.channels.doubt`). Seconds since 1970."""

    restored_at_s: float
    began_at_s: int | None
    read_until_s: float | None


async def note_restore(conn: Connection, reason: str, *, pulse: int, still_right: Collection[str]) -> int:
    """Note that the database was restored: nothing in it may be signed on, paid on or carried out. Worker only.

    `pulse`: what it was known to have reached; the new one, which is returned, is greater. `still_right`: purposes of
    units that may be posted again, whatever has happened meanwhile. Call it in a transaction.
    """
    await conn.execute(_BE_PATIENT)
    await conn.execute(_DOUBT_ALL, timeout=_PATIENCE_S)
    error = "restored_database: it may have been carried out already; look, and order it again if it was not"
    await conn.execute(_FAIL_COMMANDS, error)
    await conn.execute(_FAIL_UNITS, "the database was restored while the fate of this unit was open", list(still_right))
    await events.begin_anew(conn)
    beaten: int = await conn.fetchval(_NOTE_RESTORE, reason, pulse)
    return beaten


async def began_at(conn: Connection, aa_address: str, period: int) -> BeganAt | None:
    """Return when a channel's period began on the ledger, by its recorded events; None if there was no restore."""
    row = await conn.fetchrow(_BEGAN_AT, aa_address, period)
    return None if row is None else BeganAt(**row)


async def count_unsure(conn: Connection) -> int:
    """Return how many channels have an unsure period."""
    count: int = await conn.fetchval(_COUNT_UNSURE)
    return count


async def end_idle_doubt(conn: Connection, after_s: float) -> int:
    """End the doubt about closed channels that were not opened again `after_s` seconds after the restore. Worker only.

    Returns how many there were. Nothing ends before the watcher has read the ledger up to then.
    """
    return int((await conn.execute(_END_IDLE_DOUBT, after_s)).removeprefix("UPDATE "))


async def trust(conn: Connection, addresses: Collection[str] | None = None) -> int:
    """End the doubt by a person's word, about some channels or about everything; return how many channels it was.

    Call it in a transaction.
    """
    if addresses is not None:
        return int((await conn.execute(_TRUST_CHANNELS, list(addresses))).removeprefix("UPDATE "))
    trusted = int((await conn.execute(_TRUST_ALL)).removeprefix("UPDATE "))
    await conn.execute(_TRUST_FROM_NOW)
    return trusted
