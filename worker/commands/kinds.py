"""What a kind of command is to the dispatcher.

    queued ──start──▶ running ──follow, again and again──▶ succeeded or failed
                         ▲ a crash: the next worker goes on with `follow`, by what `start` and the journal remember

`start` runs once, in the transaction that takes the command on: what it decides is decided together with the state it
looked at. `follow` may be cut off at any point and is then called again, by this worker or the next one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from shared.orders import Order, OrderError, read_order
from shared.store import channels, peer_units
from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.channels.model import Channel
    from shared.store.commands import Command
    from shared.store.database import Connection

OrderT = TypeVar("OrderT", bound=Order)


class Lane(StrEnum):
    """Whom a command waits for: those that wait for peers must not keep the others from being taken on."""

    LEDGER = "ledger"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Done:
    """A command has succeeded; `result` is JSON for whoever asked."""

    result: dict[str, Any] = field(repr=False)


class RefusedError(WorkerError):
    """A command cannot be carried out. `code` is stable; `result` tells what there is nevertheless."""

    def __init__(self, code: str, text: str, result: dict[str, Any] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.result = result


class Kind(ABC, Generic[OrderT]):
    """One kind of command. It keeps nothing that a crash may not take."""

    order: type[OrderT]
    lane: ClassVar[Lane] = Lane.LEDGER

    @abstractmethod
    async def start(self, conn: Connection, command: Command, order: OrderT) -> Done | Mapping[str, Any]:
        """Decide and return what to remember as `command.progress`, or that this was all.

        Raises RefusedError, and ChannelError when a rule of the channel forbids it: then nothing has happened.
        """

    async def follow(self, command: Command, order: OrderT) -> Done | None:  # noqa: ARG002 - for those who override
        """Do the next step and return None until it is known what has become of the command.

        Kinds that are done as soon as they begin have nothing to follow. Raises RefusedError, ChannelError, and
        StoreError when the database or the lease is gone.
        """
        return Done(dict(command.progress or {}))

    async def begin(self, conn: Connection, command: Command) -> Done | Mapping[str, Any]:
        """Check what any order has to be, then `start` it."""
        return await self.start(conn, command, self.read(command))

    async def proceed(self, command: Command) -> Done | None:
        """`follow` a command that has begun."""
        return await self.follow(command, self.read(command))

    def read(self, command: Command) -> OrderT:
        """Return what was ordered. Raises RefusedError `bad_command`."""
        if self.order.needs_channel and command.aa_address is None:
            raise RefusedError(OrderError.code, f"{self.order.kind} needs aa_address")
        try:
            return read_order(self.order, command.params)
        except OrderError as error:
            raise RefusedError(error.code, str(error)) from None


async def locked(conn: Connection, command: Command) -> Channel:
    """Lock and return the channel that a command is about. Raises RefusedError `unknown_channel`."""
    channel = None if command.aa_address is None else await channels.lock_one(conn, command.aa_address)
    if channel is None:
        raise RefusedError("unknown_channel", f"there is no channel {command.aa_address}")
    return channel


async def is_peer_closing(conn: Connection, aa_address: str) -> bool:
    """Whether an unconfirmed unit of the peer closes the channel."""
    return any(unit.closes for unit in (await peer_units.of(conn, [aa_address])).get(aa_address, ()))
