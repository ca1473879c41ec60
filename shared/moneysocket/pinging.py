"""Pings, the same from both ends: who is asked answers, who asks measures, and silence closes the connection.

The reference consumer in JavaScript pings, the one in Python never does; neither answers pings. So silence is only
held against an end that has answered a ping or sent one: nothing else proves that it would ever speak unasked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.moneysocket.events import PingAnswered
from shared.moneysocket.messages import Message, NotifyPong, RequestPing

if TYPE_CHECKING:
    from shared.moneysocket.nexus import Link

_MAX_OUTSTANDING = 32


@dataclass(slots=True)
class Pinging:
    """The pings of one nexus: `PING` and `SILENCE` are the names of its timers."""

    PING = "ping"
    SILENCE = "silent"

    interval_s: float
    is_lively: bool = False
    _sent: dict[str, float] = field(default_factory=dict)

    def begin(self, link: Link) -> None:
        """Send a ping at once and then regularly."""
        self.send(link)

    def send(self, link: Link) -> None:
        """Send a ping and set the timer for the next."""
        ping = link.request(RequestPing)
        self._sent[ping.request_uuid] = link.now_s
        if len(self._sent) > _MAX_OUTSTANDING:
            del self._sent[next(iter(self._sent))]
        link.set_timer(self.PING, self.interval_s)

    def heard(self, link: Link) -> None:
        """Take note that the other end has spoken."""
        if self.is_lively:
            link.set_timer(self.SILENCE, link.limits.silence_s)

    def take(self, message: Message, link: Link) -> bool:
        """Deal with a ping or pong; False if the message is neither."""
        if isinstance(message, RequestPing):
            link.notify(NotifyPong, message.request_uuid)
        elif isinstance(message, NotifyPong):
            sent_s = self._sent.pop(message.request_reference_uuid or "", None)
            if sent_s is None:
                return True
            link.emit(PingAnswered(link.now_s - sent_s))
        else:
            return False
        self.is_lively = True
        self.heard(link)
        return True
