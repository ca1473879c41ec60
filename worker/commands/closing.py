"""`close` and `sweep`: from the transaction that takes the command on, nothing more is accepted in the period.

They have succeeded when the hub has the closing unit. Settlement makes and posts that unit. If the peer's closing was
before it all the same, and robbed us, `robberies.record` corrects the outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from shared.channels.closing import order_close
from shared.channels.ledger import Meaning
from shared.channels.model import Status
from shared.orders import Close, Sweep
from shared.store import channels, journal, refills, robberies
from shared.store.journal import UnitState
from worker.commands.kinds import Done, Kind, RefusedError, is_peer_closing, locked

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.channels.model import Channel
    from shared.store.commands import Command
    from shared.store.database import Connection
    from worker.guard import Guard

EndingT = TypeVar("EndingT", Close, Sweep)


class _Ending(Kind[EndingT]):
    """Orders the closing and sees what becomes of it."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def start(self, conn: Connection, command: Command, order: EndingT) -> Done | Mapping[str, Any]:
        """Order the closing; what to remember is the period that it ends."""
        return await self._order_close(conn, await locked(conn, command), order)

    async def _order_close(self, conn: Connection, channel: Channel, order: EndingT) -> dict[str, Any]:
        if order.period is not None and order.period != channel.current_period:
            raise RefusedError("wrong_period", f"period {order.period} is not the current one")
        ordered, _ = order_close(channel, peer_is_closing=await is_peer_closing(conn, channel.aa_address))
        await channels.save_transition(conn, ordered)
        return {"period": channel.period}

    async def follow(self, command: Command, order: EndingT) -> Done | None:  # noqa: ARG002 - a kind's way
        """See what has become of the ordered closing."""
        period = (command.progress or {})["period"]
        async with self._guard.transaction() as conn:
            channel = await locked(conn, command)
            entries = await journal.of_channel(conn, channel.aa_address)
            robbery = await robberies.find(conn, channel.aa_address, period)
        if robbery is not None:
            raise RefusedError("robbed", robberies.told(robbery))
        units = [entry for entry in entries if entry.purpose == Meaning.CLOSE and entry.period == period]
        last = units[-1] if units else None
        if last is not None and last.state in (UnitState.POSTED, UnitState.STABLE):
            return Done({"unit": last.unit})
        if channel.period == channel.period_closed_by_me == period:
            if channel.status is Status.OPEN:
                return None  # settlement is at it
            raise RefusedError("peer_was_first", "the peer has closed the channel meanwhile")
        raise RefusedError("not_closed", last.error if last is not None and last.error else "the period is over")


class SweepKind(_Ending[Sweep]):
    """Ends the period; auto refill, where it is on, begins the next one."""

    order = Sweep


class CloseKind(_Ending[Close]):
    """Ends the period and auto refill with it, so that the channel stays closed."""

    order = Close

    async def start(self, conn: Connection, command: Command, order: Close) -> Done | Mapping[str, Any]:
        """Order the closing; where there is none to order, switching auto refill off may be all there is to do."""
        channel = await locked(conn, command)
        was_refilled = await refills.of(conn, channel.aa_address) is not None
        if was_refilled:
            await refills.switch(conn, channel.aa_address, None)
            if channel.status is not Status.OPEN or channel.period_closed_by_me == channel.period:
                return Done({"unit": None, "auto_refill": "off"})
        return await self._order_close(conn, channel, order)
