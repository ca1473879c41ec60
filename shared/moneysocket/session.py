"""One connection, seen from one of its two ends: frames, orders and time go in, frames and events come out.

    session.connected(now_s)                  the WebSocket is open
    session.receive(frame, now_s)             a binary message came in (`receive_text` for one of text)
    session.tick(now_s)                       `next_timer_s` has come
    session.closed(now_s)                     the WebSocket has gone
    session.take_frames(), take_events()      what is to be sent, what has happened; after every call

`now_s` never goes back; `unix_offset_s` is what makes it Unix time, so that timers may follow a clock that is never
set. No input from the other end raises: what cannot be used is reported as `Refused`. Orders raise ProtocolError.

The stack of a consumer is rendezvous, consumer, transact, that of a provider rendezvous, provider, transact; custom
layers stand on top of that, as in `opinion`, or between rendezvous and provider, where they see and may change all
that the two ends say.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from shared.moneysocket.consumer import ConsumerNexus
from shared.moneysocket.consumer_transact import ConsumerTransactNexus
from shared.moneysocket.dialects import SLUICE, Dialect
from shared.moneysocket.engine import Engine, State
from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.limits import DEFAULT_LIMITS, Limits
from shared.moneysocket.messages import VERSION_0
from shared.moneysocket.provider import ProviderInfo, ProviderNexus
from shared.moneysocket.provider_transact import ProviderTransactNexus
from shared.moneysocket.rendezvous import RendezvousNexus
from shared.moneysocket.replay import ReplayGuard

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.moneysocket.events import Event
    from shared.moneysocket.nexus import Nexus
    from shared.moneysocket.seeds import SharedSeed

OUTGOING_WEBSOCKET = "OUTGOING_WEBSOCKET"
OUTGOING_LOCAL = "OUTGOING_LOCAL"


class Options(TypedDict, total=False):
    """What every session takes by name, and what it is without."""

    extra: tuple[Nexus, ...]
    """Custom layers on top, the lowest first; none."""
    between: tuple[Nexus, ...]
    """Custom layers above the rendezvous and below the consumer or provider, the lowest first; none."""
    random: Callable[[int], bytes]
    """So many random bytes, for initialisation vectors and uuids; `secrets.token_bytes`."""
    guard: ReplayGuard
    """Shared by all connections of one seed; one of its own."""
    limits: Limits
    """`DEFAULT_LIMITS`."""
    unix_offset_s: float
    """What to add to `now_s` for Unix time; 0."""
    dialect: Dialect
    """To write in, as one of the libraries would; `SLUICE`. What is read is always judged as SLUICE."""
    transport: str
    """The name of the lowest layer in `LayerChanged`; OUTGOING_WEBSOCKET."""


class Session:
    """Rendezvous and whatever stands on it."""

    def __init__(self, seed: SharedSeed, layers: tuple[Nexus, ...], **options: Unpack[Options]) -> None:
        nexuses = (RendezvousNexus(), *options.get("between", ()), *layers, *options.get("extra", ()))
        self.seed = seed
        self._engine = Engine(
            seed=seed,
            transport=options.get("transport", OUTGOING_WEBSOCKET),
            nexuses=nexuses,
            random=options.get("random", secrets.token_bytes),
            guard=options.get("guard") or ReplayGuard(),
            limits=options.get("limits", DEFAULT_LIMITS),
            catalogue=VERSION_0.extended(*(kind for nexus in nexuses for kind in nexus.KINDS)),
            unix_offset_s=options.get("unix_offset_s", 0),
            dialect=options.get("dialect", SLUICE),
        )

    @property
    def is_announced(self) -> bool:
        """Whether orders are taken."""
        return self._engine.is_announced

    @property
    def wants_close(self) -> bool:
        """Whether the transport is to be closed; `CloseWanted` says why."""
        return self._engine.state is State.CLOSING

    @property
    def next_timer_s(self) -> float | None:
        """When `tick` is to be called, if nothing else happens before."""
        return min(self._engine.timers.values(), default=None)

    def connected(self, now_s: float) -> None:
        """The transport is open: begin. A second call does nothing."""
        self._at(now_s).start()

    def receive(self, frame: bytes, now_s: float) -> None:
        """A binary message came in."""
        self._at(now_s).receive(frame)

    def receive_text(self, now_s: float) -> None:
        """A message of text came in: the protocol has none, it is dropped."""
        engine = self._at(now_s)
        if engine.state is State.OPEN:
            engine.refuse("text_frame", "Moneysocket has no text frames")

    def tick(self, now_s: float) -> None:
        """Serve the timers that are due."""
        self._at(now_s).tick()

    def close(self, now_s: float) -> None:
        """Order: have the transport closed."""
        self._at(now_s).close("asked_to")

    def closed(self, now_s: float) -> None:
        """The transport has gone, for whatever reason."""
        self._at(now_s).end()

    def take_frames(self) -> list[bytes]:
        """Binary messages to send, in this order; each is handed out once."""
        frames, self._engine.frames = self._engine.frames, []
        return frames

    def take_events(self) -> list[Event]:
        """What has happened, in this order; each is handed out once."""
        events, self._engine.events = self._engine.events, []
        return events

    def order(self, now_s: float, order: Callable[..., Any], *arguments: Any) -> Any:
        """Give an order to a nexus of this session, such as a method of a custom layer.

        Raises ProtocolError `not_announced` unless the session is announced, and what the order raises.
        """
        if not self._at(now_s).is_announced:
            raise ProtocolError("not_announced", "the connection is not usable (yet, or any more)")
        return order(*arguments)

    def _at(self, now_s: float) -> Engine:
        self._engine.now_s = max(now_s, self._engine.now_s)
        return self._engine


class ConsumerSession(Session):
    """The end that asks for invoices and payments."""

    def __init__(self, seed: SharedSeed, **options: Unpack[Options]) -> None:
        self._transact = ConsumerTransactNexus()
        super().__init__(seed, (ConsumerNexus(), self._transact), **options)

    def request_invoice(self, msats: int, now_s: float, request_uuid: str | None = None) -> str:
        """Ask for an invoice over `msats`; returns the uuid under which the answer is reported.

        Raises ProtocolError `not_announced`, `bad_order`, `too_many_open`, `duplicate_request`.
        """
        return str(self.order(now_s, self._transact.request_invoice, msats, request_uuid))

    def request_pay(
        self, bolt11: str, now_s: float, payment_hash: str | None = None, request_uuid: str | None = None
    ) -> str:
        """Have an invoice paid; returns the uuid under which the proof is reported.

        With the invoice's `payment_hash` (64 lower-case digits) only the right preimage is taken as proof.
        Raises ProtocolError `not_announced`, `bad_order`, `too_many_open`, `duplicate_request`.
        """
        return str(self.order(now_s, self._transact.request_pay, bolt11, payment_hash, request_uuid))


class ProviderSession(Session):
    """The end that makes and pays invoices. Ready at once with an `info`, otherwise once it is informed."""

    def __init__(self, seed: SharedSeed, info: ProviderInfo | None = None, **options: Unpack[Options]) -> None:
        self._provider = ProviderNexus(info)
        self._transact = ProviderTransactNexus()
        super().__init__(seed, (self._provider, self._transact), **options)

    def inform(self, info: ProviderInfo | None, now_s: float) -> None:
        """Become ready, or tell the consumer of a new balance; None: not ready for those who ask from now on.

        May be called at any time.
        """
        self._at(now_s)
        self._provider.inform(info)

    def notify_invoice(self, bolt11: str, now_s: float, reference: str | None = None) -> None:
        """Answer `InvoiceWanted`. Raises ProtocolError `not_announced`, `bad_order`."""
        self.order(now_s, self._transact.notify_invoice, bolt11, reference)

    def notify_preimage(self, preimage: str, now_s: float, reference: str | None = None) -> None:
        """Answer `PaymentWanted`, or (without reference) report a payment that came in.

        Raises ProtocolError `not_announced`, `bad_order`.
        """
        self.order(now_s, self._transact.notify_preimage, preimage, reference)

    def notify_error(self, text: str, now_s: float, reference: str | None = None) -> None:
        """Answer either with a text for people. Raises ProtocolError `not_announced`."""
        self.order(now_s, self._transact.notify_error, text, reference)
