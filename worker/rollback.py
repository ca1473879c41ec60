"""A database that was restored must not speak for us before it agrees with the ledger.

What shows it                                                          found by
---------------------------------------------------------------------  -------------------------------------------
its pulse is behind the mark that is kept outside of it                `begin`, `Guard.marked`, `look`
it was worked with, and there is no mark to compare it with            `begin`
the ledger has a unit of ours that our journal does not know           `examine`
a peer closes with a package of ours for more than we have signed      `doubt_promise`

From then on every channel's current period is unsure (`shared.channels.doubt`): nothing is accepted, signed or closed
by us in it, while closings of peers are answered. Orders that were waiting are not carried out, and units that were on
their way are not posted again: both may have been, after the moment that the database was restored to. The doubt about
a channel ends with its period on the ledger; a person may end it earlier.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from shared.agent.responses import objects
from shared.channels.doubt import UNCONFIRMED_S
from shared.channels.ledger import Meaning
from shared.logs import get_logger
from shared.store import instance, journal
from shared.store.alarms import AlarmKind
from shared.store.errors import DatabaseRestoredError
from worker.pacing import Bell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

    from shared.obyte.history import ProvenUnit
    from shared.store.database import Connection
    from shared.store.instance import Instance
    from shared.store.mark import Mark
    from worker.alarms import Alarms
    from worker.guard import Guard

logger = get_logger(__name__)

STILL_RIGHT = (Meaning.CONFIRM, Meaning.FRAUD_PROOF)
"""Answers to a closing: what they say does not depend on what was signed after the backup."""
CLOCKS_DIFFER_S = 600
"""Units as little younger than the database prove nothing: the ledger's clock and ours may differ."""
UNUSED = 1
"""The pulse of a database on which one term began and did nothing: it may have ended before there was a mark."""
MAX_KNOWN = 10_000


@dataclass(frozen=True, slots=True)
class RollbackPace:
    """How often to look, in seconds."""

    look_s: float = 5.0


class Rollback:
    """Finds out, for one term of the lease, whether the database was restored, and sees the doubt to its end."""

    def __init__(self, guard: Guard, alarms: Alarms, own_address: str, pace: RollbackPace) -> None:
        self._guard = guard
        self._alarms = alarms
        self._own_address = own_address
        self._pace = pace
        self._bell = Bell()
        self._known: OrderedDict[str, None] = OrderedDict()

    async def begin(self) -> None:
        """Compare the database with its mark before anything is done with it. Raises StoreError."""
        mark = self._guard.mark
        mark.read()
        async with self._guard.transaction() as conn:
            here = await instance.read(conn)
            reason = None if here is None else _why_doubted(here, mark)
            pulse = await instance.beat(conn) if reason is None else await self._note(conn, reason)
        await mark.keep(pulse)

    async def run(self, stopping: asyncio.Event) -> None:
        """Look now and then until `stopping` is set. Raises StoreError, DatabaseRestoredError."""
        while not stopping.is_set():
            await self.look()
            await self._bell.sleep(self._pace.look_s)

    def wake(self) -> None:
        """Look now."""
        self._bell.ring()

    async def look(self) -> None:
        """End the doubt that has run out, and tell whether there is any left."""
        async with self._guard.marked() as conn:
            here = await instance.read(conn)
            if here is None or here.restored_at_s is None:
                unsure = 0
            else:
                await instance.end_idle_doubt(conn, UNCONFIRMED_S)
                unsure = await instance.count_unsure(conn)
        if here is None or here.restored_at_s is None or (not unsure and here.watcher_age_s is not None):
            self._alarms.clear(AlarmKind.RESTORED_DATABASE)
        else:
            self._alarms.raise_(AlarmKind.RESTORED_DATABASE, reason=here.restored_reason, unsure_channels=unsure)

    async def examine(self, units: Iterable[ProvenUnit]) -> None:
        """Look for units of ours that the journal does not know. Raises DatabaseRestoredError after noting it."""
        ours = [unit for unit in units if self._may_be_unknown(unit)]
        if not ours:
            return
        async with self._guard.reading() as conn:
            here = await instance.read(conn)
            strange = await journal.unknown(conn, [unit.unit_hash for unit in ours])
        for unit in ours:
            if unit.unit_hash in strange and here is not None and _is_later(here, _timestamp(unit)):
                await self.restored(
                    f"the ledger has the unit {unit.unit_hash} of our address, which our journal does not know: "
                    "it is a backup, or the same seed is used elsewhere"
                )
            self._known[unit.unit_hash] = None
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)

    async def doubt_promise(self, aa_address: str, at_s: int, *, signed: int, known: int) -> None:
        """A closing shows a package of ours: `signed` in all, of which `known` is on record.

        Raises DatabaseRestoredError after noting it.
        """
        async with self._guard.reading() as conn:
            here = await instance.read(conn)
        if here is not None and _is_later(here, at_s):
            await self.restored(
                f"the peer of {aa_address} closed with {signed} signed by us, of which {known} is on record: "
                "it is a backup, or the same seed is used elsewhere"
            )

    async def restored(self, reason: str) -> NoReturn:
        """Note that the database was restored and end this term: the next one begins with what is known now."""
        async with self._guard.transaction() as conn:
            pulse = await self._note(conn, reason)
        await self._guard.mark.keep(pulse)
        raise DatabaseRestoredError(reason)

    async def _note(self, conn: Connection, reason: str) -> int:
        pulse = await instance.note_restore(conn, reason, pulse=self._guard.mark.pulse, still_right=STILL_RIGHT)
        logger.warning("database_restored", reason=reason)
        return pulse

    def _may_be_unknown(self, unit: ProvenUnit) -> bool:
        return (
            unit.is_stable
            and not unit.is_nonserial
            and unit.unit_hash not in self._known
            and any(author.get("address") == self._own_address for author in objects(unit.unit.get("authors")))
        )


def _why_doubted(here: Instance, mark: Mark) -> str | None:
    """Return why a database must not be signed on when a term begins, None if nothing speaks against it."""
    if here.pulse < mark.pulse:
        return f"its pulse is {here.pulse} and was {mark.pulse} before: it is a backup, or lost transactions"
    if mark.is_missing and here.pulse > UNUSED:
        # What was lost may be payments alone, of which the ledger says nothing.
        return "it was worked with, and this machine has no mark to compare it with: it may be a backup"
    return None


def _is_later(here: Instance, at_s: int) -> bool:
    """Whether our books must know what happened then: older may be an imported seed's, or is doubted already."""
    return at_s > max(here.declared_at_s, here.restored_at_s or 0) + CLOCKS_DIFFER_S


def _timestamp(unit: ProvenUnit) -> int:
    timestamp = unit.unit.get("timestamp")
    return timestamp if isinstance(timestamp, int) else 0
