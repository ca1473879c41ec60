"""Whatever a stranger sends: it means something, or it is refused with an `InterledgerError`; nothing else happens."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger.btp.addresses import parse_btp_address
from shared.interledger.btp.connection import BtpConnection, State
from shared.interledger.btp.events import DataRequested, LoginRequested, MessageRequested, TransferRequested
from shared.interledger.btp.frames import Message, Transfer, decode_frame, encode_frame
from shared.interledger.btp.login import login_entries, read_login
from shared.interledger.btp.subprotocols import values_of
from shared.interledger.claims import (
    READS,
    read_channel_answer,
    read_claim,
    read_info_answer,
    read_last_claim_answer,
    read_question,
)
from shared.interledger.errors import InterledgerError
from shared.interledger.ildcp import check_config_request, read_config_response
from shared.interledger.packets import Prepare, decode_packet, decode_prepare, encode_packet
from shared.interledger.rejections import judge_expiry
from shared.interledger.stream.packets import decode_stream_packet
from shared.interledger.stream.receipts import read_receipt
from shared.interledger.stream.receiver import Offer, StreamReceiver
from tests.vectors.ilp_vectors import cases

if TYPE_CHECKING:
    from collections.abc import Iterator

ECONOMICAL = settings(max_examples=60, deadline=None)

NOW = datetime(2026, 11, 20, tzinfo=UTC)
STEPS = cases("stream_receiver", "stateless.reply")
PREPARES = [bytes.fromhex(step["prepare"]) for case in STEPS for step in case["in"]["steps"]]
LOGIN = encode_frame(Message(1, login_entries("", "secret")))


def _seeds() -> dict[str, list[bytes]]:
    """Valid bytes of every kind, and known invalid ones: what mutations begin with."""

    def octets(name: str, *ops: str) -> list[bytes]:
        return [bytes.fromhex(case["in"]) for case in cases(name, *ops) if len(case["in"]) < 3_000]

    frames = octets("btp_frames", "decode") + octets("btp_malformed", "decode")
    claims = [bytes.fromhex(case["out"]) for case in cases("paychan_claims", "frame")]
    return {
        "frame": frames + claims + [LOGIN],
        "packet": octets("ilp_packets", "decode") + octets("ildcp", "request.decode", "response.decode") + PREPARES,
        "stream": octets("stream_packets", "decode"),
    }


def _mutations(rng: random.Random, seeds: list[bytes], count: int) -> Iterator[bytes]:
    for _ in range(count):
        octets = bytearray(rng.choice(seeds))
        for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
            place = rng.randrange(len(octets) + 1)
            match rng.randrange(5):
                case 0:
                    octets[place : place + 1] = bytes((rng.choice((0, 1, 0x7F, 0x80, 0x81, 0x86, 0xFF)),))
                case 1:
                    octets[place : place + 1] = rng.randbytes(1)
                case 2:
                    del octets[place : place + rng.randrange(1, 9)]
                case 3:
                    octets[place:place] = rng.randbytes(rng.randrange(1, 9))
                case _:
                    other = rng.choice(seeds)
                    octets[place:] = other[rng.randrange(len(other) + 1) :]
        yield bytes(octets)


class Stranger:
    """Reads everything as every part of the package would, and counts what became of it."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        given = STEPS[0]["in"]
        secret, ours = bytes.fromhex(given["serverSecret"]), given["serverAddress"]
        self.receiver = StreamReceiver(secret, ours, random_bytes=bytes)
        self.known = {decode_prepare(octets).data for octets in PREPARES}
        self.connection = self._connection()

    def _connection(self) -> BtpConnection:
        connection = BtpConnection("server", now_s=0.0, utc=lambda: NOW, reads=READS)
        connection.receive(LOGIN)
        connection.accept()
        return connection

    def frame(self, octets: bytes) -> None:
        for event in self.connection.receive(octets):
            self.outcomes[type(event).__name__] += 1
            match event:
                case TransferRequested():
                    self._try(read_claim, event.amount, event.entries)
                    self.connection.respond(event.request_id)
                case DataRequested():
                    self.packet(event.data)
                    self.connection.respond_data(event.request_id, b"")
                case MessageRequested():
                    for read in (read_last_claim_answer, read_info_answer, values_of):
                        self._try(read, event.entries)
                    self._try(read_question, event.name, event.entries)
                    self._try(read_channel_answer, "A" * 32, event.entries)
                    self.connection.refuse(event.request_id, "NotAcceptedError", "no")
        if self.connection.state is State.CLOSED:
            assert self.connection.receive(LOGIN) == []
            self.connection = self._connection()
        first = BtpConnection("server", now_s=0.0, utc=lambda: NOW)
        for event in first.receive(octets):
            if isinstance(event, LoginRequested):
                first.reject("no")
        assert first.state in (State.CLOSED, State.FIRST)

    def packet(self, octets: bytes) -> None:
        packet = self._try(decode_packet, octets)
        if packet is None:
            return
        self._try(read_config_response, packet)
        assert decode_packet(encode_packet(packet)) == packet
        if isinstance(packet, Prepare):
            judge_expiry(packet, NOW, "test.us")
            self._try(check_config_request, packet, NOW)
            answer = self.receiver.receive(packet)
            if isinstance(answer, Offer):
                # Nobody without the connection's secret makes money out of bytes.
                assert packet.data in self.known

    def stream(self, octets: bytes) -> None:
        self._try(decode_stream_packet, octets)
        self._try(read_receipt, octets, bytes(32))

    def _try(self, read: Any, *args: Any) -> Any:
        try:
            value = read(*args)
        except InterledgerError as error:
            self._names_its_reason(error)
            return None
        self.outcomes["read"] += 1
        return value

    def _names_its_reason(self, error: InterledgerError) -> None:
        assert error.code
        assert error.field
        assert error.rule in str(error)
        self.outcomes[type(error).__name__] += 1


def _run(count: int, seed: int) -> Counter[str]:
    rng, stranger, seeds = random.Random(seed), Stranger(), _seeds()
    for kind in ("frame", "packet", "stream"):
        for octets in _mutations(rng, seeds[kind], count):
            getattr(stranger, kind)(octets)
    return stranger.outcomes


def test_a_stranger_can_send_anything() -> None:
    outcomes = _run(700, seed=1)
    # The mutations reach both sides of every door; else this test would say nothing.
    for outcome in ("read", "DecodingError", "TransferRequested", "DataRequested", "Send", "Close", "ClaimError"):
        assert outcomes[outcome] > 5, outcomes


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_stranger_can_send_anything_a_hundred_thousand_times() -> None:
    outcomes = _run(34_000, seed=random.SystemRandom().getrandbits(32))
    assert sum(outcomes.values()) > 100_000


@ECONOMICAL
@given(st.binary(max_size=120))
def test_any_bytes_at_all(octets: bytes) -> None:
    stranger = Stranger()
    for read in (stranger.frame, stranger.packet, stranger.stream):
        read(octets)
    for kind in range(1, 15):
        stranger._try(decode_frame, bytes((kind, 0, 0, 0, 1, len(octets))) + octets)
        stranger._try(decode_packet, bytes((kind, len(octets))) + octets)
    stranger._try(decode_stream_packet, b"\x01\x0c\x01\x01\x01\x00\x01\x01" + octets)


@ECONOMICAL
@given(st.text(max_size=60))
def test_any_text_at_all(text: str) -> None:
    stranger = Stranger()
    stranger._try(parse_btp_address, text)
    stranger._try(parse_btp_address, f"btp+ws://{text}")
    stranger._try(read_login, Transfer(1, 1))
