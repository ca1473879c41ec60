"""Whatever a stranger sends, only MoneysocketError is raised, nothing is credited and nothing grows without end."""

from __future__ import annotations

import contextlib
import json
import random
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moneysocket_support import ACCOUNT, BOLT11, INFO, NOW, SEED, consumer, dice, frame_of, provider

from shared.moneysocket import frames
from shared.moneysocket.beacons import Beacon, OtherLocation, WebSocketLocation, decode_beacon
from shared.moneysocket.bech32 import encode_bech32
from shared.moneysocket.bigsize import encode_bigsize, read_bigsize
from shared.moneysocket.dialects import JAVASCRIPT, PYTHON, SLUICE
from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.events import (
    Announced,
    Event,
    IncomingPayment,
    InvoiceReceived,
    InvoiceWanted,
    PaymentProven,
    PaymentWanted,
    ProviderKnown,
)
from shared.moneysocket.frames import decode_frame
from shared.moneysocket.json_text import javascript_number
from shared.moneysocket.limits import Limits
from shared.moneysocket.listener import Listener, SessionReported
from shared.moneysocket.matchmaker import Matchmaker, SendFrame
from shared.moneysocket.message_text import read_message, write_message
from shared.moneysocket.messages import (
    VERSION_0,
    NotifyError,
    NotifyInvoice,
    NotifyPong,
    NotifyPreimage,
    NotifyProvider,
    NotifyProviderNotReady,
    NotifyRendezvous,
    NotifyRendezvousEnd,
    NotifyRendezvousNotReady,
    RequestInvoice,
    RequestPay,
    RequestPing,
    RequestProvider,
    RequestRendezvous,
)
from shared.moneysocket.opinion_messages import OPINION_KINDS
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.session import ProviderSession, Session
from shared.moneysocket.showing import show, show_long
from shared.moneysocket.tlv import Tlv, iterate_tlvs
from shared.moneysocket.v1.beacons import decode_beacon_v1
from shared.moneysocket.v1.messages import decode_message_v1, transport_ping
from shared.moneysocket.v1.provider_info import read_provider_info_v1
from shared.moneysocket.v1.wads import read_wad_v1
from shared.moneysocket.wads import Wad, bitcoin, parse_amount, read_wad

if TYPE_CHECKING:
    from collections.abc import Callable

CATALOGUE = VERSION_0.extended(*OPINION_KINDS)
ID = SEED.rendezvous_id
VALID = [
    (RequestRendezvous, {"rendezvous_id": ID}),
    (NotifyRendezvous, {"rendezvous_id": ID}),
    (NotifyRendezvousNotReady, {"rendezvous_id": ID}),
    (NotifyRendezvousEnd, {"rendezvous_id": ID}),
    (RequestProvider, {}),
    (NotifyProvider, {"account_uuid": ACCOUNT, "payer": True, "payee": True, "wad": bitcoin(5)}),
    (NotifyProviderNotReady, {}),
    (RequestPing, {}),
    (NotifyPong, {}),
    (RequestInvoice, {"msats": 5}),
    (RequestPay, {"bolt11": BOLT11}),
    (NotifyInvoice, {"bolt11": BOLT11}),
    (NotifyPreimage, {"preimage": "ab" * 32}),
    (NotifyError, {"error_msg": "no"}),
]
MONEY = (InvoiceWanted, PaymentWanted, InvoiceReceived, PaymentProven, IncomingPayment, ProviderKnown)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.text()
    | st.sampled_from([0, 1, -1, 2**53, 2**63, "lnbc1", ID, ACCOUNT, "BTC", "USD", "LTC", "\ud800", "\0", "REQUEST"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
clear_texts = st.sampled_from(VALID).map(lambda kind: text_of(*kind))


def text_of(kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(write_message(decode_frame(frame_of(kind, **fields), SEED)))
    return loaded


@st.composite
def bent_messages(draw: st.DrawFn) -> dict[str, Any]:
    """A valid message with values replaced, left out and added, in the wad too."""
    message = dict(draw(clear_texts))
    for _ in range(draw(st.integers(0, 3))):
        message[draw(st.sampled_from(sorted(message)) | st.text(max_size=9))] = draw(values)
    if isinstance(message.get("wad"), dict) and message["wad"] and draw(st.booleans()):
        wad = message["wad"] = dict(message["wad"])
        wad[draw(st.sampled_from(sorted(wad)))] = draw(values)
    if draw(st.booleans()):
        message.pop(draw(st.sampled_from(sorted(message))))
    return message


def encrypted(text: bytes, seed: SharedSeed = SEED) -> bytes:
    """Any text as a well encrypted frame: what somebody with the seed may send."""
    return frames._encrypt(text, seed, bytes(16))


def only_our_errors(call: Callable[[], object]) -> None:
    with contextlib.suppress(MoneysocketError):
        call()


def joined_sessions() -> list[Session]:
    """A consumer and a provider in every state that frames from the other end can find them in."""
    sessions: list[Session] = []
    for make in (consumer, provider, partial(provider, None)):
        for steps in range(3):
            session = make(random=dice(steps))
            session.connected(NOW)
            if steps > 0:
                session.receive(frame_of(NotifyRendezvous, rendezvous_id=ID), NOW)
            if steps > 1:
                ready = {"account_uuid": ACCOUNT, "payer": True, "payee": True, "wad": None}
                session.receive(frame_of(NotifyProvider, **ready), NOW)
                session.receive(frame_of(RequestProvider), NOW)
            sessions.append(session)
    for session in sessions:
        session.take_events()
        session.take_frames()
    return sessions


def judge(frame: bytes) -> None:
    for dialect in (SLUICE, PYTHON, JAVASCRIPT):
        for seed in (SEED, None):
            only_our_errors(lambda: decode_frame(frame, seed, dialect, CATALOGUE))  # noqa: B023


@given(st.binary(max_size=200))
def test_bytes(data: bytes) -> None:
    judge(data)
    judge(encrypted(data))
    for read in (read_bigsize, lambda raw: list(iterate_tlvs(raw)), lambda raw: decode_message_v1(raw, NOW)):
        only_our_errors(partial(read, data))
    for prefix in ("moneysocket", "moneysocket-1"):
        for wrapped in (data, Tlv(0, data).encode(), Tlv(65979, data).encode()):
            only_our_errors(lambda: decode_beacon(encode_bech32(prefix, wrapped)))  # noqa: B023
            only_our_errors(lambda: decode_beacon_v1(encode_bech32(prefix, wrapped)))  # noqa: B023


@given(st.text(max_size=120))
def test_texts(text: str) -> None:
    for read in (decode_beacon, decode_beacon_v1, parse_amount, SharedSeed.from_hex, read_message):
        only_our_errors(partial(read, text))


@given(values)
def test_values(value: Any) -> None:
    for dialect in (SLUICE, PYTHON, JAVASCRIPT):

        def shown(dialect: Any = dialect) -> None:
            wad = read_wad(value, dialect)
            show(wad, dialect), show_long(wad, dialect), wad.with_msats(5), wad.to_json(dialect)

        only_our_errors(shown)
    for read in (read_wad_v1, read_provider_info_v1):
        only_our_errors(partial(read, value))
    spoken = Tlv(2, json.dumps(value).encode()).encode()
    only_our_errors(lambda: decode_message_v1(Tlv(0, bytes.fromhex("000300636301020000") + spoken).encode(), NOW))


@given(bent_messages())
def test_bent_messages_of_somebody_with_the_seed(message: dict[str, Any]) -> None:
    text = json.dumps(message).encode()
    judge(text)
    frame = encrypted(text)
    judge(frame)
    for session in joined_sessions():
        session.receive(frame, NOW)
        session.receive(text, NOW)
        session.tick(NOW + 5)
        for event in session.take_events():
            repr(event).encode("utf-8")
            assert json.dumps(repr(event))
    for dialect in (SLUICE, PYTHON, JAVASCRIPT):

        def written_again(dialect: Any = dialect) -> None:
            write_message(read_message(text, dialect), dialect)

        only_our_errors(written_again)


@given(st.dictionaries(st.sampled_from(["msats", "asset_units", "decimals", "code", "symbol"]), values))
def test_bent_wads(changes: dict[str, Any]) -> None:
    wad = {**bitcoin(5).to_json(), "asset_stable": True, "code": "EGG", **changes}
    for dialect in (SLUICE, PYTHON, JAVASCRIPT):

        def used(dialect: Any = dialect) -> None:
            taken = read_wad(wad, dialect)
            show(taken, dialect), show_long(taken, dialect), taken.with_msats(7), taken.whole_msats
            write_message(
                read_message(json.dumps(text_of(NotifyProvider, VALID[5][1]) | {"wad": wad}), dialect), dialect
            )

        only_our_errors(used)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_of_javascript_mean_the_same(number: float) -> None:
    assert float(javascript_number(number)) == number


@given(st.integers(0, 2**64 - 1))
def test_bigsize_is_read_as_it_was_written(value: int) -> None:
    assert read_bigsize(encode_bigsize(value)) == (value, len(encode_bigsize(value)))


locations = st.builds(
    WebSocketLocation, st.text(st.characters(codec="utf-8")), st.integers(0, 2**32), use_tls=st.booleans()
)
others = st.builds(
    OtherLocation, st.sampled_from(["WebRTC", "Bluetooth", "NFC"]), st.text(st.characters(codec="utf-8"))
)


@given(st.binary(min_size=16, max_size=16), st.lists(locations | others, max_size=4))
def test_a_beacon_is_read_as_it_was_written(secret: bytes, places: list[Any]) -> None:
    beacon = Beacon(SharedSeed(secret), tuple(places))
    assert decode_beacon(beacon.encode()) == beacon


def processed(count: int = 3) -> tuple[list[Session], list[bytes]]:
    """Sessions, and frames of money that they have seen: what a relay can record."""
    sessions = [session for session in joined_sessions() if session.is_announced]
    recorded = []
    for _ in range(count):
        for kind, fields in (VALID[5], *VALID[9:13]):
            recorded.append(frame_of(kind, **fields))
            for session in sessions:
                session.receive(recorded[-1], NOW)
    for session in sessions:
        session.take_events()
    return sessions, recorded


def bend(frame: bytes, chance: random.Random) -> bytes:
    """What somebody without the seed can make of a recorded frame."""
    bent = bytearray(frame)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(bent) + 1)
        match chance.randrange(8):
            case 0:
                bent[place:place] = chance.randbytes(chance.randint(1, 32))
            case 1:
                del bent[place : place + chance.randint(1, 32)]
            case 2:
                block = place // 16 * 16
                bent[block:block] = bent[chance.randrange(len(bent) + 1) // 16 * 16 :][:16]
            case 3:
                bent = bent[: place // 16 * 16]
            case 4:
                return chance.randbytes(chance.randrange(200))
            case _ if bent:
                bent[place % len(bent)] ^= 1 << chance.randrange(8)
        bent = bent or bytearray(16)
    return bytes(bent)


def money_in(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, MONEY)]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_nothing_is_credited_for_frames_of_somebody_without_the_seed(seed: int) -> None:
    chance = random.Random(seed)
    sessions, recorded = processed()
    for _ in range(20):
        frame = bend(chance.choice(recorded), chance)
        for session in sessions:
            session.receive(frame, NOW + 1)
    assert [money_in(session.take_events()) for session in sessions] == [[] for _ in sessions]


def everything(chance: random.Random) -> bytes:
    kind, fields = chance.choice(VALID)
    frame = frame_of(kind, SEED if chance.randrange(4) else SharedSeed(bytes(16)), **fields)
    return frame if chance.randrange(3) else bend(frame, chance)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_a_matchmaker_takes_anything_in_any_order_and_forgets_who_left(seed: int) -> None:
    chance = random.Random(seed)
    matchmaker, now_s = Matchmaker(random=dice(), limits=Limits(max_diallers=6)), NOW
    frames = [frame_of(RequestRendezvous, rendezvous_id=ID)] * 3
    open_keys: set[int] = set()
    for key in range(120):
        now_s += chance.choice([0, 0, 1, 40])
        match chance.randrange(4):
            case 0:
                matchmaker.connected(key, now_s)
                open_keys.add(key)
            case 1:
                matchmaker.closed(chance.randrange(key + 1), now_s)
            case 2:
                matchmaker.tick(now_s)
            case _:
                frame = chance.choice([*frames, everything(chance)])
                matchmaker.receive(chance.randrange(key + 1), frame, now_s)
        for output in matchmaker.take_outputs():
            if isinstance(output, SendFrame):
                assert output.key in open_keys
        assert len(matchmaker) <= 6
    for key in open_keys:
        matchmaker.closed(key, now_s)
    assert (len(matchmaker), matchmaker.waiting, matchmaker.joined) == (0, 0, 0)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_a_listener_always_serves_again(seed: int) -> None:
    chance = random.Random(seed)
    listener = Listener(random=dice(), limits=Limits(max_diallers=5))
    listener.accept(SEED, partial(ProviderSession, info=INFO), NOW)
    now_s, announced = NOW, 0
    for key in range(80):
        now_s += chance.choice([0, 0, 1, 40])
        match chance.randrange(4):
            case 0:
                listener.connected(key, now_s)
                listener.receive(key, frame_of(RequestRendezvous, rendezvous_id=ID), now_s)
            case 1:
                listener.closed(chance.randrange(key + 1), now_s)
            case 2:
                listener.tick(now_s)
            case _:
                listener.receive(chance.randrange(key + 1), everything(chance), now_s)
        for output in listener.take_outputs():
            if isinstance(output, SessionReported):
                announced += isinstance(output.event, Announced)
    for key in range(80):
        listener.closed(key, now_s)
    listener.connected("last", now_s)
    listener.receive("last", frame_of(RequestRendezvous, rendezvous_id=ID), now_s)
    told = [
        output.frame for output in listener.take_outputs() if isinstance(output, SendFrame) and output.key == "last"
    ]
    assert [decode_frame(frame, SEED).NAME for frame in told] == ["NOTIFY_RENDEZVOUS"]


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_hundred_thousand_random_and_bent_frames() -> None:
    chance = random.Random(20)
    sessions, recorded = processed(20)
    for number in range(100_000):
        frame = bend(chance.choice(recorded), chance)
        only_our_errors(lambda: decode_frame(frame, chance.choice([SEED, None])))  # noqa: B023
        for place, session in enumerate(sessions):
            session.receive(frame, NOW + 1)
            assert money_in(session.take_events()) == []
            session.take_frames()
            if session.wants_close:
                sessions[place] = processed(0)[0][place]
                for known in recorded:
                    sessions[place].receive(known, NOW)
                sessions[place].take_events()
        if number % 1000 == 0:
            judge(everything(chance))


def test_wads_are_made_of_finite_numbers_only() -> None:
    for msats in (-1, float("inf"), float("nan"), 10**400):
        with pytest.raises(MoneysocketError):
            Wad(msats, asset_stable=False, asset_units=0, code="BTC")
    assert transport_ping(ACCOUNT, NOW).is_ping


class UnrulyRelay:
    """Drops, repeats, delays and reorders what it should carry, within one pair."""

    def __init__(self, sessions: tuple[Session, Session], chance: random.Random) -> None:
        self.sessions, self.chance = sessions, chance
        self.carried: list[tuple[int, bytes]] = []

    def work(self, now_s: float) -> None:
        for place, session in enumerate(self.sessions):
            self.carried += [(1 - place, frame) for frame in session.take_frames()]
        for _ in range(min(len(self.carried), 6)):
            place, frame = self.chance.choice(self.carried)
            if self.chance.randrange(3):
                self.carried.remove((place, frame))
            if self.chance.randrange(8):
                self.sessions[place].receive(frame, now_s)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_over_an_unruly_relay_every_request_is_carried_out_at_most_once_and_proven_rightly(seed: int) -> None:
    chance = random.Random(seed)
    asking, providing = consumer(random=dice(seed)), provider(random=dice(seed + 1))
    for session in (asking, providing):
        session.connected(NOW)
        session.receive(frame_of(NotifyRendezvous, rendezvous_id=ID), NOW)
        session.take_events()
    relay, asked, paid, proven = UnrulyRelay((asking, providing), chance), set(), [], []
    for second in range(60):
        if asking.is_announced and len(asked) < 10 and chance.randrange(2):
            preimage = chance.randbytes(32)
            asked.add(asking.request_pay(BOLT11 + preimage.hex(), NOW + second, sha256(preimage).hexdigest()))
        relay.work(NOW + second)
        for event in providing.take_events():
            if isinstance(event, PaymentWanted):
                paid.append(event.request_uuid)
                providing.notify_preimage(event.bolt11.removeprefix(BOLT11), NOW + second, event.request_uuid)
        for event in asking.take_events():
            if isinstance(event, PaymentProven):
                assert event.is_verified
                proven.append(event.request_uuid)
    assert len(paid) == len(set(paid))
    assert len(proven) == len(set(proven))
    assert set(proven) <= set(paid) <= asked
