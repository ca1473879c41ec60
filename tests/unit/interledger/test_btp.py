from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.amounts import MAX_AMOUNT
from shared.interledger.btp.addresses import BtpAddressError, parse_btp_address
from shared.interledger.btp.frames import (
    MAX_ENTRIES,
    MAX_FRAME_BYTES,
    Entry,
    Error,
    Frame,
    Message,
    Response,
    Transfer,
    decode_frame,
    encode_frame,
)
from shared.interledger.btp.reconnecting import Reconnecting
from shared.interledger.btp.refusals import CODES, code_of, may_be_retried, message_in, refusal
from shared.interledger.btp.subprotocols import entry_for, find, ilp_of, value_of, values_of
from shared.interledger.errors import DecodingError, EncodingError

ECONOMICAL = settings(max_examples=60, deadline=None)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
IDS = st.integers(0, 2**32 - 1)
ASCII = st.text(st.characters(max_codepoint=127), max_size=30)
ENTRIES = st.lists(st.builds(Entry, ASCII, st.integers(0, 255), st.binary(max_size=200)), max_size=5).map(tuple)
FRAMES = st.one_of(
    st.builds(Message, IDS, ENTRIES),
    st.builds(Response, IDS, ENTRIES),
    st.builds(Transfer, IDS, st.integers(0, MAX_AMOUNT), ENTRIES),
    st.builds(Error, IDS, ASCII.filter(lambda text: len(text) == 3) | st.just("F00"), ASCII, st.just(NOW), st.text()),
)


@ECONOMICAL
@given(FRAMES)
def test_a_frame_comes_back_and_what_follows_it_is_ignored(frame: Frame) -> None:
    octets = encode_frame(frame)
    assert decode_frame(octets) == frame
    assert decode_frame(octets + b"more") == frame


@ECONOMICAL
@given(FRAMES, st.data())
def test_a_frame_cut_anywhere_is_refused(frame: Frame, data: st.DataObject) -> None:
    octets = encode_frame(frame)
    with pytest.raises(DecodingError):  # BTP-4
        decode_frame(octets[: data.draw(st.integers(0, len(octets) - 1))])


def test_frames_have_a_limit_in_both_directions() -> None:
    large = Message(1, (Entry("ilp", 0, bytes(MAX_FRAME_BYTES)),))
    with pytest.raises(EncodingError):
        encode_frame(large)
    with pytest.raises(DecodingError) as refused:
        decode_frame(encode_frame(large, 100_000))  # BTP-3
    assert refused.value.code == "too_long"


def test_entries_have_a_limit_in_number() -> None:
    full = Message(1, (Entry("", 0, b""),) * MAX_ENTRIES)
    assert decode_frame(encode_frame(full)) == full
    with pytest.raises(EncodingError):
        encode_frame(Message(1, (*full.entries, Entry("", 0, b""))))
    with pytest.raises(DecodingError) as refused:
        decode_frame(bytes.fromhex("0600000001 04 0302ffff"))
    assert refused.value.code == "too_many"


def test_an_error_without_a_date_cannot_be_sent() -> None:
    with pytest.raises(EncodingError):
        encode_frame(Error(1, "F00", "X", None))


@pytest.mark.parametrize("value", [b"\x00", "text", {"a": [1, None]}, 5, [], True])
def test_a_value_comes_back_from_its_entry(value: object) -> None:
    assert value_of(entry_for("x", value)) == value  # type: ignore[arg-type]


def test_json_is_written_as_javascript_writes_it() -> None:
    assert entry_for("x", {"a": "€", "b": [1, None]}).data == '{"a":"€","b":[1,null]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, "\ud800"])
def test_a_value_that_no_entry_can_carry_is_refused(value: object) -> None:
    with pytest.raises(EncodingError):
        entry_for("x", value)  # type: ignore[arg-type]


def test_the_first_ilp_counts_and_in_a_map_the_last_of_a_name() -> None:
    entries = (Entry("x", 0, b""), Entry("ilp", 0, b"a"), Entry("ilp", 0, b"b"))
    assert ilp_of(entries) == b"a"  # BTP-20
    assert find(entries, "y") is None
    assert values_of(entries)["ilp"] == b"b"


def test_every_listed_name_has_its_code_and_any_other_goes_with_f00() -> None:
    assert {code_of(name) for name in CODES} == {"T00", "F00", "F01", "F03", "F04", "F05", "F06", "F07", "F08"}
    assert code_of("SomePluginError") == "F00"
    assert may_be_retried("T00")
    assert not may_be_retried("F08")


@ECONOMICAL
@given(st.text(max_size=200), st.sampled_from(["x", "é", "\U0001f600", '"']), st.integers(0, 20_000))
def test_a_refusal_fits_and_says_what_it_can(beginning: str, filler: str, times: int) -> None:
    frame = refusal(1, "UnreachableError", beginning + filler * times, NOW)
    assert len(frame.data.encode()) <= 8_192
    said = json.loads(frame.data)["message"]
    assert said.startswith(beginning)
    assert times > 300 or said == beginning + filler * times
    assert decode_frame(encode_frame(frame)) == frame


@pytest.mark.parametrize("name", ["", "é", "x" * 256])
def test_a_name_that_no_frame_carries_is_replaced(name: str) -> None:
    assert (refusal(1, name, "", NOW).name, refusal(1, name, "", NOW).code) == ("NotAcceptedError", "F00")
    assert refusal(1, "x" * 255, "", NOW).name == "x" * 255


@pytest.mark.parametrize(
    ("data", "message"),
    [('{"message":"no"}', "no"), ("no", "no"), ('{"a":1}', '{"a":1}'), ("", ""), ("\ud800", "\ud800")],
)
def test_both_forms_of_an_error_are_read(data: str, message: str) -> None:
    assert message_in(Error(1, "F00", "X", NOW, data)) == message


def test_credentials_are_taken_out_of_an_address() -> None:
    address = parse_btp_address("btp+wss://al%20ice:s%2Fecret@example.com:7443/btp?x=1")
    assert address.url == "wss://example.com:7443/btp?x=1"
    assert (address.username, address.token) == ("al ice", "s/ecret")
    assert "ecret" not in repr(address)
    assert parse_btp_address("btp+ws://[::1]:7768", token="t").url == "ws://[::1]:7768"
    assert parse_btp_address("btp+ws://:t@localhost").token == "t"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ws://localhost", "no_btp_url"),
        ("btp+http://localhost", "no_btp_url"),
        ("btp+ws://", "no_btp_url"),
        ("btp+ws://h:99999999", "no_btp_url"),
        ("btp+ws://[::1", "no_btp_url"),
        ("btp+ws://:%ff@h", "no_btp_url"),
        ("btp+ws://h/" + "x" * 3_000, "no_btp_url"),
        ("btp+ws://a:verysecret@h", "credentials_twice"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(text: str, code: str) -> None:
    with pytest.raises(BtpAddressError) as refused:
        parse_btp_address(text, token="x")
    assert refused.value.code == code
    assert "secret" not in str(refused.value)


def test_a_client_comes_back_at_once_then_ever_more_slowly() -> None:
    waits = Reconnecting(random=lambda: 0.0)
    assert [waits.failed(float(second)) for second in range(8)] == [0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert waits.failed(16.9) == 5.0
    assert waits.failed(26.9) == 0.0
    assert Reconnecting(random=lambda: 1.0, waits_s=(1.0,)).failed(0.0) == 1.2
