from __future__ import annotations

from functools import partial

import pytest
from moneysocket_support import BOLT11, INFO, NOW, OTHER_SEED, SEED, consumer, dice, frame_of, provider

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import (
    Announced,
    CloseWanted,
    Event,
    InvoiceReceived,
    InvoiceWanted,
    LayerChanged,
    PaymentWanted,
    Refused,
    Revoked,
)
from shared.moneysocket.limits import Limits
from shared.moneysocket.listener import Listener, SessionReported
from shared.moneysocket.matchmaker import CloseSocket, SendFrame
from shared.moneysocket.messages import RequestPay, RequestRendezvous
from shared.moneysocket.session import ConsumerSession, ProviderSession, Session


class Caller:
    """A session that dials the listener."""

    def __init__(self, listener: Listener, name: str, session: Session, now_s: float = NOW) -> None:
        self.listener, self.name, self.session = listener, name, session
        self.reported: list[Event] = []
        self.closed: list[str] = []
        listener.connected(name, now_s)
        session.connected(now_s)
        self.settle(now_s)

    def settle(self, now_s: float = NOW) -> None:
        busy = True
        while busy:
            busy = False
            for frame in self.session.take_frames():
                busy = True
                self.listener.receive(self.name, frame, now_s)
            for output in self.listener.take_outputs():
                busy = True
                if isinstance(output, SessionReported):
                    if not isinstance(output.event, LayerChanged):
                        self.reported.append(output.event)
                elif isinstance(output, SendFrame) and output.key == self.name:
                    self.session.receive(output.frame, now_s)
                elif isinstance(output, CloseSocket) and output.key == self.name:
                    self.closed.append(output.code)

    def leave(self, now_s: float = NOW) -> None:
        self.listener.closed(self.name, now_s)
        self.session.closed(now_s)
        self.settle(now_s)


def listening() -> Listener:
    listener = Listener(random=dice(50))
    listener.accept(SEED, partial(ProviderSession, info=INFO), NOW)
    return listener


def test_a_provider_that_listens_serves_who_dials() -> None:
    listener = listening()
    caller = Caller(listener, "a", consumer())
    assert caller.session.is_announced
    assert caller.reported == [Announced()]
    assert isinstance(caller.session, ConsumerSession)
    asked = caller.session.request_invoice(5, NOW)
    caller.settle()
    assert caller.reported[-1] == InvoiceWanted(asked, 5)
    serving = listener.session(SEED)
    assert isinstance(serving, ProviderSession)
    serving.notify_invoice(BOLT11, NOW, asked)
    listener.pump(SEED, NOW)
    caller.settle()
    assert InvoiceReceived(asked, BOLT11, 5) in caller.session.take_events()


def test_a_consumer_can_listen_too() -> None:
    listener = Listener(random=dice(50))
    listener.accept(SEED, ConsumerSession, NOW)
    caller = Caller(listener, "a", provider())
    assert caller.session.is_announced
    assert caller.reported[0] == Announced()


def test_the_seed_is_served_again_when_its_dialler_has_left() -> None:
    listener = listening()
    for turn in range(3):
        caller = Caller(listener, "a", consumer(random=dice(turn + 10)))
        assert caller.session.is_announced
        caller.leave()
        assert caller.reported == [Announced(), CloseWanted("rendezvous_ended"), Revoked()]


def test_a_dialler_that_leaves_during_the_handshake_does_not_cost_the_seed() -> None:
    listener = listening()
    listener.connected("rude", NOW)
    listener.receive("rude", frame_of(RequestRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    listener.closed("rude", NOW)
    assert Caller(listener, "a", consumer()).session.is_announced


def test_a_dialler_that_never_asks_is_closed_and_the_seed_served_again() -> None:
    listener = listening()
    listener.connected("mute", NOW)
    listener.receive("mute", frame_of(RequestRendezvous, rendezvous_id=SEED.rendezvous_id), NOW)
    listener.take_outputs()
    listener.tick(NOW + 31)
    assert [output.key for output in listener.take_outputs() if isinstance(output, CloseSocket)] == ["mute"]
    assert Caller(listener, "a", consumer(), NOW + 31).session.is_announced


def test_strangers_cannot_use_a_listener_as_a_relay() -> None:
    listener = listening()
    assert Caller(listener, "a", consumer(OTHER_SEED)).closed == ["not_admitted"]


def test_a_seed_is_withdrawn_with_its_dialler_and_can_be_accepted_again() -> None:
    listener = listening()
    caller = Caller(listener, "a", consumer())
    listener.withdraw(SEED, NOW)
    caller.settle()
    assert caller.closed == ["rendezvous_ended"]
    assert caller.reported[-1] == Revoked()
    assert listener.session(SEED) is None
    with pytest.raises(ProtocolError):
        listener.withdraw(SEED, NOW)
    assert Caller(listener, "b", consumer()).closed == ["not_admitted"]
    listener.accept(SEED, partial(ProviderSession, info=INFO), NOW)
    assert Caller(listener, "c", consumer(random=dice(5))).session.is_announced


def test_a_seed_is_accepted_once() -> None:
    listener = listening()
    with pytest.raises(ProtocolError):
        listener.accept(SEED, ConsumerSession, NOW)


def test_a_frame_recorded_in_one_call_is_refused_in_the_next() -> None:
    listener = listening()
    frame = frame_of(RequestPay, bolt11=BOLT11)
    kinds = []
    for turn in range(2):
        caller = Caller(listener, "a", consumer(random=dice(turn + 10)))
        listener.receive("a", frame, NOW)
        caller.settle()
        kinds.append(type(caller.reported[-1]))
        caller.leave()
    assert kinds == [PaymentWanted, Refused]


def test_own_sessions_count_for_no_limit() -> None:
    listener = Listener(random=dice(50), limits=Limits(max_diallers=1, max_waiting=0))
    listener.accept(SEED, partial(ProviderSession, info=INFO), NOW)
    listener.accept(OTHER_SEED, partial(ProviderSession, info=INFO), NOW)
    assert Caller(listener, "a", consumer()).session.is_announced
    assert Caller(listener, "b", consumer(OTHER_SEED)).closed == ["too_many"]


def test_a_seed_waits_on_for_days() -> None:
    listener = listening()
    now_s = NOW
    for _ in range(200):
        assert listener.next_timer_s is not None
        now_s = max(now_s, listener.next_timer_s)
        listener.tick(now_s)
        listener.take_outputs()
    assert now_s > NOW + 86_400
    assert Caller(listener, "a", consumer(), now_s).session.is_announced
