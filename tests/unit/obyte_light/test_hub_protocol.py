from __future__ import annotations

import json
from typing import Any

import pytest

from shared.obyte.hub_protocol import (
    LIGHT_REFUSES_SUBSCRIBE,
    MAX_FRAME_BYTES,
    Fatal,
    HubProtocol,
    HubProtocolError,
    Ignored,
    Justsaying,
    Liveness,
    PeerVersion,
    Reply,
    Request,
    Response,
)
from shared.obyte.networks import DEVNET, TESTNET


@pytest.fixture
def client() -> HubProtocol:
    return HubProtocol("client", DEVNET)


@pytest.fixture
def hub() -> HubProtocol:
    return HubProtocol("hub", DEVNET)


def frame(kind: str, **content: Any) -> str:
    return json.dumps([kind, content])


VERSION = {
    "protocol_version": "4.0dev",
    "alt": "3",
    "library": "ocore",
    "library_version": "0.4.6",
    "program": "wallet",
    "program_version": "1.0",
}


def test_both_sides_introduce_themselves(client: HubProtocol, hub: HubProtocol) -> None:
    assert hub.receive(client.version()) == [PeerVersion("4.0dev", "ocore", "0.4.6", "sluice", "0.1.0")]
    assert client.receive(hub.version()) == [PeerVersion("4.0dev", "ocore", "0.4.6", "sluice", "0.1.0")]
    assert client.peer_version is not None


def test_an_absent_program_is_tolerated(client: HubProtocol) -> None:
    body = {name: VERSION[name] for name in ("protocol_version", "alt", "library", "library_version")}
    [event] = client.receive(frame("justsaying", subject="version", body=body))
    assert event == PeerVersion("4.0dev", "ocore", "0.4.6", None, None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"alt": "2"}, "wrong_network"),
        ({"alt": 3}, "bad_version"),
        ({"protocol_version": "4.0t"}, "bad_version"),
        ({"protocol_version": None}, "bad_version"),
        ({"library": None}, "bad_version"),
    ],
)
@pytest.mark.parametrize("role", ["client", "hub"])
def test_a_peer_of_another_network_ends_the_connection(role: Any, change: dict[str, Any], code: str) -> None:
    protocol = HubProtocol(role, DEVNET)
    events = protocol.receive(frame("justsaying", subject="version", body={**VERSION, **change}))
    assert isinstance(events[-1], Fatal)
    assert events[-1].code == code
    assert protocol.peer_version is None
    if role == "hub":
        assert isinstance(events[0], Reply)
        assert json.loads(events[0].frame)[1]["subject"] == "error"


@pytest.mark.parametrize("release", ["0.3.99", "0.3", "", "new"])
def test_a_hub_sends_old_libraries_away(hub: HubProtocol, release: str) -> None:
    reply, fatal = hub.receive(frame("justsaying", subject="version", body={**VERSION, "library_version": release}))
    assert isinstance(reply, Reply)
    assert json.loads(reply.frame) == ["justsaying", {"subject": "upgrade_required"}]
    assert isinstance(fatal, Fatal)
    assert fatal.code == "upgrade_required"


def test_library_versions_are_compared_as_numbers(hub: HubProtocol) -> None:
    [event] = hub.receive(frame("justsaying", subject="version", body={**VERSION, "library_version": "0.10.0"}))
    assert isinstance(event, PeerVersion)


def test_a_client_told_to_upgrade_stops(client: HubProtocol) -> None:
    [event] = client.receive(frame("justsaying", subject="upgrade_required"))
    assert isinstance(event, Fatal)
    assert event.code == "upgrade_required"


def test_a_request_is_answered_once(client: HubProtocol, hub: HubProtocol) -> None:
    tag, text = client.request("get_joint", "hash")
    assert json.loads(text) == ["request", {"command": "get_joint", "params": "hash", "tag": tag}]
    assert hub.receive(text) == [Request("get_joint", "hash", tag)]
    answer = hub.respond(tag, "get_joint", {"joint_not_found": "hash"})
    assert client.receive(answer) == [Response(tag, {"joint_not_found": "hash"})]
    assert client.receive(answer) == [Ignored("unknown_tag")]


def test_params_and_response_are_left_out_when_there_are_none(client: HubProtocol, hub: HubProtocol) -> None:
    tag, text = client.request("get_witnesses")
    assert json.loads(text) == ["request", {"command": "get_witnesses", "tag": tag}]
    answer = hub.respond(tag, "get_witnesses")
    assert json.loads(answer) == ["response", {"tag": tag, "command": "get_witnesses"}]
    assert client.receive(answer) == [Response(tag, None)]


@pytest.mark.parametrize("falsy", [0, False, "", [], {}])
def test_an_empty_result_is_still_a_result(client: HubProtocol, hub: HubProtocol, falsy: Any) -> None:
    tag, _ = client.request("x")
    assert client.receive(hub.respond(tag, "x", falsy)) == [Response(tag, falsy)]


@pytest.mark.parametrize(
    ("error", "text"),
    [("your history is too large", "your history is too large"), ({"message": "bounced"}, "bounced"), ([1], "[1]")],
)
def test_an_error_answer_is_seen_before_any_value(client: HubProtocol, error: Any, text: str) -> None:
    tag, _ = client.request("x")
    assert client.receive(frame("response", tag=tag, response={"error": error})) == [Response(tag, None, text)]


def test_a_refusal_made_by_the_hub_is_an_error_answer(client: HubProtocol, hub: HubProtocol) -> None:
    tag, _ = client.request("x")
    assert client.receive(hub.respond_error(tag, "x", "no")) == [Response(tag, None, "no")]


def test_a_request_given_up_ignores_its_late_answer(client: HubProtocol, hub: HubProtocol) -> None:
    tag, _ = client.request("x")
    client.give_up(tag)
    assert client.receive(hub.respond(tag, "x", 1)) == [Ignored("unknown_tag")]


def test_pending_requests_are_bounded() -> None:
    client = HubProtocol("client", DEVNET, max_pending=2)
    first, _ = client.request("a")
    client.request("b")
    with pytest.raises(HubProtocolError) as refused:
        client.request("c")
    assert refused.value.code == "request_limit"
    client.give_up(first)
    client.request("c")


@pytest.mark.parametrize("tag", ["", "x" * 45])
def test_tags_are_short_and_not_empty(tag: str) -> None:
    with pytest.raises(HubProtocolError) as refused:
        HubProtocol("client", DEVNET, tag_factory=lambda: tag).request("a")
    assert refused.value.code == "bad_tag"


def test_pending_tags_are_unique() -> None:
    client = HubProtocol("client", DEVNET, tag_factory=lambda: "same")
    client.request("a")
    with pytest.raises(HubProtocolError) as refused:
        client.request("b")
    assert refused.value.code == "bad_tag"
    assert client.pending_tags == ("same",)


def test_a_repeated_request_is_ignored_while_it_is_being_answered(client: HubProtocol, hub: HubProtocol) -> None:
    tag, text = client.request("x")
    hub.receive(text)
    assert hub.receive(text) == [Ignored("repeated_request")]
    hub.respond(tag, "x", 1)
    assert hub.receive(text) == [Request("x", None, tag)]


def test_a_hub_refuses_more_requests_than_it_can_hold() -> None:
    hub = HubProtocol("hub", DEVNET, max_pending=1)
    hub.receive(frame("request", command="x", tag="1"))
    [reply] = hub.receive(frame("request", command="x", tag="2"))
    assert isinstance(reply, Reply)
    assert json.loads(reply.frame)[1] == {"tag": "2", "command": "x", "response": {"error": "too busy"}}


def test_a_light_client_cannot_be_subscribed_to(client: HubProtocol) -> None:
    [reply] = client.receive(frame("request", command="subscribe", params={"last_mci": 1}, tag="t"))
    assert isinstance(reply, Reply)
    content = {"tag": "t", "command": "subscribe", "response": {"error": LIGHT_REFUSES_SUBSCRIBE}}
    assert json.loads(reply.frame) == ["response", content]


def test_a_hub_decides_itself_about_subscriptions(hub: HubProtocol) -> None:
    assert hub.receive(frame("request", command="subscribe", tag="t")) == [Request("subscribe", None, "t")]


@pytest.mark.parametrize("role", ["client", "hub"])
def test_a_heartbeat_is_answered_with_nothing(role: Any) -> None:
    [reply] = HubProtocol(role, DEVNET).receive(frame("request", command="heartbeat", tag="h"))
    assert isinstance(reply, Reply)
    assert json.loads(reply.frame) == ["response", {"tag": "h", "command": "heartbeat"}]


def test_one_heartbeat_at_a_time(client: HubProtocol, hub: HubProtocol) -> None:
    text = client.heartbeat()
    assert text is not None
    assert client.heartbeat() is None
    [reply] = hub.receive(text)
    assert isinstance(reply, Reply)
    assert client.receive(reply.frame) == []
    assert client.heartbeat() is not None


def test_a_sleeping_peer_is_left_alone(client: HubProtocol, hub: HubProtocol) -> None:
    client.heartbeat()
    client.receive(hub.respond(client.pending_tags[0], "heartbeat", "sleep"))
    assert client.heartbeat() is None


def test_a_light_client_serves_no_other_requests(client: HubProtocol) -> None:
    assert client.receive(frame("request", command="get_joint", tag="t")) == [Ignored("unexpected_request")]


def test_what_the_hub_says_unasked_is_passed_on(client: HubProtocol, hub: HubProtocol) -> None:
    assert client.receive(hub.justsaying("light/have_updates")) == [Justsaying("light/have_updates", None)]
    assert client.receive(hub.justsaying("joint", {"unit": {}})) == [Justsaying("joint", {"unit": {}})]
    assert client.receive(frame("justsaying", subject="old core")) == [Justsaying("old core", None)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not_json"),
        ("[", "not_json"),
        ("[" * 100_000, "not_json"),
        ('["justsaying", {"subject": NaN}]', "not_json"),
        ("null", "bad_shape"),
        ("{}", "bad_shape"),
        ("[]", "bad_shape"),
        ('["justsaying"]', "bad_shape"),
        ('["justsaying", "old core"]', "bad_shape"),
        ('["justsaying", null]', "bad_shape"),
        ('["justsaying", {"subject": "x"}, 1]', "bad_shape"),
        ("[1, {}]", "bad_shape"),
        ('["justsaying", {}]', "bad_content"),
        ('["justsaying", {"subject": 5}]', "bad_content"),
        ('["request", {"command": "x"}]', "bad_content"),
        ('["request", {"command": "x", "tag": ""}]', "bad_content"),
        ('["request", {"command": "x", "tag": 7}]', "bad_content"),
        ('["request", {"tag": "1"}]', "bad_content"),
        (json.dumps(["request", {"command": "x", "tag": "1" * 45}]), "bad_content"),
        ('["response", {"response": 1}]', "bad_content"),
        ('["shout", {"subject": "x"}]', "bad_content"),
        ('["response", {"tag": "unasked", "response": 1}]', "unknown_tag"),
    ],
)
@pytest.mark.parametrize("role", ["client", "hub"])
def test_bad_frames_change_nothing(role: Any, text: str, reason: str) -> None:
    protocol = HubProtocol(role, DEVNET)
    tag, _ = protocol.request("x")
    assert protocol.receive(text) == [Ignored(reason)]
    assert protocol.pending_tags == (tag,)


def test_frames_over_the_limit_are_ignored_unread(client: HubProtocol) -> None:
    assert client.receive(" " * (MAX_FRAME_BYTES + 1)) == [Ignored("frame_too_large")]
    two_byte_letters = frame("justsaying", subject="x")[:-2] + ', "body": "' + "é" * (MAX_FRAME_BYTES // 2) + '"}]'
    assert client.receive(two_byte_letters) == [Ignored("frame_too_large")]


def test_frames_over_the_limit_are_not_made(client: HubProtocol) -> None:
    with pytest.raises(HubProtocolError) as refused:
        client.request("post_joint", "x" * MAX_FRAME_BYTES)
    assert refused.value.code == "frame_too_large"
    assert client.pending_tags == ()


def test_frames_follow_javascript_numbers_and_duplicate_keys(client: HubProtocol) -> None:
    [event] = client.receive('["justsaying", {"subject": "a", "subject": "b", "body": 1.0}]')
    assert event == Justsaying("b", 1)
    assert isinstance(event, Justsaying)
    assert isinstance(event.body, int)


def test_after_close_nothing_is_made_or_read(client: HubProtocol) -> None:
    tag, _ = client.request("x")
    assert client.close() == (tag,)
    assert client.receive(frame("response", tag=tag, response=1)) == [Ignored("closed")]
    with pytest.raises(HubProtocolError) as refused:
        client.justsaying("x")
    assert refused.value.code == "closed"


def test_contents_stay_out_of_reprs(client: HubProtocol) -> None:
    tag, _ = client.request("x")
    assert "secret" not in repr(client.receive(frame("response", tag=tag, response="secret")))
    assert "secret" not in repr(client.receive(frame("justsaying", subject="x", body="secret")))
    assert "secret" not in repr(
        HubProtocol("hub", TESTNET).receive(frame("request", command="x", params="secret", tag="t"))
    )


def test_silence_leads_to_a_heartbeat_and_then_to_the_end() -> None:
    liveness = Liveness(100.0)
    assert liveness.check(109.9) == "alive"
    assert liveness.check(110.0) == "ask"
    assert liveness.check(169.9) == "alive"
    assert liveness.check(170.0) == "dead"


def test_any_frame_is_a_sign_of_life() -> None:
    liveness = Liveness(0.0)
    assert liveness.check(10.0) == "ask"
    liveness.heard(11.0)
    assert liveness.check(20.9) == "alive"
    assert liveness.check(21.0) == "ask"
