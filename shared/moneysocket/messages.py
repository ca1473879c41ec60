"""The messages of version 0, one class per kind, fields in the order they are written.

| who asks        | message                | answered by                                                         |
|-----------------|------------------------|---------------------------------------------------------------------|
| a dialler       | `RequestRendezvous`    | `NotifyRendezvous` or `NotifyRendezvousNotReady`; `NotifyRendezvousEnd` |
| a consumer      | `RequestProvider`      | `NotifyProvider` or `NotifyProviderNotReady`                        |
| a consumer      | `RequestPing`          | `NotifyPong`                                                        |
| a consumer      | `RequestInvoice`       | `NotifyInvoice` or `NotifyError`                                    |
| a consumer      | `RequestPay`           | `NotifyPreimage` or `NotifyError`                                   |

The rendezvous messages are for the matchmaker and always in clear, all others always encrypted. A notification
without a reference answers nobody: a new balance, an incoming payment, an error of its own.

The envelope is `timestamp`, `protocol`, `protocol_version`, `message_class`, then uuid and name, then the fields.
Unknown keys are kept and written at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from shared.moneysocket.rules import BOLT11, EXTRA_TEXT, FLAG, HEX64, MSATS, REFERENCE, TEXT, UUID, WAD, Rule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.moneysocket.json_text import JsonValue
    from shared.moneysocket.wads import Wad

PROTOCOL = "Moneysocket"
VERSION = "0.0.0"
REQUEST = "REQUEST"
NOTIFICATION = "NOTIFICATION"


def carried(rule: Rule, **options: Any) -> Any:
    """A field that travels in the message, judged by `rule`."""
    return field(metadata={"rule": rule}, **options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What every message has. `timestamp` is in Unix seconds, by the sender's clock."""

    NAME: ClassVar[str]
    CLASS: ClassVar[str]
    IN_CLEAR: ClassVar[bool] = False

    timestamp: float
    protocol_version: str = VERSION
    extra: Mapping[str, JsonValue] = field(default_factory=dict, repr=False)
    left_out: frozenset[str] = frozenset()
    """Keys that the sender left out, and that the JavaScript library would leave out again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Message):
    """A message that wants an answer; its uuid is the reference of the answer."""

    CLASS: ClassVar[str] = REQUEST

    request_uuid: str = carried(UUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification(Message):
    """An answer to the request with the uuid `request_reference_uuid`, or to nobody."""

    CLASS: ClassVar[str] = NOTIFICATION

    notification_uuid: str = carried(UUID)
    request_reference_uuid: str | None = carried(REFERENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRendezvous(Request):
    """Dialler to matchmaker: bring me together with whoever asks for the same id."""

    NAME: ClassVar[str] = "REQUEST_RENDEZVOUS"
    IN_CLEAR: ClassVar[bool] = True

    rendezvous_id: str = carried(HEX64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyRendezvous(Notification):
    """Matchmaker to dialler: the other one is here; from now on frames go to it."""

    NAME: ClassVar[str] = "NOTIFY_RENDEZVOUS"
    IN_CLEAR: ClassVar[bool] = True

    rendezvous_id: str = carried(HEX64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyRendezvousNotReady(Notification):
    """Matchmaker to dialler: nobody else is here yet."""

    NAME: ClassVar[str] = "NOTIFY_RENDEZVOUS_NOT_READY"
    IN_CLEAR: ClassVar[bool] = True

    rendezvous_id: str = carried(HEX64)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyRendezvousEnd(Notification):
    """Matchmaker to dialler: the other one has left."""

    NAME: ClassVar[str] = "NOTIFY_RENDEZVOUS_END"
    IN_CLEAR: ClassVar[bool] = True

    rendezvous_id: str = carried(HEX64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestProvider(Request):
    """Consumer to provider: tell me who you are."""

    NAME: ClassVar[str] = "REQUEST_PROVIDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyProvider(Notification):
    """Provider to consumer: the account, whether it pays invoices, whether it makes them, and its balance."""

    NAME: ClassVar[str] = "NOTIFY_PROVIDER"

    account_uuid: str = carried(UUID)
    payer: bool = carried(FLAG)
    payee: bool = carried(FLAG)
    wad: Wad | None = carried(WAD)  # noqa: RUF009 # a field, not a value


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyProviderNotReady(Notification):
    """Provider to consumer: I shall be there, not yet."""

    NAME: ClassVar[str] = "NOTIFY_PROVIDER_NOT_READY"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPing(Request):
    """Consumer to provider: tell me that you are there."""

    NAME: ClassVar[str] = "REQUEST_PING"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPong(Notification):
    """Provider to consumer: I am."""

    NAME: ClassVar[str] = "NOTIFY_PONG"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestInvoice(Request):
    """Consumer to provider: make an invoice over so many millisatoshi."""

    NAME: ClassVar[str] = "REQUEST_INVOICE"

    msats: int = carried(MSATS)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPay(Request):
    """Consumer to provider: pay this invoice."""

    NAME: ClassVar[str] = "REQUEST_PAY"

    bolt11: str = carried(BOLT11)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyInvoice(Notification):
    """Provider to consumer: the invoice."""

    NAME: ClassVar[str] = "NOTIFY_INVOICE"

    bolt11: str = carried(BOLT11)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyPreimage(Notification):
    """Provider to consumer: proof that an invoice was paid, by the provider or (without reference) to it."""

    NAME: ClassVar[str] = "NOTIFY_PREIMAGE"

    preimage: str = carried(HEX64, repr=False)
    ext: str | None = carried(EXTRA_TEXT, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyError(Notification):
    """Provider to consumer: that did not work, and why, for people."""

    NAME: ClassVar[str] = "NOTIFY_ERROR"

    error_msg: str = carried(TEXT)


class Catalogue:
    """The kinds of message an end knows; extensions add theirs."""

    def __init__(self, kinds: tuple[type[Message], ...]) -> None:
        self._kinds = {(kind.CLASS, kind.NAME): kind for kind in kinds}

    def find(self, message_class: object, name: object) -> type[Message] | None:
        """The kind of that class and name, if it is known."""
        if not isinstance(message_class, str) or not isinstance(name, str):
            return None
        return self._kinds.get((message_class, name))

    def extended(self, *kinds: type[Message]) -> Catalogue:
        """This catalogue and more kinds."""
        return Catalogue((*self._kinds.values(), *kinds))


VERSION_0 = Catalogue(
    (
        RequestRendezvous,
        NotifyRendezvous,
        NotifyRendezvousNotReady,
        NotifyRendezvousEnd,
        RequestProvider,
        NotifyProvider,
        NotifyProviderNotReady,
        RequestPing,
        NotifyPong,
        RequestInvoice,
        RequestPay,
        NotifyInvoice,
        NotifyPreimage,
        NotifyError,
    )
)
"""Every kind both reference libraries know."""
