"""`deposit`: it has succeeded when the hub has the unit. What the agent did with it stands in `deposits`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.orders import Deposit
from shared.store import channels
from worker.commands.kinds import Done, Kind, locked
from worker.commands.ordered_units import reference_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.channels.model import Channel
    from shared.store.commands import Command
    from shared.store.database import Connection
    from worker.commands.ordered_units import OrderedUnits
    from worker.depositing import Depositing
    from worker.guard import Guard


class DepositKind(Kind[Deposit]):
    """Adds to our deposit in a channel."""

    order = Deposit

    def __init__(self, guard: Guard, units: OrderedUnits, depositing: Depositing) -> None:
        self._guard = guard
        self._units = units
        self._depositing = depositing

    async def start(self, conn: Connection, command: Command, order: Deposit) -> Mapping[str, Any]:
        """Refuse what is refused already."""
        await self._depositing.check(conn, await locked(conn, command), order.amount)
        return {}

    async def follow(self, command: Command, order: Deposit) -> Done | None:
        """Make the unit, unless the channel has begun to close meanwhile."""
        async with self._guard.reading() as conn:
            stored = (await channels.find(conn, [command.aa_address or ""]))[command.aa_address or ""]

        async def is_wanted(conn: Connection, channel: Channel) -> None:
            await self._depositing.check(conn, channel, order.amount)

        unit_order = self._depositing.order(
            stored.channel, order.amount, reference=reference_of(command), is_wanted=is_wanted
        )
        unit = await self._units.follow(command, unit_order)
        return None if unit is None else Done({"unit": unit, "amount": order.amount})
