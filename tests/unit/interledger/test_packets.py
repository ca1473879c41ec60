from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.addresses import child_address, is_address, is_at, is_peer_address
from shared.interledger.amounts import MAX_AMOUNT
from shared.interledger.errors import DecodingError, EncodingError
from shared.interledger.packets import (
    MAX_DATA_BYTES,
    Fulfill,
    Packet,
    Prepare,
    Reject,
    condition_of,
    decode_packet,
    decode_prepare,
    decode_reply,
    encode_packet,
)
from shared.interledger.rejections import (
    OVER_THE_BALANCE,
    AmountLimit,
    IlpError,
    amount_too_large,
    hold_until,
    is_final,
    judge_expiry,
    over_the_balance,
    read_amount_limit,
)
from shared.interledger.timestamps import btp_timestamp, ilp_timestamp, read_btp_timestamp, read_ilp_timestamp

ECONOMICAL = settings(max_examples=60, deadline=None)

NOW = datetime(2026, 11, 20, 18, 0, 0, tzinfo=UTC)
SEGMENTS = st.from_regex(r"[A-Za-z0-9_~-]{1,20}", fullmatch=True)
ADDRESSES = st.builds(lambda segments: ".".join(["test", *segments]), st.lists(SEGMENTS, min_size=1, max_size=5))
MOMENTS = st.datetimes(min_value=datetime(100, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - as it wants it
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
DATA = st.binary(max_size=300)
HASHES = st.binary(min_size=32, max_size=32)
CODES = st.text(st.characters(max_codepoint=127), min_size=3, max_size=3)
PACKETS = st.one_of(
    st.builds(Prepare, st.integers(0, MAX_AMOUNT), MOMENTS, HASHES, ADDRESSES, DATA),
    st.builds(Fulfill, HASHES, DATA),
    st.builds(Reject, CODES, st.just("") | ADDRESSES, st.text(max_size=50), DATA),
)


def _prepare(**changes: object) -> Prepare:
    fields = {"amount": 5, "expires_at": NOW + timedelta(seconds=30), "condition": bytes(32), "destination": "test.a"}
    return Prepare(**{**fields, **changes})  # type: ignore[arg-type]


@ECONOMICAL
@given(PACKETS)
def test_a_packet_comes_back(packet: Packet) -> None:
    assert decode_packet(encode_packet(packet)) == packet


@ECONOMICAL
@given(PACKETS, st.data())
def test_a_packet_cut_anywhere_is_refused(packet: Packet, data: st.DataObject) -> None:
    octets = encode_packet(packet)
    with pytest.raises(DecodingError):
        decode_packet(octets[: data.draw(st.integers(0, len(octets) - 1))])


def test_prepares_and_answers_are_told_apart() -> None:
    prepare, fulfill = _prepare(), Fulfill(bytes(32))
    assert decode_prepare(encode_packet(prepare)) == prepare
    assert decode_reply(encode_packet(fulfill)) == fulfill
    for read, packet in ((decode_prepare, fulfill), (decode_reply, prepare)):
        with pytest.raises(DecodingError) as refused:
            read(encode_packet(packet))
        assert refused.value.code == "wrong_type"


def test_data_has_a_limit_in_both_directions() -> None:
    assert decode_packet(encode_packet(Fulfill(bytes(32), bytes(MAX_DATA_BYTES))))
    with pytest.raises(EncodingError):
        encode_packet(Fulfill(bytes(32), bytes(MAX_DATA_BYTES + 1)))
    contents = bytes(32) + b"\x82\x80\x00" + bytes(MAX_DATA_BYTES + 1)
    with pytest.raises(DecodingError) as refused:
        decode_packet(b"\x0d\x82" + len(contents).to_bytes(2, "big") + contents)
    assert (refused.value.code, refused.value.field) == ("too_long", "data")


def test_what_is_no_packet_is_never_sent() -> None:
    with pytest.raises(EncodingError):
        encode_packet(b"packet")  # type: ignore[arg-type]


def test_only_the_preimage_answers_a_prepare() -> None:
    prepare = _prepare(condition=condition_of(b"x" * 32))
    assert prepare.is_answered_by(b"x" * 32)  # ILP-3
    assert not prepare.is_answered_by(b"y" * 32)


def test_a_moment_of_another_zone_is_written_in_utc_and_a_naive_one_never() -> None:
    there = datetime(2026, 11, 20, 20, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert ilp_timestamp(there) == b"20261120183000999"
    assert btp_timestamp(there) == b"20261120183000.999Z"
    with pytest.raises(EncodingError):
        ilp_timestamp(there.replace(tzinfo=None))
    for beyond in (
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-2))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=2))),
        datetime(99, 12, 31, tzinfo=UTC),
    ):
        with pytest.raises(EncodingError):
            ilp_timestamp(beyond)


def test_a_year_that_other_languages_take_for_another_is_none() -> None:
    assert read_ilp_timestamp(b"01000101000000000").year == 100
    with pytest.raises(DecodingError):
        read_ilp_timestamp(b"00991231235959999")  # ILP-1


@ECONOMICAL
@given(MOMENTS)
def test_moments_come_back(moment: datetime) -> None:
    assert read_ilp_timestamp(ilp_timestamp(moment)) == moment
    assert read_btp_timestamp(btp_timestamp(moment)) == moment


@pytest.mark.parametrize(
    ("text", "milliseconds"), [("20261120180000Z", 0), ("20261120180000.2Z", 200), ("2026-11-20T18:00:00.25Z", 250)]
)
def test_an_error_may_carry_none_to_three_digits_of_the_fraction(text: str, milliseconds: int) -> None:
    assert read_btp_timestamp(text.encode()) == NOW + timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize("text", ["", "2026", "20261120180000", "20261320180000.000Z", "20261120180000.1234Z", "é"])
def test_what_is_no_moment_fails_no_frame(text: str) -> None:
    assert read_btp_timestamp(text.encode()) is None


def test_below_an_address_means_segment_by_segment() -> None:
    assert is_at("test.bob", "test.bob")
    assert is_at("test.bob.x", "test.bob")
    assert not is_at("test.bobby", "test.bob")
    assert is_peer_address("peer.config")
    assert not is_peer_address("test.peer.config")


def test_a_child_has_one_more_segment_and_still_an_address() -> None:
    assert child_address("test.bob", "a-1") == "test.bob.a-1"
    for parent, segment in (("test.bob", ""), ("test.bob", "a.b"), ("test.bob", "é"), ("test." + "a" * 1018, "b")):
        with pytest.raises(EncodingError):
            child_address(parent, segment)
    assert not is_address("test." + "a" * 1019)


@pytest.mark.parametrize(
    ("left_s", "code"), [(-1, "R00"), (0, "R00"), (0.5, "R02"), (1, "R02"), (1.5, None), (30, None), (10_000, None)]
)
def test_a_packet_must_leave_time_to_be_answered(left_s: float, code: str | None) -> None:
    prepare = _prepare(expires_at=NOW + timedelta(seconds=left_s))
    refusal = judge_expiry(prepare, NOW, "test.us")  # ILP-2
    assert (refusal and (refusal.code, refusal.triggered_by)) == (code and (code, "test.us"))


def test_a_far_expiry_caps_our_timer_and_is_not_refused() -> None:
    assert hold_until(_prepare(expires_at=NOW + timedelta(days=9)), NOW) == NOW + timedelta(seconds=60)  # ILP-2
    assert hold_until(_prepare(), NOW) == NOW + timedelta(seconds=30)


def test_a_packet_that_is_too_large_learns_how_large_it_may_be() -> None:
    limit = AmountLimit(received=1_000_000, maximum=1_000)
    assert read_amount_limit(amount_too_large(limit, "test.us")) == limit
    assert read_amount_limit(Reject("F08", "test.us")) is None
    assert read_amount_limit(Reject("F99", "test.us", data=bytes(16))) is None


def test_the_words_that_peers_wait_for() -> None:
    assert over_the_balance("test.us") == Reject("T04", "test.us", "exceeded maximum balance.")
    assert OVER_THE_BALANCE == "exceeded maximum balance."


def test_every_code_says_what_a_sender_does() -> None:
    assert len(IlpError) == 21
    assert {str(code) for code in IlpError if is_final(code)} == {f"F0{n}" for n in range(9)} | {"F99"}
