"""Our sessions play the part of each recorded peer: given its clock and its randomness, they send the same bytes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from shared.moneysocket.dialects import JAVASCRIPT, PYTHON
from shared.moneysocket.events import InvoiceReceived, PaymentProven, ProviderKnown, Refused, RequestFailed
from shared.moneysocket.frames import decode_frame, encode_clear_frame
from shared.moneysocket.limits import Limits
from shared.moneysocket.messages import (
    Message,
    Notification,
    NotifyError,
    NotifyInvoice,
    NotifyPreimage,
    NotifyProvider,
    NotifyRendezvous,
    Request,
    RequestInvoice,
    RequestPay,
    RequestPing,
    RequestProvider,
)
from shared.moneysocket.provider import ProviderInfo
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.session import ConsumerSession, ProviderSession, Session
from tests.vectors.moneysocket_vectors import Case, cases, label

DIALECTS = {"py": PYTHON, "js": JAVASCRIPT}


@dataclass(frozen=True)
class Step:
    is_ours: bool
    frame: bytes
    message: Message


class Recorded:
    """The randomness of a recorded frame: its uuid, then its initialisation vector."""

    def __init__(self) -> None:
        self._left: list[bytes] = []

    def of(self, step: Step | None) -> None:
        self._left = []
        if step is not None:
            message = step.message
            assert isinstance(message, Request | Notification)
            name = message.request_uuid if isinstance(message, Request) else message.notification_uuid
            self._left = [uuid.UUID(name).bytes, step.frame[:16]]

    def __call__(self, count: int) -> bytes:
        return self._left.pop(0) if self._left else bytes(count)


Order: TypeAlias = Callable[[Any, float], object]


def steps_of(case: Case, role: str) -> list[Step]:
    """What one of the two peers saw. One that listens sees what is encrypted, and a rendezvous inside."""
    seed = SharedSeed.from_hex(case["shared_seed"])
    sockets: dict[int, list[Step]] = {}
    for frame in case["frames"]:
        if frame.get("opcode") == "binary":
            raw = bytes.fromhex(frame["hex"])
            step = Step(frame["dir"] == "to_server", raw, decode_frame(raw, seed))
            sockets.setdefault(frame["socket"], []).append(step)
    for steps in sockets.values():
        asks = any(isinstance(step.message, RequestProvider) and step.is_ours for step in steps)
        if asks == (role == "consumer"):
            return steps
    return [Step(not step.is_ours, step.frame, step.message) for step in sockets[0] if not step.message.IN_CLEAR]


def orders_of(session: Any) -> dict[type[Message], Order]:
    if isinstance(session, ConsumerSession):
        return {
            RequestInvoice: lambda said, now_s: session.request_invoice(said.msats, now_s),
            RequestPay: lambda said, now_s: session.request_pay(said.bolt11, now_s),
            RequestPing: lambda _, now_s: session.tick(now_s),
        }
    return {
        NotifyInvoice: lambda said, now_s: session.notify_invoice(said.bolt11, now_s, said.request_reference_uuid),
        NotifyPreimage: lambda said, now_s: session.notify_preimage(said.preimage, now_s, said.request_reference_uuid),
        NotifyError: lambda said, now_s: session.notify_error(said.error_msg, now_s, said.request_reference_uuid),
        NotifyProvider: lambda said, now_s: session.inform(info_of(said), now_s),
    }


def info_of(said: NotifyProvider) -> ProviderInfo:
    return ProviderInfo(said.account_uuid, payer=said.payer, payee=said.payee, wad=said.wad)


def joined(seed: SharedSeed) -> bytes:
    return encode_clear_frame(
        NotifyRendezvous(
            timestamp=0,
            notification_uuid=str(uuid.UUID(int=1)),
            request_reference_uuid=None,
            rendezvous_id=seed.rendezvous_id,
        )
    )


class Player:
    """Plays our part of a recorded session."""

    def __init__(self, session: Session, steps: list[Step], chance: Recorded) -> None:
        self.session, self.steps, self.chance = session, steps, chance
        self.ours = [step for step in steps if step.is_ours]
        self.sent = 0

    @property
    def expected(self) -> Step | None:
        return self.ours[self.sent] if self.sent < len(self.ours) else None

    def compare(self) -> None:
        for frame in self.session.take_frames():
            assert self.expected
            is_ping = isinstance(decode_frame(frame, self.session.seed), RequestPing)
            if is_ping and not isinstance(self.expected.message, RequestPing):
                continue  # the Python consumer does not ping
            assert frame == self.expected.frame
            self.sent += 1

    def play(self) -> None:
        orders = orders_of(self.session)
        self.begin()
        for place, step in enumerate(self.steps):
            expected = self.expected
            self.chance.of(expected)
            if not step.is_ours:
                follows = expected is not None and self.steps[place + 1] is expected
                self.hear(step, expected if follows else None)
            elif step is expected:
                orders[type(step.message)](step.message, step.message.timestamp)
            self.compare()
        assert self.sent == len(self.ours)

    def begin(self) -> None:
        self.chance.of(self.ours[0])
        self.session.connected(self.ours[0].message.timestamp)
        if self.ours[0].message.IN_CLEAR:
            self.compare()
        else:  # one that listens meets the other end inside its process
            self.session.take_frames()
            self.session.receive(joined(self.session.seed), 0)

    def hear(self, step: Step, answer: Step | None) -> None:
        if isinstance(step.message, RequestProvider) and answer and isinstance(answer.message, NotifyProvider):
            assert isinstance(self.session, ProviderSession)
            self.session.inform(info_of(answer.message), 0)
        self.session.receive(step.frame, (answer or step).message.timestamp)


@pytest.mark.parametrize("case", cases("sessions-v0"), ids=label)
@pytest.mark.parametrize("role", ["consumer", "provider"])
def test_we_send_what_the_recorded_peer_sent(case: Case, role: str) -> None:
    seed, chance = SharedSeed.from_hex(case["shared_seed"]), Recorded()
    make = ConsumerSession if role == "consumer" else ProviderSession
    session = make(seed, random=chance, dialect=DIALECTS[case[role]], limits=Limits(ping_s=2.9))
    Player(session, steps_of(case, role), chance).play()
    events = session.take_events()
    assert not [event for event in events if isinstance(event, Refused)]
    if role == "consumer":
        assert {ProviderKnown, InvoiceReceived, PaymentProven} <= {type(event) for event in events}
        recorded_errors = any(isinstance(step.message, NotifyError) for step in steps_of(case, role))
        assert recorded_errors == any(isinstance(event, RequestFailed) for event in events)
