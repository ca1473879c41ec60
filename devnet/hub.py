"""One hub, without sockets: what its connections have in common. Several hubs may serve one ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from devnet.events import LedgerEvent, SystemVarsChanged
from devnet.faults import Faults
from devnet.relay import Relay
from devnet.watching import Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from devnet.ledger import Ledger
    from shared.obyte.serialization import JsonValue


class Connection(Protocol):
    """What a hub does with one of its connections by itself."""

    def justsaying(self, subject: str, body: JsonValue = None) -> None:
        """Send a one-way message."""

    def send_raw(self, frame: str | bytes) -> None:
        """Send a frame of any content."""

    def repeat_system_vars(self) -> None:
        """Tell the system variables to a client that was told them before."""

    def cut(self) -> None:
        """End the connection at once."""


class Hub:
    """A hub of a ledger, with devices, watches and faults of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.faults = Faults()
        self.relay = Relay()
        self.watches = Watches()
        self._connections: set[Connection] = set()
        self._held: list[LedgerEvent] | None = None
        ledger.subscribe(self._hear)

    def enter(self, connection: Connection) -> None:
        """Take in a new connection."""
        self._connections.add(connection)

    def leave(self, connection: Connection) -> None:
        """Forget a connection that is gone: watches and logins end with it."""
        self._connections.discard(connection)
        self.watches.forget(connection)
        self.relay.log_out(connection)

    def drop_connections(self) -> None:
        """Cut every connection without a word."""
        for connection in list(self._connections):
            connection.cut()

    def say(self, subject: str, body: JsonValue = None) -> None:
        """Tell every client something: an `error`, that an `upgrade_required` is, news that are not true."""
        for connection in list(self._connections):
            connection.justsaying(subject, body)

    def send_raw(self, frame: str | bytes) -> None:
        """Send every client a frame of any content."""
        for connection in list(self._connections):
            connection.send_raw(frame)

    def repeat_system_vars(self) -> None:
        """Tell the system variables to every client that was told them before."""
        for connection in list(self._connections):
            connection.repeat_system_vars()

    def hold_news(self) -> None:
        """Keep the news of the ledger back; questions are still answered with all that is there."""
        if self._held is None:
            self._held = []

    def release_news(self, reorder: Callable[[Sequence[LedgerEvent]], Sequence[LedgerEvent]] = list) -> None:
        """Tell what was held back, in another order if `reorder` makes one of it (`lambda news: news[::-1]`)."""
        held, self._held = self._held or [], None
        for event in reorder(held):
            self._tell(event)

    def _hear(self, event: LedgerEvent) -> None:
        perceived = self.faults.perceived(event)
        if perceived is None:
            return
        if self._held is not None:
            self._held.append(perceived)
        else:
            self._tell(perceived)

    def _tell(self, event: LedgerEvent) -> None:
        if isinstance(event, SystemVarsChanged):
            self.repeat_system_vars()
        self.watches.tell(event)
