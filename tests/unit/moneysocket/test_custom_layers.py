"""A layer between the rendezvous and the rest sees, and may change, all that the two ends say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from moneysocket_support import BOLT11, NOW, Table, consumer, frame_of, happened, only, provider, read

from shared.moneysocket.events import InvoiceReceived, InvoiceWanted, Refused
from shared.moneysocket.frames import decode_frame
from shared.moneysocket.message_text import read_message, write_message
from shared.moneysocket.messages import VERSION_0, Message, Notification, RequestProvider, carried
from shared.moneysocket.nexus import Nexus
from shared.moneysocket.rules import TEXT

if TYPE_CHECKING:
    from shared.moneysocket.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class NotifyWrapped(Notification):
    NAME: ClassVar[str] = "NOTIFY_WRAPPED"

    text: str = carried(TEXT)


class WrappingNexus(Nexus):
    """Wraps every message of the layers above, and lets nothing up that was not wrapped."""

    LAYER = "WRAPPING"
    KINDS = (NotifyWrapped,)

    def on_send(self, message: Message) -> None:
        self.link.notify(NotifyWrapped, None, text=write_message(message).decode())

    def on_message(self, message: Message) -> None:
        if isinstance(message, NotifyWrapped):
            self.link.pass_up(read_message(message.text))
        else:
            self.link.refuse("not_wrapped", f"{message.NAME} came as it is")


def wrapped_pair() -> tuple[Table, Session, Session]:
    table = Table()
    asking, providing = consumer(between=(WrappingNexus(),)), provider(between=(WrappingNexus(),))
    table.dial("consumer", asking)
    table.dial("provider", providing)
    return table, asking, providing


def test_two_ends_with_the_layer_speak_through_it() -> None:
    table, asking, providing = wrapped_pair()
    assert asking.is_announced
    assert providing.is_announced
    seen = {
        decode_frame(frame, asking.seed, catalogue=VERSION_0.extended(NotifyWrapped)).NAME for _, frame in table.frames
    }
    assert seen == {"REQUEST_RENDEZVOUS", "NOTIFY_WRAPPED"}


def test_the_rest_of_the_stack_does_not_notice() -> None:
    table, asking, providing = wrapped_pair()
    asked = asking.request_invoice(5, NOW)  # type: ignore[attr-defined]
    table.settle()
    assert only(happened(providing), InvoiceWanted) == InvoiceWanted(asked, 5)
    providing.notify_invoice(BOLT11, NOW, asked)  # type: ignore[attr-defined]
    table.settle()
    assert only(happened(asking), InvoiceReceived).bolt11 == BOLT11


def test_what_goes_round_the_layer_is_refused() -> None:
    _, _, providing = wrapped_pair()
    providing.take_events()
    providing.receive(frame_of(RequestProvider), NOW)
    assert only(happened(providing), Refused).code == "not_wrapped"
    assert providing.take_frames() == []


def test_what_a_layer_cannot_read_is_refused_and_raises_nothing() -> None:
    _, _, providing = wrapped_pair()
    providing.take_events()
    for text in ("", "{}", "[" * 1000):
        providing.receive(frame_of(NotifyWrapped, text=text), NOW)
    assert [event.code for event in happened(providing) if isinstance(event, Refused)] == [
        "not_json",
        "unknown_kind",
        "nested_too_deep",
    ]


def test_an_end_without_the_layer_takes_nothing_of_it() -> None:
    table, asking, plain = Table(), consumer(between=(WrappingNexus(),)), provider()
    table.dial("consumer", asking)
    table.dial("plain", plain)
    assert not plain.is_announced
    assert only(happened(plain), Refused).code == "unknown_kind"
    assert read(frame_of(RequestProvider)).NAME == "REQUEST_PROVIDER"
