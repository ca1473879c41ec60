"""A nexus is one layer's state machine over one connection; a stack of them makes a session.

What goes in                                              | what it may do through its `Link`
----------------------------------------------------------|--------------------------------------------------
`on_created`: the layer below is usable                   | `request`, `notify`: send a message of its own
`on_message`: a message the layers below did not keep     | `announce`: be usable for the layer above, once
`on_send`: a message of the layers above                  | `pass_up`, `pass_down`: hand a message on
`on_timer`: a timer it has set is due                     | `emit`, `refuse`, `waiting`: report
`on_closed`: the connection has gone                      | `set_timer`, `cancel_timer`, `close`

A nexus keeps a `state` and a `TABLE` from state and kind of message to what is done then. What stands not in its table
is handed up; a nexus without a table and an `on_created` of its own is transparent.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar

from shared.moneysocket.messages import Message, Notification, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import Enum

    from shared.moneysocket.events import Event
    from shared.moneysocket.limits import Limits
    from shared.moneysocket.seeds import SharedSeed

Asked = TypeVar("Asked", bound=Request)
Handler: TypeAlias = "Callable[[Any, Any], None]"
Table: TypeAlias = "Mapping[tuple[Enum, type[Message]], Handler]"


class Link(Protocol):
    """A nexus' hold on its session."""

    @property
    def now_s(self) -> float:
        """The time that was handed in last, for timers and round trips."""

    @property
    def seed(self) -> SharedSeed:
        """The seed of the connection."""

    @property
    def limits(self) -> Limits:
        """The limits of the connection."""

    def request(self, kind: type[Asked], request_uuid: str | None = None, **fields: Any) -> Asked:
        """Send a request, under a new uuid unless one is given, and return it."""

    def notify(self, kind: type[Notification], reference: str | None, **fields: Any) -> None:
        """Send a notification."""

    def announce(self) -> None:
        """Be usable for the layer above; a second call does nothing."""

    def waiting(self) -> None:
        """Report that the nexus waits for the other end or for the application."""

    def pass_up(self, message: Message) -> None:
        """Hand a message to the layer above."""

    def pass_down(self, message: Message) -> None:
        """Hand a message to the layer below, in the end to the wire."""

    def emit(self, event: Event) -> None:
        """Report something."""

    def refuse(self, code: str, text: str) -> None:
        """Report that a message is dropped; too many of that close the connection."""

    def set_timer(self, name: str, delay_s: float) -> None:
        """Have `on_timer(name)` called after `delay_s`; replaces a timer of the same name."""

    def cancel_timer(self, name: str) -> None:
        """Forget a timer, if it is set."""

    def close(self, code: str) -> None:
        """Have the transport closed; codes as in `CloseWanted`."""


class Nexus:
    """Base of all nexuses, and a transparent one."""

    LAYER: ClassVar[str] = "NEXUS"
    KINDS: ClassVar[tuple[type[Message], ...]] = ()
    """Messages this layer adds to the protocol."""
    TABLE: ClassVar[Table] = MappingProxyType({})

    state: Enum
    link: Link

    def on_created(self) -> None:
        """The layer below is usable; `link` is set."""
        self.link.announce()

    def on_message(self, message: Message) -> None:
        """Look up what is to be done; hand up what stands not in the table."""
        handler = self.TABLE.get((self.state, type(message))) if self.TABLE else None
        if handler is None:
            self.on_other(message)
        else:
            handler(self, message)

    def on_other(self, message: Message) -> None:
        """A message that stands not in the table."""
        self.link.pass_up(message)

    def on_send(self, message: Message) -> None:
        """A layer above sends a message."""
        self.link.pass_down(message)

    def on_timer(self, name: str) -> None:
        """A timer is due."""

    def on_closed(self) -> None:
        """The connection has gone."""
