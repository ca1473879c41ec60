from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.interledger.btp import refusals
from shared.interledger.btp.connection import BtpConnection, State
from shared.interledger.btp.events import (
    Answered,
    Close,
    CloseCode,
    DataRequested,
    Event,
    Failed,
    Ignored,
    LoggedIn,
    LoginRefused,
    LoginRequested,
    MessageRequested,
    Refused,
    Send,
    TransferRequested,
)
from shared.interledger.btp.frames import (
    Entries,
    Entry,
    Error,
    Frame,
    Message,
    Response,
    Transfer,
    decode_frame,
    encode_frame,
)
from shared.interledger.btp.limits import Limits
from shared.interledger.btp.login import login_entries
from shared.interledger.btp.subprotocols import entries_for, ilp_of
from shared.interledger.errors import EncodingError, StateError

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SMALL = Limits(answering=2, pending=2, held_frames=2, held_bytes=500)
LOGIN = encode_frame(Message(7, login_entries("alice", "secret")))
ILP = entries_for(ilp=b"packet")


def _server(limits: Limits = SMALL, *, reads: frozenset[str] = frozenset({"claim", "info"})) -> BtpConnection:
    return BtpConnection("server", now_s=0.0, utc=lambda: NOW, limits=limits, reads=reads)


def _open_server(**options: Any) -> BtpConnection:
    server = _server(**options)
    server.receive(LOGIN)
    server.accept()
    return server


def _client(limits: Limits = SMALL) -> BtpConnection:
    return BtpConnection("client", now_s=0.0, utc=lambda: NOW, limits=limits)


def _open_client(limits: Limits = SMALL) -> BtpConnection:
    client = _client(limits)
    frame = decode_frame(client.log_in(0.0, token="t"))
    assert client.receive(encode_frame(Response(frame.request_id))) == [LoggedIn()]
    return client


def _frames(events: list[Event]) -> list[Frame]:
    return [decode_frame(event.frame) for event in events if isinstance(event, Send)]


def _error(events: list[Event]) -> Error:
    (frame,) = _frames(events)
    assert isinstance(frame, Error)
    return frame


def _closed(events: list[Event]) -> CloseCode:
    event = events[-1]
    assert isinstance(event, Close)
    return event.code


# Logging in


def test_both_ends_come_to_an_open_connection() -> None:
    server, client = _server(), _client()
    (asked,) = server.receive(client.log_in(0.0, username="alice", token="secret", flags={"flag": {"a": 1}}))
    assert isinstance(asked, LoginRequested)
    assert (asked.login.username, asked.login.token) == ("alice", b"secret")
    assert [entry.name for entry in asked.login.flags] == ["flag"]
    assert "secret" not in repr(asked)  # LPI-14
    (answer,) = server.accept()
    assert isinstance(answer, Send)
    assert client.receive(answer.frame) == [LoggedIn()]
    assert (server.state, client.state) == (State.OPEN, State.OPEN)


@pytest.mark.parametrize(
    "first",
    [
        Transfer(7, 1, login_entries("", "secret")),
        Response(7, login_entries("", "secret")),
        Error(7, "F00", "X", NOW, "", login_entries("", "secret")),
        Message(7),
        Message(7, ILP * 2),
        Message(7, login_entries()[:1] * 2),
        Message(7, login_entries()[:2]),
        Message(7, login_entries()[::-1]),
        Message(7, (*login_entries(), login_entries()[2])),
        Message(7, (*login_entries(), login_entries()[0])),
        Message(7, (*login_entries()[:1], Entry("auth_token", 2, b'"x"'))),
        Message(7, (*login_entries()[:2], Entry("auth_token", 1, b"x" * 1_025))),
        Message(7, (login_entries()[0], login_entries()[2], Entry("auth_username", 1, b"\xff"))),
    ],
    ids=str,
)
def test_what_is_no_login_is_refused_and_closed(first: Frame) -> None:
    server = _server()
    events = server.receive(encode_frame(first))  # BTP-5, BTP-6, BTP-9
    error = _error(events)
    assert (error.request_id, error.code, error.name, error.triggered_at) == (7, "F00", "NotAcceptedError", NOW)
    assert _closed(events) is CloseCode.REFUSED
    assert server.receive(LOGIN) == []


@pytest.mark.parametrize(
    "entries",
    [
        (Entry("auth", 0, b""), Entry("auth_token", 0, b"secret")),
        (Entry("auth", 1, b"anything"), Entry("auth_token", 1, b"secret"), Entry("auth_username", 1, b"")),
        (Entry("auth", 0, b""), Entry("flag", 2, b"{}"), Entry("flag", 2, b"{}"), Entry("auth_token", 1, b"secret")),
    ],
)
def test_a_login_may_be_written_in_several_ways(entries: Entries) -> None:
    (event,) = _server().receive(encode_frame(Message(7, entries)))
    assert isinstance(event, LoginRequested)
    assert event.login.has_token(b"secret")  # BTP-7
    assert not event.login.has_token(b"secres")
    assert event.login.username == ""


def test_a_stranger_who_is_refused_is_closed() -> None:
    server = _server()
    server.receive(LOGIN)
    events = server.reject("no such account")
    assert refusals.message_in(_error(events)) == "no such account"
    assert _closed(events) is CloseCode.REFUSED  # BTP-6


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("hello", CloseCode.UNSUPPORTED_DATA),
        (b"\xff\xff", CloseCode.PROTOCOL_ERROR),
        (bytes(8_193), CloseCode.TOO_LARGE),
    ],
    ids=["text", "no frame", "too large"],
)
def test_a_stranger_who_does_not_speak_btp_gets_no_answer(message: bytes | str, code: CloseCode) -> None:
    events = _server().receive(message)  # BTP-1
    assert len(events) == 1
    assert _closed(events) is code


def test_a_stranger_has_ten_seconds_but_need_not_wait_for_our_decision() -> None:
    server = _server()
    assert server.next_deadline_s == 10.0
    assert server.tick(9.9) == []
    server.receive(LOGIN)
    assert server.next_deadline_s is None
    assert server.tick(100.0) == []
    for silent in (_server(), _client()):
        events = silent.tick(10.0)
        assert len(events) == 1
        assert _closed(events) is CloseCode.REFUSED  # BTP-8


def test_what_comes_before_the_decision_is_held_back_and_comes_in_order() -> None:
    server = _server()
    server.receive(LOGIN)
    assert server.receive(encode_frame(Message(8, ILP))) == []
    assert server.receive(encode_frame(Transfer(9, 5))) == []
    assert server.receive(encode_frame(Response(3))) == [Ignored("answer_to_nothing")]
    answer, data, transfer = server.accept()
    assert isinstance(answer, Send)
    assert isinstance(data, DataRequested)
    assert data.data == b"packet"
    assert isinstance(transfer, TransferRequested)
    assert transfer.amount == 5  # BTP-21


def test_a_stranger_cannot_make_us_hold_back_much() -> None:
    for frame, times in ((Message(8), 2), (Message(8, entries_for(ilp=bytes(480))), 1)):
        server = _server()
        server.receive(LOGIN)
        for _ in range(times):
            assert server.receive(encode_frame(frame)) == []
        assert _closed(server.receive(encode_frame(frame))) is CloseCode.REFUSED


def test_nothing_a_stranger_sent_survives_a_refusal() -> None:
    server = _server()
    server.receive(LOGIN)
    server.receive(encode_frame(Transfer(9, 5)))
    assert [type(event) for event in server.reject("no")] == [Send, Close]  # BTP-10
    for again in (server.accept, lambda: server.reject("no"), _server().accept, lambda: _server().reject("no")):
        with pytest.raises(StateError) as refused:
            again()
        assert refused.value.code == "not_judging"


def test_a_client_that_is_refused_or_not_answered_hears_so_at_once() -> None:
    client = _client()
    login = decode_frame(client.log_in(0.0))
    refusal = refusals.refusal(login.request_id, "NotAcceptedError", "no", NOW)
    assert client.receive(encode_frame(refusal))[0] == LoginRefused("F00", "no")
    ignored = _client()
    ignored.log_in(1.0)
    assert ignored.next_deadline_s == 36.0
    assert ignored.tick(35.9) == []
    refused, closed = ignored.tick(36.0)  # BTP-13
    assert isinstance(refused, LoginRefused)
    assert isinstance(closed, Close)


def test_a_server_that_speaks_first_is_none() -> None:
    assert _closed(_client().receive(encode_frame(Response(1)))) is CloseCode.PROTOCOL_ERROR


def test_a_second_login_is_a_message_like_any() -> None:
    (answer,) = _frames(_open_server().receive(LOGIN))
    assert answer == Response(7)  # BTP-11


# What the peer asks


def test_an_ilp_packet_counts_wherever_it_stands() -> None:
    server = _open_server()
    (event,) = server.receive(encode_frame(Message(1, (Entry("x", 1, b"y"), *ILP))))
    assert isinstance(event, DataRequested)
    answer = decode_frame(server.respond_data(1, b"reply"))
    assert isinstance(answer, Response)
    assert ilp_of(answer.entries) == b"reply"  # BTP-17


def test_messages_that_nobody_knows_get_an_empty_response() -> None:
    server = _open_server()
    for entries in ((), (Entry("x", 1, b"y"),), (Entry("x", 0, b""), Entry("info", 0, b""))):
        assert _frames(server.receive(encode_frame(Message(1, entries)))) == [Response(1)]
    assert server.owes == 0


def test_messages_that_the_owner_reads_are_his() -> None:
    (event,) = _open_server().receive(encode_frame(Message(1, (Entry("info", 2, b"{bad"),))))
    assert event == MessageRequested(1, "info", (Entry("info", 2, b"{bad"),))


@pytest.mark.parametrize("text", [b"{bad", b'{"a":1,"a":2}', b"NaN", b"\xff", b"[" * 5_000])
def test_json_without_one_meaning_makes_the_whole_request_fail(text: bytes) -> None:
    server = _open_server()
    for request in (Message(4, (*ILP, Entry("x", 2, text))), Transfer(4, 1, (Entry("x", 2, text),))):
        error = _error(server.receive(encode_frame(request)))
        assert (error.request_id, error.code) == (4, "F00")
    assert server.owes == 0


def test_an_id_that_is_being_answered_is_answered_once() -> None:
    server = _open_server()
    server.receive(encode_frame(Transfer(1, 5)))
    assert server.receive(encode_frame(Transfer(1, 6))) == [Ignored("repeated_id")]
    server.respond(1)
    assert isinstance(server.receive(encode_frame(Transfer(1, 7)))[0], TransferRequested)


def test_more_than_can_be_answered_is_told_to_come_later() -> None:
    server = _open_server()
    for request_id in (1, 2):
        server.receive(encode_frame(Message(request_id, ILP)))
    error = _error(server.receive(encode_frame(Message(3, ILP))))
    assert (error.code, error.name) == ("T00", "UnreachableError")  # LPI-22
    server.refuse(1, "InvalidFieldsError", "no")
    assert isinstance(server.receive(encode_frame(Message(3, ILP)))[0], DataRequested)


def test_large_requests_count_by_their_size() -> None:
    large = Message(1, entries_for(ilp=bytes(400)))
    size = len(encode_frame(large))
    server = _open_server(limits=Limits(answering_bytes=2 * size))
    for request_id in (1, 2):
        assert isinstance(server.receive(encode_frame(replace(large, request_id=request_id)))[0], DataRequested)
    assert _error(server.receive(encode_frame(Message(3, ())))).code == "T00"
    server.respond(1)
    assert isinstance(server.receive(encode_frame(replace(large, request_id=3)))[0], DataRequested)
    assert server.owes == 2


def test_an_answer_goes_out_once() -> None:
    server = _open_server()
    server.receive(encode_frame(Message(1, ILP)))
    server.respond(1)
    for again in (lambda: server.respond(1), lambda: server.refuse(1, "X", "")):
        with pytest.raises(StateError) as refused:
            again()
        assert refused.value.code == "not_answering"


def test_an_answer_that_does_not_fit_leaves_the_request_to_be_refused() -> None:
    server = _open_server(limits=Limits(frame_bytes=100))
    server.receive(encode_frame(Message(1, ILP)))
    with pytest.raises(EncodingError):
        server.respond_data(1, bytes(200))
    assert decode_frame(server.refuse(1, "UnreachableError", "too large")).request_id == 1


def test_draining_finishes_what_is_owed_and_refuses_what_is_new() -> None:
    server = _open_server()
    server.receive(encode_frame(Message(1, ILP)))
    server.drain()  # HA-5
    assert _error(server.receive(encode_frame(Message(2, ILP)))).code == "T00"
    assert server.owes == 1
    server.respond(1)
    assert server.owes == 0
    late = _server()
    late.drain()
    assert _error(late.receive(LOGIN)).code == "T00"


# What we ask


def test_answers_find_their_requests_in_any_order() -> None:
    client = _open_client()
    first, _ = client.ask_data(b"a", 0.0)
    second, frame = client.pay(5, (), 0.0)
    assert decode_frame(frame) == Transfer(second, 5)
    assert client.receive(encode_frame(Response(second))) == [Answered(second, ())]
    refusal = refusals.refusal(first, "UnreachableError", "later", NOW)
    assert client.receive(encode_frame(refusal)) == [Refused(first, refusal)]


def test_an_answer_to_nothing_changes_nothing_and_is_never_answered() -> None:
    client = _open_client()
    for frame in (Response(99), Error(99, "F00", "X", NOW)):  # BTP-15
        assert client.receive(encode_frame(frame)) == [Ignored("answer_to_nothing")]


def test_each_request_has_its_own_time() -> None:
    client = _open_client()
    first, _ = client.ask_data(b"a", 0.0)
    second, _ = client.ask_data(b"b", 10.0)
    assert client.next_deadline_s == 35.0
    assert client.tick(34.9) == []
    assert client.tick(35.0) == [Failed(first, "timed_out")]  # BTP-19
    assert client.receive(encode_frame(Response(first))) == [Ignored("answer_to_nothing")]
    assert client.next_deadline_s == 45.0
    assert client.receive(encode_frame(Response(second))) == [Answered(second, ())]
    assert client.next_deadline_s is None


def test_a_request_that_was_forgotten_is_answered_to_nobody() -> None:
    client = _open_client()
    request_id, _ = client.ask_data(b"a", 0.0)
    client.forget(request_id)  # LPI-26
    assert client.receive(encode_frame(Response(request_id))) == [Ignored("answer_to_nothing")]
    assert client.tick(100.0) == []


def test_only_so_much_is_asked_at_once() -> None:
    client = _open_client()
    client.ask_data(b"a", 0.0)
    client.ask_data(b"b", 0.0)
    with pytest.raises(StateError) as refused:
        client.ask_data(b"c", 0.0)
    assert refused.value.code == "request_limit"


def test_numbers_in_flight_are_not_given_again() -> None:
    numbers = iter([5, 6, 6, 6, 7])
    client = BtpConnection("client", now_s=0.0, utc=lambda: NOW, request_ids=lambda: next(numbers))
    client.receive(encode_frame(Response(decode_frame(client.log_in(0.0)).request_id)))
    assert [client.ask_data(b"", 0.0)[0], client.ask_data(b"", 0.0)[0]] == [6, 7]  # BTP-14


def test_nothing_is_asked_before_the_connection_is_open_or_after_it_is_closed() -> None:
    client = _client()
    for _ in range(2):
        with pytest.raises(StateError) as refused:
            client.ask_data(b"a", 0.0)
        assert refused.value.code == "not_open"
        client.close(CloseCode.NORMAL, "")
    with pytest.raises(StateError):
        _server().log_in(0.0)


def test_a_frame_that_does_not_fit_is_not_waited_for() -> None:
    client = _open_client(Limits(frame_bytes=100))
    with pytest.raises(EncodingError):
        client.ask_data(bytes(200), 0.0)
    with pytest.raises(EncodingError):
        client.pay(2**64, (), 0.0)  # OER-1
    assert client.next_deadline_s is None


# Ending


def test_what_is_in_frames_is_shown_nowhere() -> None:
    secret = (Entry("claim", 0, b"SECRET"), *entries_for(ilp=b"SECRET"))
    server = _open_server()
    events = server.receive(encode_frame(Message(1, secret))) + server.receive(encode_frame(Transfer(2, 5, secret)))
    events += [Send(server.respond(1, secret)), *server.receive(encode_frame(Message(3, secret[:1])))]
    request_id, _ = server.ask(secret, 0.0)
    events += server.receive(encode_frame(Response(request_id, secret)))
    assert [type(event) for event in events] == [DataRequested, TransferRequested, Send, MessageRequested, Answered]
    assert "SECRET" not in repr(events)


def test_whatever_ends_a_connection_fails_what_was_asked_over_it() -> None:
    for message in (b"\x03\x00\x00\x00\x01\x02\x01\x00", "text", bytes(65_537)):
        client = _open_client(Limits())
        request_id, _ = client.ask_data(b"a", 0.0)
        failed, closed = client.receive(message)  # BTP-16
        assert failed == Failed(request_id, "closed")
        assert isinstance(closed, Close)
        assert client.receive(encode_frame(Response(request_id))) == []
        assert client.tick(100.0) == []


def test_an_older_connection_is_closed_with_its_own_requests() -> None:
    server = _open_server()
    request_id, _ = server.ask_data(b"a", 0.0)
    closing = server.close(CloseCode.REPLACED, "the account is used by a newer connection")  # BTP-12
    assert closing[0] == Failed(request_id, "closed")
    assert _closed(closing) == 4001
    assert server.close(CloseCode.NORMAL, "") == []


def test_what_is_owed_when_a_connection_ends_is_owed_no_longer() -> None:
    server = _open_server()
    server.receive(encode_frame(Message(1, ILP)))
    server.close(CloseCode.GOING_AWAY, "")
    assert server.owes == 0
    with pytest.raises(StateError):
        server.respond(1)


def test_a_socket_that_is_gone_needs_no_closing() -> None:
    client = _open_client()
    request_id, _ = client.ask_data(b"a", 0.0)
    assert client.lost() == [Failed(request_id, "closed")]
    assert client.state is State.CLOSED
