"""The rendezvous, seen by a dialler: name the id, wait until the other end is there.

| state   | NotifyRendezvous | ...NotReady | ...End                   | any other message      | timer             |
|---------|------------------|-------------|--------------------------|------------------------|-------------------|
| ASKING  | JOINED, announce | WAITING     | close `rendezvous_ended` | refused `out_of_order` | `nobody_answered` |
| WAITING | JOINED, announce | -           | close `rendezvous_ended` | refused `out_of_order` | `nobody_came`     |
| JOINED  | -                | -           | close `rendezvous_ended` | handed up              |                   |

A notification about another id is refused (`wrong_rendezvous`): neither library looks. A second NotifyRendezvous does
nothing; in both libraries it makes a second provider or consumer over the same connection.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import ClassVar

from shared.moneysocket.messages import (
    Message,
    NotifyRendezvous,
    NotifyRendezvousEnd,
    NotifyRendezvousNotReady,
    RequestRendezvous,
)
from shared.moneysocket.nexus import Nexus, Table


class RendezvousState(Enum):
    """See the table above."""

    ASKING = auto()
    WAITING = auto()
    JOINED = auto()


class RendezvousNexus(Nexus):
    """The lowest layer of everyone who dials."""

    LAYER = "OUTGOING_RENDEZVOUS"

    def __init__(self) -> None:
        self.state: RendezvousState = RendezvousState.ASKING

    def on_created(self) -> None:
        """Name the id."""
        self.link.request(RequestRendezvous, rendezvous_id=self.link.seed.rendezvous_id)
        self.link.set_timer("nobody_answered", self.link.limits.answer_s)

    def on_message(self, message: Message) -> None:
        """Look at the id before the table."""
        kinds = NotifyRendezvous | NotifyRendezvousNotReady | NotifyRendezvousEnd
        if isinstance(message, kinds) and message.rendezvous_id != self.link.seed.rendezvous_id:
            self.link.refuse("wrong_rendezvous", "the matchmaker speaks of another rendezvous")
        else:
            super().on_message(message)

    def on_other(self, message: Message) -> None:
        """Hand up what comes from the other end, once there is one."""
        if self.state is not RendezvousState.JOINED:
            self.link.refuse("out_of_order", f"{message.NAME} came before the rendezvous")
        elif not message.IN_CLEAR:
            self.link.pass_up(message)
        else:
            self.link.refuse("out_of_order", f"{message.NAME} is nothing a matchmaker sends")

    def on_timer(self, name: str) -> None:
        """Give up; the timers bear the names of the reasons."""
        self.link.close(name)

    def _join(self, _: Message) -> None:
        self.state = RendezvousState.JOINED
        self.link.cancel_timer("nobody_answered")
        self.link.cancel_timer("nobody_came")
        self.link.announce()

    def _wait(self, _: Message) -> None:
        self.state = RendezvousState.WAITING
        self.link.cancel_timer("nobody_answered")
        self.link.set_timer("nobody_came", self.link.limits.wait_s)
        self.link.waiting()

    def _end(self, _: Message) -> None:
        self.link.close("rendezvous_ended")

    def _nothing(self, _: Message) -> None:
        """Say nothing and do nothing."""

    TABLE: ClassVar[Table] = {
        (RendezvousState.ASKING, NotifyRendezvous): _join,
        (RendezvousState.ASKING, NotifyRendezvousNotReady): _wait,
        (RendezvousState.ASKING, NotifyRendezvousEnd): _end,
        (RendezvousState.WAITING, NotifyRendezvous): _join,
        (RendezvousState.WAITING, NotifyRendezvousNotReady): _nothing,
        (RendezvousState.WAITING, NotifyRendezvousEnd): _end,
        (RendezvousState.JOINED, NotifyRendezvous): _nothing,
        (RendezvousState.JOINED, NotifyRendezvousNotReady): _nothing,
        (RendezvousState.JOINED, NotifyRendezvousEnd): _end,
    }
