"""`withdraw` and `publish_agent`: units that are for no channel. They have succeeded when the hub has the unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared.obyte.agents import CHANNELS_BASE_AA, PUBLISHABLE_VERSIONS, publication_message
from shared.orders import PublishAgent, Withdraw
from shared.store import instance
from worker.commands.kinds import Done, Kind, RefusedError
from worker.commands.ordered_units import reference_of
from worker.wallet import Purpose, UnitOrder, order_withdrawal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.store.commands import Command
    from shared.store.database import Connection
    from worker.commands.ordered_units import OrderedUnits

PUBLISH_AGENT = "publish_agent"


class WithdrawKind(Kind[Withdraw]):
    """Pays out of the wallet."""

    order = Withdraw

    def __init__(self, units: OrderedUnits) -> None:
        self._units = units

    async def start(self, conn: Connection, command: Command, order: Withdraw) -> Mapping[str, Any]:  # noqa: ARG002
        """There is nothing to decide: the wallet refuses what it cannot pay."""
        return {}

    async def follow(self, command: Command, order: Withdraw) -> Done | None:
        """Make the unit."""
        amount = None if order.amount == "all" else order.amount
        withdrawal = order_withdrawal(
            order.address, amount, order.asset, reference=reference_of(command), to_agent=order.to_agent
        )
        unit = await self._units.follow(command, withdrawal)
        return None if unit is None else Done({"unit": unit})


class PublishAgentKind(Kind[PublishAgent]):
    """Publishes a channels agent of ours on this network."""

    order = PublishAgent

    def __init__(self, units: OrderedUnits) -> None:
        self._units = units

    async def start(self, conn: Connection, command: Command, order: PublishAgent) -> Mapping[str, Any]:  # noqa: ARG002
        """Refuse versions that are not ours to publish, and those that somebody has published."""
        if order.version not in PUBLISHABLE_VERSIONS:
            raise RefusedError("unknown_agent_version", f"version {order.version} is not one that we publish")
        here = await instance.read(conn)
        if here is not None and order.version in here.agent_versions:
            address = CHANNELS_BASE_AA[order.version]
            raise RefusedError("already_published", f"version {order.version} is on this network already, as {address}")
        return {}

    async def follow(self, command: Command, order: PublishAgent) -> Done | None:
        """Make the unit."""

        async def is_wanted(_conn: Connection) -> bool:
            return True

        unit = await self._units.follow(
            command,
            UnitOrder(
                purpose=Purpose(PUBLISH_AGENT, reference=reference_of(command)),
                payments=(),
                messages=(publication_message(order.version),),
                is_wanted=is_wanted,
                max_aa_responses=None,
            ),
        )
        return None if unit is None else Done({"unit": unit, "agent": CHANNELS_BASE_AA[order.version]})
