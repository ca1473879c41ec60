"""Deposits of ours: when one may be made, the unit that makes it, and its record."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shared.channels.depositing import check_deposit
from shared.channels.errors import NotDepositableError
from shared.channels.exposure import may_deposit
from shared.channels.ledger import Meaning
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.obyte.composing import Output
from shared.store import assets, channels, deposits, peer_units, robberies
from worker.wallet import Purpose, UnitOrder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.channels.exposure import ExposureRules
    from shared.channels.model import Channel
    from shared.store.database import Connection


@dataclass(frozen=True, slots=True)
class Depositing:
    """Makes orders for deposits within the limits of what may be at risk."""

    exposure: ExposureRules

    async def check(self, conn: Connection, channel: Channel, amount: int) -> None:
        """Check that a deposit may be sent now. The channel is locked. Raises ChannelError."""
        units = (await peer_units.of(conn, [channel.aa_address])).get(channel.aa_address, ())
        check_deposit(channel, amount, peer_is_closing=any(unit.closes for unit in units))
        await self.check_exposure(conn, channel, amount)

    async def check_exposure(self, conn: Connection, channel: Channel, amount: int) -> None:
        """Check that our money in the channel stays within the limits. Raises ExposureError."""
        measured = (await assets.exposures(conn, [channel.asset])).get(channel.asset)
        has_robbed = await channels.peer_has_robbed(conn, channel.peer_address)
        may_deposit(
            replace(channel, peer_has_robbed=has_robbed),
            amount,
            self.exposure.of(channel.asset),
            pending_deposits=await deposits.pending_amount(conn, channel.aa_address),
            total_at_risk=measured.at_risk if measured else 0,
            robbed=(await robberies.amounts(conn)).get(channel.asset, 0),
            is_stopped=measured.is_stopped if measured else False,
        )

    def order(
        self,
        channel: Channel,
        amount: int,
        *,
        reference: str,
        is_wanted: Callable[[Connection, Channel], Awaitable[None]],
        is_refill: bool = False,
    ) -> UnitOrder:
        """Return the order for a unit that deposits `amount`.

        `is_wanted` is asked about the locked channel in the transaction that journals the unit, and raises if not.
        """

        async def look(conn: Connection) -> bool:
            locked = await channels.lock_one(conn, channel.aa_address)
            if locked is None:
                raise NotDepositableError("the channel is gone")
            await is_wanted(conn, locked)
            return True

        order = deposit_unit(channel, amount, reference=reference, is_wanted=look, is_refill=is_refill)
        return replace(order, max_aa_responses=1)


def deposit_unit(
    channel: Channel,
    amount: int,
    *,
    reference: str,
    is_wanted: Callable[[Connection], Awaitable[bool]],
    is_refill: bool = False,
) -> UnitOrder:
    """Return the order for a unit that pays `amount` to the agent and is on record as a deposit with its journal entry.

    In another asset than bytes the agent's own bytes go along.
    """
    payments = [Output(channel.aa_address, amount, channel.asset)]
    if channel.asset != BASE:
        payments.insert(0, Output(channel.aa_address, MIN_AGENT_BYTES))

    async def record(conn: Connection, unit: str) -> None:
        await deposits.add(conn, channel.aa_address, unit, amount, is_refill=is_refill)

    return UnitOrder(
        purpose=Purpose(Meaning.DEPOSIT.value, channel.aa_address, channel.current_period, reference),
        payments=tuple(payments),
        messages=(),
        is_wanted=is_wanted,
        max_aa_responses=None,
        on_journaled=record,
        policy="all",
    )
