"""Two connections talk to each other, in any order of events: each request has one outcome, and comes once at most."""

from __future__ import annotations

from collections import Counter, deque
from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.btp.connection import BtpConnection
from shared.interledger.btp.events import (
    Answered,
    CloseCode,
    DataRequested,
    Event,
    Failed,
    LoggedIn,
    LoginRequested,
    Refused,
    Send,
    TransferRequested,
)
from shared.interledger.btp.limits import Limits
from shared.interledger.errors import StateError

ECONOMICAL = settings(max_examples=60, deadline=None)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
LIMITS = Limits(answering=3, pending=4)
STEPS = st.sampled_from(("ask", "pay", "deliver", "answer", "refuse", "forget", "wait"))


class End:
    """One end, and the wire to it."""

    def __init__(self, connection: BtpConnection) -> None:
        self.connection = connection
        self.wire: deque[bytes] = deque()
        self.other = self
        self.asked: list[int] = []
        self.forgotten: set[int] = set()
        self.outcomes: Counter[int] = Counter()
        self.came: Counter[int] = Counter()
        self.open: deque[int] = deque()

    def handle(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Send():
                    self.other.wire.append(event.frame)
                case LoginRequested():
                    self.handle(self.connection.accept())
                case DataRequested() | TransferRequested():
                    self.came[event.request_id] += 1
                    self.open.append(event.request_id)
                case Answered() | Refused() | Failed():
                    self.outcomes[event.request_id] += 1

    def step(self, what: str, now_s: float) -> None:
        if what in ("ask", "pay"):
            try:
                asking = self.connection.ask_data(b"x", now_s) if what == "ask" else self.connection.pay(1, (), now_s)
            except StateError as error:
                assert error.code == "request_limit"  # noqa: PT017 - either outcome is right
                return
            self.asked.append(asking[0])
            self.other.wire.append(asking[1])
        elif what == "deliver" and self.wire:
            self.handle(self.connection.receive(self.wire.popleft()))
        elif what in ("answer", "refuse") and self.open:
            request_id = self.open.popleft()
            if what == "answer":
                self.other.wire.append(self.connection.respond(request_id))
            else:
                self.other.wire.append(self.connection.refuse(request_id, "NotAcceptedError", "no"))
        elif what == "forget" and self.asked and not self.outcomes[self.asked[-1]]:
            self.connection.forget(self.asked[-1])
            self.forgotten.add(self.asked[-1])
        elif what == "wait":
            self.handle(self.connection.tick(now_s))


def _pair() -> tuple[End, End]:
    client = End(BtpConnection("client", now_s=0.0, utc=lambda: NOW, limits=LIMITS))
    server = End(BtpConnection("server", now_s=0.0, utc=lambda: NOW, limits=LIMITS))
    client.other, server.other = server, client
    server.handle(server.connection.receive(client.connection.log_in(0.0, token="t")))
    assert client.connection.receive(client.wire.popleft()) == [LoggedIn()]
    return client, server


@ECONOMICAL
@given(st.lists(st.tuples(st.booleans(), STEPS), max_size=60))
def test_each_request_has_one_outcome_and_comes_once(steps: list[tuple[bool, str]]) -> None:
    client, server = _pair()
    now_s = 0.0
    for is_client, what in steps:
        now_s += 20.0 if what == "wait" else 0.1
        (client if is_client else server).step(what, now_s)
    for end in (client, server):
        end.handle(end.connection.close(CloseCode.NORMAL, ""))
        assert set(end.outcomes) == set(end.asked) - end.forgotten
        assert set(end.outcomes.values()) <= {1}
        assert len(set(end.asked)) == len(end.asked)
        assert set(end.came.values()) <= {1}
        assert set(end.came) <= set(end.other.asked)
