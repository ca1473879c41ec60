from __future__ import annotations

import pytest
from moneysocket_support import NOW, OTHER_SEED, SEED, Table, consumer, dice, frame_of, happened, provider, read

from shared.moneysocket.dialler import Dialler, DiallerState
from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import CloseWanted, FrameForOther, Refused, RendezvousAsked
from shared.moneysocket.frames import decode_frame
from shared.moneysocket.limits import Limits
from shared.moneysocket.matchmaker import CloseSocket, Dropped, Joined, Matchmaker, SendFrame
from shared.moneysocket.messages import (
    NotifyRendezvous,
    NotifyRendezvousEnd,
    NotifyRendezvousNotReady,
    RequestPay,
    RequestRendezvous,
)
from shared.moneysocket.timetable import Timetable

ID = SEED.rendezvous_id


def asking(rendezvous_id: str = ID) -> bytes:
    return frame_of(RequestRendezvous, rendezvous_id=rendezvous_id)


def arrived(count: int, limits: Limits | None = None) -> Matchmaker:
    """So many sockets that have named the same rendezvous."""
    matchmaker = Matchmaker(random=dice(), limits=limits or Limits())
    for key in range(count):
        matchmaker.connected(key, NOW)
        matchmaker.receive(key, asking(), NOW)
    return matchmaker


def told(matchmaker: Matchmaker) -> list[tuple[object, str]]:
    """Who is told what, who is closed, why, and who is joined."""
    listed: list[tuple[object, str]] = []
    for output in matchmaker.take_outputs():
        if isinstance(output, SendFrame):
            listed.append((output.key, decode_frame(output.frame, SEED).NAME))
        elif isinstance(output, Joined):
            listed.append(((output.first, output.second), "joined"))
        else:
            listed.append((output.key, output.code))
    return listed


def test_the_first_waits_and_the_second_is_told_first() -> None:
    assert told(arrived(2)) == [
        (0, "NOTIFY_RENDEZVOUS_NOT_READY"),
        (1, "NOTIFY_RENDEZVOUS"),
        (0, "NOTIFY_RENDEZVOUS"),
        ((0, 1), "joined"),
    ]


def test_everyone_is_answered_under_the_uuid_of_his_own_request() -> None:
    matchmaker, requests = Matchmaker(random=dice()), {key: asking() for key in "ab"}
    for key, request in requests.items():
        matchmaker.connected(key, NOW)
        matchmaker.receive(key, request, NOW)
    for output in matchmaker.take_outputs():
        if isinstance(output, SendFrame):
            answer, request = read(output.frame), read(requests[str(output.key)])
            assert isinstance(answer, NotifyRendezvous | NotifyRendezvousNotReady)
            assert isinstance(request, RequestRendezvous)
            assert answer.request_reference_uuid == request.request_uuid


def test_a_third_is_closed_and_the_two_are_not_disturbed() -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.connected(2, NOW)
    matchmaker.receive(2, asking(), NOW)
    assert told(matchmaker) == [(2, "taken")]
    frame = frame_of(RequestPay, bolt11="lnbc1")
    matchmaker.receive(0, frame, NOW)
    assert matchmaker.take_outputs() == [SendFrame(1, frame)]
    assert (len(matchmaker), matchmaker.joined, matchmaker.waiting) == (2, 1, 0)


def test_when_one_leaves_the_other_is_told_and_closed() -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.closed(0, NOW)
    assert told(matchmaker) == [(1, "NOTIFY_RENDEZVOUS_END"), (1, "rendezvous_ended")]
    assert (len(matchmaker), matchmaker.joined, matchmaker.waiting) == (0, 0, 0)


def test_one_that_leaves_while_it_waits_is_forgotten() -> None:
    matchmaker = arrived(1)
    matchmaker.closed(0, NOW)
    matchmaker.take_outputs()
    matchmaker.connected(1, NOW)
    matchmaker.receive(1, asking(), NOW)
    assert told(matchmaker) == [(1, "NOTIFY_RENDEZVOUS_NOT_READY")]


def test_a_socket_that_asks_twice_is_not_joined_with_itself() -> None:
    matchmaker = arrived(1)
    matchmaker.take_outputs()
    matchmaker.receive(0, asking(), NOW)
    assert told(matchmaker) == [(0, "asked_twice"), (0, "NOTIFY_RENDEZVOUS_NOT_READY")]
    assert matchmaker.waiting == 1
    matchmaker.receive(0, asking(OTHER_SEED.rendezvous_id), NOW)
    assert told(matchmaker) == [(0, "asked_twice")]
    assert len(matchmaker) == 0


def test_a_joined_socket_that_asks_again_is_closed() -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.receive(1, asking(), NOW)
    assert told(matchmaker) == [(0, "NOTIFY_RENDEZVOUS_END"), (0, "rendezvous_ended"), (1, "asked_twice")]


@pytest.mark.parametrize(
    "clear",
    [
        (
            b'{"timestamp": 1, "protocol": "Moneysocket", "protocol_version": "0.0.0", "message_class": "REQUEST",'
            b' "request_uuid": "11111111-2222-4333-8444-555555555555", "request_name": "REQUEST_PAY", "bolt11": "lnbc"}'
        ),
        frame_of(NotifyRendezvousEnd, rendezvous_id=ID),
        b"{}",
        b"5",
    ],
    ids=["command", "forged end", "object", "number"],
)
def test_nothing_in_clear_is_ever_forwarded(clear: bytes) -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.receive(0, clear, NOW)
    (output,) = matchmaker.take_outputs()
    assert isinstance(output, Dropped)


@pytest.mark.parametrize("frame", [b"", b"\xff" * 15, b"\xff" * 16, b"\xff" * 47], ids=len)
def test_what_is_no_frame_is_not_forwarded(frame: bytes) -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.receive(0, frame, NOW)
    (output,) = matchmaker.take_outputs()
    assert isinstance(output, Dropped)


def test_frames_before_the_rendezvous_are_dropped() -> None:
    matchmaker = arrived(1)
    matchmaker.take_outputs()
    matchmaker.receive(0, frame_of(RequestPay, bolt11="lnbc1"), NOW)
    assert matchmaker.take_outputs() == [Dropped(0, "out_of_order")]


def test_whoever_asks_for_nothing_or_waits_too_long_is_closed() -> None:
    matchmaker = arrived(1)
    matchmaker.connected("mute", NOW)
    matchmaker.take_outputs()
    matchmaker.tick(NOW + 29)
    assert matchmaker.take_outputs() == []
    matchmaker.tick(NOW + 31)
    assert told(matchmaker) == [("mute", "nobody_asked")]
    matchmaker.tick(NOW + 3601)
    assert told(matchmaker) == [(0, "NOTIFY_RENDEZVOUS_END"), (0, "nobody_came")]


def test_two_that_say_nothing_for_a_day_are_parted() -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.receive(0, frame_of(RequestPay, bolt11="lnbc1"), NOW + 80_000)
    matchmaker.take_outputs()
    matchmaker.tick(NOW + 90_000)
    assert matchmaker.take_outputs() == []
    matchmaker.tick(NOW + 80_000 + 86_401)
    assert [code for _, code in told(matchmaker)] == [
        "NOTIFY_RENDEZVOUS_END",
        "NOTIFY_RENDEZVOUS_END",
        "rendezvous_ended",
        "idle",
    ]


def test_limits_on_sockets_and_on_waiting_ones() -> None:
    matchmaker = Matchmaker(random=dice(), limits=Limits(max_diallers=2, max_waiting=1))
    matchmaker.connected(0, NOW)
    matchmaker.receive(0, asking(), NOW)
    matchmaker.connected(1, NOW)
    matchmaker.receive(1, asking(OTHER_SEED.rendezvous_id), NOW)
    assert told(matchmaker)[-1] == (1, "too_many")
    matchmaker.connected(2, NOW)
    matchmaker.connected(3, NOW)
    assert told(matchmaker) == [(3, "too_many")]
    with pytest.raises(ProtocolError):
        matchmaker.connected(2, NOW)


def test_who_sends_only_junk_is_cut_off() -> None:
    matchmaker = arrived(1)
    for _ in range(150):
        matchmaker.receive(0, b"junk", NOW)
    assert CloseSocket(0, "too_many_refused") in matchmaker.take_outputs()
    assert len(matchmaker) == 0


def test_a_rendezvous_can_be_turned_out() -> None:
    matchmaker = arrived(2)
    matchmaker.take_outputs()
    matchmaker.turn_out(ID, NOW)
    assert {output.key for output in matchmaker.take_outputs() if isinstance(output, CloseSocket)} == {0, 1}
    assert len(matchmaker) == 0


def test_an_id_is_compared_as_it_is_written() -> None:
    matchmaker = arrived(1)
    matchmaker.connected("upper", NOW)
    matchmaker.receive("upper", asking(ID.upper()), NOW)
    assert matchmaker.joined == 0


def test_the_two_sockets_of_a_rendezvous_need_not_be_in_one_process() -> None:
    """Each process drives its own dialler; what joins them, and carries the frames, is somebody else's affair."""
    here, there = Dialler(NOW, random=dice(1)), Dialler(NOW, random=dice(2))
    for dialler in (here, there):
        dialler.receive(asking(), NOW)
        assert dialler.take_events() == [RendezvousAsked(ID)]
    here.wait(NOW)
    there.join(NOW)
    here.join(NOW)
    frame = frame_of(RequestPay, bolt11="lnbc1")
    here.take_frames(), there.take_frames()
    here.receive(frame, NOW)
    assert here.take_events() == [FrameForOther(frame)]
    there.forward(frame, NOW)
    assert there.take_frames() == [frame]
    there.end(NOW)
    assert there.take_events() == [CloseWanted("rendezvous_ended")]
    assert there.state is DiallerState.CLOSING
    there.receive(frame, NOW)
    assert (there.take_events(), there.next_timer_s) == ([], None)
    with pytest.raises(ProtocolError):
        there.join(NOW)


def test_a_matchmaker_without_the_seed_reads_nothing() -> None:
    table = Table()
    table.dial("consumer", consumer())
    table.dial("provider", provider())
    secret = [frame for name, frame in table.frames if b"RENDEZVOUS" not in frame]
    assert secret
    dialler = Dialler(NOW, random=dice())
    for frame in secret:
        dialler.receive(frame, NOW)
        assert [event.code for event in dialler.take_events() if isinstance(event, Refused)] == ["out_of_order"]
    assert [event for event in happened(table.sessions["provider"]) if isinstance(event, Refused)] == []


def test_a_timer_that_is_moved_on_and_on_stays_one_entry() -> None:
    timetable: Timetable[str] = Timetable()
    for second in range(1000):
        timetable.plan("a", 10.0 + second)
    assert (timetable.next_s, list(timetable.due(9)), list(timetable.due(10)), timetable.next_s) == (
        10,
        [],
        ["a"],
        None,
    )
    timetable.plan("a", 50)
    timetable.plan("a", 20)
    assert list(timetable.due(60)) == ["a"]


def test_timers_of_sockets_that_left_do_not_pile_up() -> None:
    timetable: Timetable[int] = Timetable()
    for key in range(10_000):
        timetable.plan(key, 86_400.0 + key)
        if key % 100:
            timetable.forget(key)
    assert len(timetable._heap) < 300
    assert list(timetable.due(100_000)) == list(range(0, 10_000, 100))
