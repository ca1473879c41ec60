from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.amounts import MAX_AMOUNT
from shared.interledger.errors import DecodingError, EncodingError, SealError
from shared.interledger.packets import Fulfill, Prepare, Reject
from shared.interledger.rejections import AmountLimit, read_amount_limit
from shared.interledger.stream.crypto import ConnectionKeys, open_sealed, seal
from shared.interledger.stream.frames import (
    _TABLE,
    ConnectionClose,
    ConnectionNewAddress,
    StreamFrame,
    StreamMoney,
    StreamReceipt,
)
from shared.interledger.stream.packets import MAX_FRAMES, StreamPacket, decode_stream_packet, encode_stream_packet
from shared.interledger.stream.receipts import ReceiptSetup, make_receipt, read_receipt
from shared.interledger.stream.receiver import MAX_SEQUENCE, Offer, StreamReceiver
from shared.interledger.stream.tokens import Asset, Credentials, Terms, TokenKeys

ECONOMICAL = settings(max_examples=60, deadline=None)

OURS = "test.us.stream"
SECRET = b"s" * 32
NOW = datetime(2026, 11, 20, tzinfo=UTC)
RECEIPTS = ReceiptSetup(b"n" * 16, b"r" * 32)
ASSET = Asset("GBYTE", 9)

_VALUES = {
    "uint": st.integers(0, MAX_AMOUNT),
    "ample": st.integers(0, MAX_AMOUNT),
    "uint8": st.integers(0, 255),
    "text": st.text(max_size=30),
    "octets": st.binary(max_size=200),
}
FRAMES: st.SearchStrategy[StreamFrame] = st.one_of(
    *(st.builds(cls, *(_VALUES[kind] for kind in kinds)) for cls, kinds in _TABLE.values())
)
UINTS = st.integers(0, MAX_AMOUNT)
PACKETS = st.builds(StreamPacket, UINTS, st.integers(0, 255), UINTS, st.lists(FRAMES, max_size=6).map(tuple))


class Counting:
    """Bytes that are never the same twice."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, length: int) -> bytes:
        self.number += 1
        return self.number.to_bytes(length, "big")


def _receiver(**options: int) -> StreamReceiver:
    return StreamReceiver(SECRET, OURS, random_bytes=Counting(), **options)


def _prepare(
    credentials: Credentials,
    *frames: StreamFrame,
    amount: int = 100,
    least: int = 0,
    sequence: int = 1,
    packet_type: int = 12,
    condition: bytes | None = None,
) -> Prepare:
    keys = ConnectionKeys(credentials.shared_secret)
    packet = StreamPacket(sequence, packet_type, least, frames or (StreamMoney(1, 1),))
    data = keys.seal(encode_stream_packet(packet), Counting())
    return Prepare(amount, NOW, condition or keys.condition(data), credentials.address, data)


def _said(credentials: Credentials, answer: Fulfill | Reject | Offer) -> StreamPacket:
    assert not isinstance(answer, Offer)
    return decode_stream_packet(ConnectionKeys(credentials.shared_secret).open(answer.data))


# Packets


@ECONOMICAL
@given(PACKETS)
def test_a_packet_comes_back_with_any_padding(packet: StreamPacket) -> None:
    octets = encode_stream_packet(packet)
    assert decode_stream_packet(octets) == packet
    assert decode_stream_packet(encode_stream_packet(packet, len(octets) + 9)) == packet


@ECONOMICAL
@given(PACKETS, st.data())
def test_a_packet_cut_anywhere_is_refused(packet: StreamPacket, data: st.DataObject) -> None:
    octets = encode_stream_packet(packet)
    with pytest.raises(DecodingError):
        decode_stream_packet(octets[: data.draw(st.integers(0, len(octets) - 1))])


def test_frames_have_a_limit_in_number() -> None:
    full = StreamPacket(1, 12, 0, (ConnectionNewAddress(""),) * MAX_FRAMES)
    assert decode_stream_packet(encode_stream_packet(full)) == full
    with pytest.raises(EncodingError):
        encode_stream_packet(StreamPacket(1, 12, 0, (ConnectionNewAddress(""),) * (MAX_FRAMES + 1)))
    with pytest.raises(DecodingError) as refused:
        decode_stream_packet(bytes.fromhex("010c01010100020401"))
    assert refused.value.code == "too_many"


def test_what_is_no_frame_is_never_sent() -> None:
    with pytest.raises(EncodingError):
        encode_stream_packet(StreamPacket(1, 12, 0, ("frame",)))  # type: ignore[arg-type]


def test_a_packet_is_never_cut_to_its_padding() -> None:
    with pytest.raises(EncodingError):
        encode_stream_packet(StreamPacket(1, 12, 0), pad_to=7)
    assert len(encode_stream_packet(StreamPacket(1, 12, 0), pad_to=8)) == 8


# Sealing


@ECONOMICAL
@given(st.binary(max_size=200), st.data())
def test_what_is_sealed_opens_and_nothing_that_was_changed_does(plaintext: bytes, data: st.DataObject) -> None:
    sealed = seal(SECRET, plaintext, Counting())
    assert open_sealed(SECRET, sealed) == plaintext
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(changed), sealed[:-1], sealed + b"\0"):
        with pytest.raises(SealError):
            open_sealed(SECRET, broken)


def test_a_shortened_tag_is_no_tag() -> None:
    sealed = seal(SECRET, b"", Counting())
    for length in range(28):
        with pytest.raises(SealError) as refused:
            open_sealed(SECRET, sealed[:length])
        assert refused.value.code == "too_short"


def test_secrets_show_themselves_nowhere() -> None:
    credentials = _receiver().issue(Terms(receipts=RECEIPTS))
    offer = _receiver().receive(_prepare(credentials))
    assert isinstance(offer, Offer)
    fulfill = offer.accept()
    shown = repr((credentials, RECEIPTS, offer, fulfill, ConnectionKeys(credentials.shared_secret), TokenKeys(SECRET)))
    for secret in (credentials.shared_secret, RECEIPTS.secret, SECRET, fulfill.fulfillment):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown


# Addresses


@ECONOMICAL
@given(
    st.none() | st.text(st.characters(max_codepoint=127), max_size=60),
    st.none() | st.just(RECEIPTS),
    st.none() | st.builds(Asset, st.text(max_size=20), st.integers(0, 255)),
)
def test_any_front_with_the_secret_reads_the_terms(
    tag: str | None, receipts: ReceiptSetup | None, asset: Asset | None
) -> None:
    terms = Terms(tag, receipts, asset)
    credentials = _receiver().issue(terms)
    assert _receiver().terms_of(credentials.address) == terms


def test_a_connection_has_one_address() -> None:
    credentials = _receiver().issue(Terms())
    token = credentials.address.removeprefix(f"{OURS}.")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".index(token[-1])
    aliases = {f"{OURS}.{token}.more", f"{OURS}.{token}~", f"{OURS}.{token[:-1]}"}
    if len(token) % 4:  # the last character has bits that decoders ignore
        aliases.add(
            f"{OURS}.{token[:-1]}{'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'[last ^ 1]}"
        )
    for alias in aliases:
        assert _receiver().terms_of(alias) is None
        prepare = _prepare(Credentials(alias, credentials.shared_secret))
        assert _receiver().receive(prepare) == Reject("F06", OURS)


def test_addresses_of_others_are_not_ours() -> None:
    credentials = StreamReceiver(b"o" * 32, OURS, random_bytes=Counting()).issue(Terms())
    assert _receiver().terms_of(credentials.address) is None
    assert _receiver().receive(_prepare(credentials)) == Reject("F06", OURS)
    for address in (OURS, f"{OURS}x.{credentials.address}", "test.them"):
        assert _receiver().receive(_prepare(Credentials(address, SECRET))) == Reject("F02", OURS)


def test_terms_that_do_not_fit_into_an_address_are_refused() -> None:
    long = StreamReceiver(SECRET, "test." + "a" * 700, random_bytes=Counting())
    assert long.issue(Terms())
    for receiver, terms in ((long, Terms("x" * 250)), (_receiver(), Terms("x" * 256)), (_receiver(), Terms("é"))):
        with pytest.raises(EncodingError):
            receiver.issue(terms)
    with pytest.raises(SealError):
        StreamReceiver(b"short", OURS, random_bytes=Counting())


# Receiving


def test_money_is_offered_and_then_fulfilled() -> None:
    receiver = _receiver()
    credentials = receiver.issue(Terms("invoice-42", RECEIPTS, ASSET))
    prepare = _prepare(credentials, ConnectionNewAddress("test.payer"), StreamMoney(1, 1), amount=100, least=99)
    offer = receiver.receive(prepare)
    assert isinstance(offer, Offer)
    assert (offer.amount, offer.sequence, offer.terms.tag) == (100, 1, "invoice-42")
    assert offer.connection_id == hashlib.sha256(credentials.address.encode()).hexdigest()  # STR-3
    assert StreamMoney(1, 1) in offer.frames
    fulfill = offer.accept(total_received=350)
    assert prepare.is_answered_by(fulfill.fulfillment)
    said = _said(credentials, fulfill)
    assert (said.sequence, said.packet_type, said.prepare_amount) == (1, 13, 100)
    receipt = said.first(StreamReceipt)
    assert receipt is not None
    assert read_receipt(receipt.receipt, RECEIPTS.secret).total_received == 350


def test_the_same_packet_has_the_same_id_on_any_front_and_others_have_others() -> None:
    credentials = _receiver().issue(Terms())
    offers = [_receiver().receive(_prepare(credentials, sequence=number)) for number in (1, 1, 2)]
    ids = [offer.packet_id for offer in offers if isinstance(offer, Offer)]
    assert ids[0] == ids[1] != ids[2]  # STR-1


def test_an_answer_is_never_sealed_under_an_iv_twice() -> None:
    receiver = _receiver()
    credentials = receiver.issue(Terms())
    offer = receiver.receive(_prepare(credentials))
    assert isinstance(offer, Offer)
    assert len({offer.accept().data[:12], offer.busy().data[:12], offer.decline().data[:12]}) == 3


def test_a_probe_learns_what_arrived_and_from_which_amount_on_it_is_too_much() -> None:
    receiver = _receiver(max_packet_amount=1_000)
    credentials = receiver.issue(Terms(asset=ASSET))
    probe = _prepare(credentials, ConnectionNewAddress("test.payer"), amount=1_000, condition=b"x" * 32)
    answer = receiver.receive(probe)
    assert isinstance(answer, Reject)
    assert (answer.code, _said(credentials, answer).prepare_amount) == ("F99", 1_000)
    large = receiver.receive(_prepare(credentials, amount=1_001, condition=b"x" * 32))
    assert isinstance(large, Reject)
    assert read_amount_limit(large) == AmountLimit(1_001, 1_000)


def test_too_little_is_refused_with_what_arrived() -> None:
    receiver = _receiver()
    credentials = receiver.issue(Terms())
    answer = receiver.receive(_prepare(credentials, amount=98, least=99))
    assert isinstance(answer, Reject)
    assert (answer.code, _said(credentials, answer).prepare_amount) == ("F99", 98)


def test_a_packet_for_an_answer_is_no_request() -> None:
    receiver = _receiver()
    assert receiver.receive(_prepare(receiver.issue(Terms()), packet_type=13)) == Reject("F00", OURS)


def test_sealed_junk_of_a_payer_is_refused_like_any_other() -> None:
    receiver = _receiver()
    credentials = receiver.issue(Terms())
    data = ConnectionKeys(credentials.shared_secret).seal(b"\x01\x0c\x00", Counting())
    assert receiver.receive(Prepare(5, NOW, bytes(32), credentials.address, data)) == Reject("F06", OURS)


@pytest.mark.parametrize(
    ("frames", "sequence"), [((ConnectionClose(1, ""), StreamMoney(1, 1)), 1), ((), MAX_SEQUENCE + 1)]
)
def test_a_connection_that_is_over_takes_nothing(frames: tuple[StreamFrame, ...], sequence: int) -> None:
    receiver = _receiver()
    credentials = receiver.issue(Terms())
    answer = receiver.receive(_prepare(credentials, *frames, sequence=sequence))  # STR-5
    assert isinstance(answer, Reject)
    assert answer.code == "F99"
    assert _said(credentials, answer).frames == (ConnectionClose(1, ""),)
    assert isinstance(receiver.receive(_prepare(credentials, sequence=MAX_SEQUENCE)), Offer)


def test_a_receipt_is_made_for_whoever_asked_for_one() -> None:
    for receipts, total in ((None, 5), (RECEIPTS, None)):
        credentials = _receiver().issue(Terms(receipts=receipts))
        offer = _receiver().receive(_prepare(credentials))
        assert isinstance(offer, Offer)
        assert _said(credentials, offer.accept(total)).frames == ()


@ECONOMICAL
@given(st.integers(0, 57), st.integers(1, 255))
def test_a_receipt_with_any_byte_changed_is_none(place: int, change: int) -> None:
    receipt = bytearray(make_receipt(RECEIPTS, 1, 1_000))
    receipt[place] ^= change
    with pytest.raises(SealError):
        read_receipt(bytes(receipt), RECEIPTS.secret)
