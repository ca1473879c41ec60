"""The consumer: finds out who provides, then keeps the connection alive with pings.

| state   | NotifyProvider              | NotifyProviderNotReady | RequestProvider   | timer             |
|---------|-----------------------------|------------------------|-------------------|-------------------|
| ASKING  | READY, announce, tell, ping | WAITING, tell          | close `same_role` | `nobody_answered` |
| WAITING | READY, announce, tell, ping | tell                   | close `same_role` | `not_ready`       |
| READY   | tell                        | tell                   | close `same_role` | ping; `silent`    |

RequestPing is answered and NotifyPong measured in every state. Everything else is handed up. Whoever sends
RequestProvider is a consumer, too: in the reference two of them wait for each other for ever.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar

from shared.moneysocket.events import ProviderKnown, ProviderNotReady
from shared.moneysocket.messages import Message, NotifyProvider, NotifyProviderNotReady, RequestProvider
from shared.moneysocket.nexus import Nexus, Table
from shared.moneysocket.pinging import Pinging


class ConsumerState(Enum):
    """See the table above."""

    ASKING = auto()
    WAITING = auto()
    READY = auto()


class ConsumerNexus(Nexus):
    """The layer above the rendezvous, at the end that asks for invoices and payments."""

    LAYER = "CONSUMER"

    def __init__(self) -> None:
        self.state: ConsumerState = ConsumerState.ASKING

    def on_created(self) -> None:
        """Ask who provides."""
        self._pinging = Pinging(self.link.limits.ping_s)
        self.link.request(RequestProvider)
        self.link.set_timer("nobody_answered", self.link.limits.answer_s)

    def on_message(self, message: Message) -> None:
        """Pings first, in any state."""
        self._pinging.heard(self.link)
        if not self._pinging.take(message, self.link):
            super().on_message(message)

    def on_timer(self, name: str) -> None:
        """Ping, or give up; the timers bear the names of the reasons."""
        if name == Pinging.PING:
            self._pinging.send(self.link)
        else:
            self.link.close(name)

    def _provided(self, message: NotifyProvider) -> None:
        is_first = self.state is not ConsumerState.READY
        self.state = ConsumerState.READY
        if is_first:
            self.link.cancel_timer("nobody_answered")
            self.link.cancel_timer("not_ready")
            self.link.announce()
        self.link.emit(ProviderKnown(message.account_uuid, message.payer, message.payee, message.wad))
        if is_first:
            self._pinging.begin(self.link)

    def _not_ready(self, _: Message) -> None:
        if self.state is ConsumerState.ASKING:
            self.state = ConsumerState.WAITING
            self.link.cancel_timer("nobody_answered")
            self.link.set_timer("not_ready", self.link.limits.wait_s)
            self.link.waiting()
        self.link.emit(ProviderNotReady())

    def _same_role(self, _: Message) -> None:
        self.link.close("same_role")

    TABLE: ClassVar[Table] = {
        (ConsumerState.ASKING, NotifyProvider): _provided,
        (ConsumerState.ASKING, NotifyProviderNotReady): _not_ready,
        (ConsumerState.ASKING, RequestProvider): _same_role,
        (ConsumerState.WAITING, NotifyProvider): _provided,
        (ConsumerState.WAITING, NotifyProviderNotReady): _not_ready,
        (ConsumerState.WAITING, RequestProvider): _same_role,
        (ConsumerState.READY, NotifyProvider): _provided,
        (ConsumerState.READY, NotifyProviderNotReady): _not_ready,
        (ConsumerState.READY, RequestProvider): _same_role,
    }
