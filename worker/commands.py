"""What fronts ask for: rows in `commands`, taken one by one, each outcome written back.

`close` (of a channel): from the transaction that takes the command on, nothing more is accepted in the period; it has
succeeded when the hub has the closing unit, `{"unit": …}`. Settlement makes and posts that unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.bus import COMMAND
from shared.channels.closing import order_close
from shared.channels.errors import NotClosableError
from shared.channels.ledger import Meaning
from shared.channels.model import Channel, Status
from shared.logs import get_logger
from shared.store import channels, commands, journal, peer_units
from shared.store.journal import UnitState
from worker.pacing import Bell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from shared.bus import Bus
    from shared.store.commands import Command
    from shared.store.database import Connection
    from worker.guard import Guard

logger = get_logger(__name__)

CLOSE = "close"
POLL_S = 1.0
MAX_RUNNING = 100
"""Commands that wait for their units at the same time; the others stay queued."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a command cannot be carried out: a stable code and a sentence."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


class Commands:
    """Carries commands out for one term of the lease. `on_change` is told of every channel that has changed."""

    def __init__(self, guard: Guard, bus: Bus, on_change: Callable[[str], None]) -> None:
        self._guard = guard
        self._bus = bus
        self._on_change = on_change
        self._bell = Bell()
        self._closing: dict[int, tuple[str, int]] = {}

    def wake(self) -> None:
        """There may be a new command, or news about one that is running."""
        self._bell.ring()

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry commands out until `stopping` is set; a step in hand is finished first. Raises StoreError."""
        async with self._guard.transaction() as conn:
            await commands.requeue_stale(conn, self._guard.lease)
        while not stopping.is_set():
            while len(self._closing) < MAX_RUNNING and not stopping.is_set() and await self._take_next():
                pass
            for command_id in tuple(self._closing):
                await self._follow_close(command_id)
            await self._bell.sleep(POLL_S)

    async def hear(self) -> None:
        """Listen to the fronts' events; without Redis commands are found by polling. Runs forever."""
        with self._bus.subscribe(COMMAND) as events:
            async for _ in events:
                self._bell.ring()

    async def _take_next(self) -> bool:
        """Take a command on; False when none is queued."""
        async with self._guard.transaction() as conn:
            command = await commands.claim_next(conn, self._guard.lease)
            if command is None:
                return False
            outcome = await self._start(conn, command)
            if isinstance(outcome, _Refusal):
                await commands.fail(conn, command.id, self._guard.lease, str(outcome))
        if isinstance(outcome, _Refusal):
            logger.warning("command_failed", command=command.id, kind=command.kind, reason=str(outcome))
            self._bus.publish(COMMAND, {"id": command.id})
        else:
            aa_address, period = self._closing[command.id] = outcome
            logger.info("close_ordered", command=command.id, aa_address=aa_address, period=period)
            self._on_change(aa_address)
        return True

    async def _start(self, conn: Connection, command: Command) -> tuple[str, int] | _Refusal:
        """Order the closing; returns the channel and the period that it ends."""
        if command.kind != CLOSE:
            return _Refusal("unknown_command", f"this worker knows no command {command.kind!r}")
        if command.aa_address is None:
            return _Refusal("bad_command", "close needs aa_address")
        channel = await channels.lock_one(conn, command.aa_address)
        if channel is None:
            return _Refusal("unknown_channel", f"there is no channel {command.aa_address}")
        ordered_before = await _period_ordered_before(conn, command, channel)
        if ordered_before is not None:
            return channel.aa_address, ordered_before
        units = (await peer_units.of(conn, [channel.aa_address])).get(channel.aa_address, ())
        try:
            ordered, _ = order_close(channel, peer_is_closing=any(unit.closes for unit in units))
        except NotClosableError as error:
            return _Refusal(error.code, str(error))
        await channels.save_transition(conn, ordered)
        return channel.aa_address, channel.period

    async def _follow_close(self, command_id: int) -> None:
        """See what has become of an ordered closing, and finish its command when that is known."""
        aa_address, period = self._closing[command_id]
        async with self._guard.transaction() as conn:
            channel = await channels.lock_one(conn, aa_address)
            entries = await journal.of_channel(conn, aa_address)
            units = [entry for entry in entries if entry.purpose == Meaning.CLOSE and entry.period == period]
            last = units[-1] if units else None
            if last is not None and last.state in (UnitState.POSTED, UnitState.STABLE):
                await commands.finish(conn, command_id, self._guard.lease, {"unit": last.unit})
                reason = None
            elif channel is not None and channel.period == channel.period_closed_by_me == period:
                if channel.status is Status.OPEN:
                    return  # settlement is at it
                reason = _Refusal("peer_was_first", "the peer has closed the channel meanwhile")
            else:
                why = last.error if last is not None and last.error else "the period is over"
                reason = _Refusal("not_closed", why)
            if reason is not None:
                await commands.fail(conn, command_id, self._guard.lease, str(reason))
        del self._closing[command_id]
        logger.info("command_done", command=command_id, aa_address=aa_address, reason=reason and str(reason))
        self._bus.publish(COMMAND, {"id": command_id})


async def _period_ordered_before(conn: Connection, command: Command, channel: Channel) -> int | None:
    """Return the period that an earlier attempt at this command has ordered closed, before its worker stopped."""
    if command.attempts <= 1:
        return None
    if channel.status is Status.OPEN and channel.period_closed_by_me == channel.period:
        return channel.period
    periods = [
        entry.period
        for entry in await journal.of_channel(conn, channel.aa_address)
        if entry.purpose == Meaning.CLOSE and entry.created_at >= command.created_at
    ]
    return periods[-1] if periods else None
