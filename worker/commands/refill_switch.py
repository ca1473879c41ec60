"""`auto_refill`: deposit by ourselves when little is left in a channel, or no longer. `worker.refilling` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.depositing import check_amount
from shared.channels.refilling import AutoRefill as Refill
from shared.orders import AutoRefill
from shared.store import refills
from worker.commands.kinds import Done, Kind, locked

if TYPE_CHECKING:
    from shared.store.commands import Command
    from shared.store.database import Connection


class AutoRefillKind(Kind[AutoRefill]):
    """Sets or clears a channel's refill; there is nothing to follow."""

    order = AutoRefill

    async def start(self, conn: Connection, command: Command, order: AutoRefill) -> Done:
        """Set what was ordered."""
        channel = await locked(conn, command)
        if order.amount is None or order.threshold is None:
            await refills.switch(conn, channel.aa_address, None)
            return Done({"auto_refill": "off"})
        check_amount(order.amount, channel.asset)
        await refills.switch(conn, channel.aa_address, Refill(threshold=order.threshold, amount=order.amount))
        return Done({"auto_refill": "on", "amount": order.amount, "threshold": order.threshold})
