"""What a session reports to whoever drives it.

| of both ends                           | of a consumer                       | of a provider    | of a matchmaker   |
|----------------------------------------|-------------------------------------|------------------|-------------------|
| `LayerChanged`, `Announced`, `Revoked` | `ProviderKnown`, `ProviderNotReady` | `InvoiceWanted`  | `RendezvousAsked` |
| `Refused`, `Unhandled`                 | `InvoiceReceived`, `PaymentProven`  | `PaymentWanted`  | `FrameForOther`   |
| `PingAnswered`                         | `IncomingPayment`, `RequestFailed`  | `RequestExpired` | `Refused`         |
| `CloseWanted`                          | `RequestTimedOut`, `RequestInDoubt` |                  | `CloseWanted`     |

Custom layers report events of their own, derived from `Event`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.moneysocket.wads import Wad


class LayerStatus(StrEnum):
    """What became of a layer's nexus; the names are those of both libraries."""

    CREATED = "NEXUS_CREATED"
    WAITING = "NEXUS_WAITING"
    ANNOUNCED = "NEXUS_ANNOUNCED"
    REVOKED = "NEXUS_REVOKED"
    DESTROYED = "NEXUS_DESTROYED"


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True)
class LayerChanged(Event):
    """A layer's nexus was created, waits, is usable, or went; for display and logs."""

    layer: str
    status: LayerStatus


@dataclass(frozen=True, slots=True)
class Announced(Event):
    """The whole stack is usable: orders are taken from now on."""


@dataclass(frozen=True, slots=True)
class Revoked(Event):
    """What was announced is gone."""


@dataclass(frozen=True, slots=True)
class CloseWanted(Event):
    """The transport is to be closed: nothing more is read or written.

    Codes: `asked_to` (an order), `rendezvous_ended`, `nobody_answered`, `nobody_came`, `nobody_asked`, `not_ready`,
    `silent`, `same_role`, `too_many_refused`; at a matchmaker also `asked_twice`, `taken`, `not_admitted`,
    `too_many`, `idle`.
    """

    code: str


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """A frame or message was dropped; the code is that of the error, or of the layer that refused it."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Unhandled(Event):
    """A valid message that no layer wanted: an answer meant for another connection, or an extension unknown here."""

    name: str
    request_reference_uuid: str | None


@dataclass(frozen=True, slots=True)
class PingAnswered(Event):
    """The other end answered a ping after so many seconds."""

    round_trip_s: float


@dataclass(frozen=True, slots=True)
class ProviderKnown(Event):
    """Who provides, and its balance; again whenever the provider says so."""

    account_uuid: str
    payer: bool
    payee: bool
    wad: Wad | None


@dataclass(frozen=True, slots=True)
class ProviderNotReady(Event):
    """The provider is there, but not ready yet."""


@dataclass(frozen=True, slots=True)
class InvoiceReceived(Event):
    """The invoice that was asked for. Whether its amount is the one asked for is for the receiver to check."""

    request_uuid: str
    bolt11: str
    msats: int
    """What was asked for."""
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class PaymentProven(Event):
    """The invoice was paid, here is the proof; `is_late` if the request had timed out before."""

    request_uuid: str
    preimage: str = field(repr=False)
    is_verified: bool
    """Whether the payment hash was known and the preimage matches it."""
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class IncomingPayment(Event):
    """The provider says that it was paid. Worth something only if the hash is that of an invoice one has asked for."""

    payment_hash: str
    preimage: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """The provider refused a request, or (without uuid) reports an error of its own."""

    request_uuid: str | None
    text: str
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class RequestTimedOut(Event):
    """No answer so far. A payment may still go through: its proof is reported even if it comes late."""

    request_uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class RequestInDoubt(Event):
    """The connection went before the answer came."""

    request_uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class InvoiceWanted(Event):
    """The consumer asks for an invoice."""

    request_uuid: str
    msats: int


@dataclass(frozen=True, slots=True)
class PaymentWanted(Event):
    """The consumer asks to pay an invoice."""

    request_uuid: str
    bolt11: str


@dataclass(frozen=True, slots=True)
class RequestExpired(Event):
    """A request of the consumer was not answered in time and no longer counts as open."""

    request_uuid: str
    name: str


@dataclass(frozen=True, slots=True)
class RendezvousAsked(Event):
    """A dialler names a rendezvous: have it wait or join it with the other one that named it."""

    rendezvous_id: str


@dataclass(frozen=True, slots=True)
class FrameForOther(Event):
    """An encrypted frame, to be forwarded as it is."""

    frame: bytes = field(repr=False)
