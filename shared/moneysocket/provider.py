"""The provider: says who it is when it is asked, and whenever its balance changes.

| state   | RequestProvider, ready          | ..., not ready        | `inform`, ready                 | timer          |
|---------|---------------------------------|-----------------------|---------------------------------|----------------|
| ASLEEP  | NotifyProvider, READY, announce | ...NotReady, WAITING  | kept                            | `nobody_asked` |
| WAITING | NotifyProvider, READY, announce | ...NotReady           | NotifyProvider, READY, announce | `not_ready`    |
| READY   | NotifyProvider                  | ...NotReady           | NotifyProvider to nobody        | ping; `silent` |

RequestPing is answered and NotifyPong measured in every state; everything else is handed up. A second RequestProvider
is answered and announces nothing: in both libraries it makes a ghost that doubles every later notification.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import ClassVar

from shared.moneysocket.dialects import SLUICE
from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.messages import Message, NotifyProvider, NotifyProviderNotReady, RequestProvider
from shared.moneysocket.nexus import Nexus, Table
from shared.moneysocket.pinging import Pinging
from shared.moneysocket.rules import is_uuid
from shared.moneysocket.wads import Wad, read_wad


@dataclass(frozen=True, slots=True)
class ProviderInfo:
    """What a provider says of itself. Raises ProtocolError `bad_order` or WadError for what no consumer would take."""

    account_uuid: str
    payer: bool
    payee: bool
    wad: Wad | None

    def __post_init__(self) -> None:
        """Check now what cannot be told when it is asked for."""
        if not is_uuid(self.account_uuid, SLUICE):
            raise ProtocolError("bad_order", "the account is named by a uuid of the form 8-4-4-4-12")
        if self.wad is not None:
            read_wad(self.wad.to_json())


class ProviderState(Enum):
    """See the table above."""

    ASLEEP = auto()
    WAITING = auto()
    READY = auto()


class ProviderNexus(Nexus):
    """The layer above the rendezvous, at the end that makes and pays invoices. Ready once it has an `info`."""

    LAYER = "PROVIDER"

    def __init__(self, info: ProviderInfo | None = None) -> None:
        self.state: ProviderState = ProviderState.ASLEEP
        self._info = info
        self._asked_uuid: str | None = None

    def on_created(self) -> None:
        """Wait to be asked."""
        self._pinging = Pinging(self.link.limits.provider_ping_s)
        self.link.set_timer("nobody_asked", self.link.limits.answer_s)

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

    def inform(self, info: ProviderInfo | None) -> None:
        """Order: be ready with this info, or (None) for those who ask from now on not ready."""
        self._info = info
        if info is None or self.state is ProviderState.ASLEEP:
            return
        if self.state is ProviderState.WAITING:
            self._become_ready(info)
        else:
            self._tell(info, None)

    def _asked(self, message: RequestProvider) -> None:
        self._asked_uuid = message.request_uuid
        self.link.cancel_timer("nobody_asked")
        if self._info is None:
            self.link.notify(NotifyProviderNotReady, self._asked_uuid)
            if self.state is ProviderState.ASLEEP:
                self.state = ProviderState.WAITING
                self.link.set_timer("not_ready", self.link.limits.wait_s)
                self.link.waiting()
        elif self.state is ProviderState.READY:
            self._tell(self._info, self._asked_uuid)
        else:
            self._become_ready(self._info)

    def _become_ready(self, info: ProviderInfo) -> None:
        self.state = ProviderState.READY
        self.link.cancel_timer("not_ready")
        self._tell(info, self._asked_uuid)
        self.link.announce()
        self.link.set_timer(Pinging.PING, self.link.limits.provider_ping_s)

    def _tell(self, info: ProviderInfo, reference: str | None) -> None:
        self.link.notify(
            NotifyProvider,
            reference,
            account_uuid=info.account_uuid,
            payer=info.payer,
            payee=info.payee,
            wad=info.wad,
        )

    TABLE: ClassVar[Table] = {
        (ProviderState.ASLEEP, RequestProvider): _asked,
        (ProviderState.WAITING, RequestProvider): _asked,
        (ProviderState.READY, RequestProvider): _asked,
    }
