from __future__ import annotations

import json

import pytest
from moneysocket_support import SEED

from shared.moneysocket.beacons import Beacon, OtherLocation, WebSocketLocation
from shared.moneysocket.bech32 import MAX_CHARS, decode_bech32, encode_bech32
from shared.moneysocket.bigsize import encode_bigsize
from shared.moneysocket.dialects import JAVASCRIPT, PYTHON
from shared.moneysocket.errors import EncodingError, MoneysocketError
from shared.moneysocket.json_text import MAX_DEPTH, javascript_number, read_json
from shared.moneysocket.message_text import read_message, write_message
from shared.moneysocket.messages import NotifyError
from shared.moneysocket.rates import Rate, derive_rate
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.wads import bitcoin, parse_amount, pegged, read_wad

ERROR = {
    "timestamp": 1700000000,
    "protocol": "Moneysocket",
    "protocol_version": "0.0.0",
    "message_class": "NOTIFICATION",
    "notification_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
    "request_reference_uuid": None,
    "notification_name": "NOTIFY_ERROR",
}


@pytest.mark.parametrize(
    ("location", "url"),
    [
        (WebSocketLocation("relay.example"), "wss://relay.example:443"),
        (WebSocketLocation("relay.example.", 11060, use_tls=False), "ws://relay.example.:11060"),
        (WebSocketLocation("127.0.0.1", use_tls=False), "ws://127.0.0.1:80"),
        (WebSocketLocation("::1", 5), "wss://[::1]:5"),
        (WebSocketLocation("docker_service", 65535), "wss://docker_service:65535"),
    ],
)
def test_the_url_of_a_location(location: WebSocketLocation, url: str) -> None:
    assert location.url == url


@pytest.mark.parametrize(
    "location",
    [
        *(WebSocketLocation(host) for host in ("", "a/b", "a@b", "a:80/x", "a b", "a\nb", "é", "-a", "a..b", "x" * 64)),
        WebSocketLocation("a", 65536),
    ],
)
def test_no_socket_is_opened_to_what_is_no_host_or_no_port(location: WebSocketLocation) -> None:
    with pytest.raises(MoneysocketError) as refused:
        _ = location.url
    assert refused.value.code == "bad_location"


def test_the_locations_that_can_be_dialled_come_in_their_order() -> None:
    first, second = WebSocketLocation("a"), WebSocketLocation("b")
    assert Beacon(SEED, (OtherLocation("NFC", "x"), first, second)).websockets == (first, second)


@pytest.mark.parametrize("location", [WebSocketLocation("\ud800"), OtherLocation("NFC", "\ud800")])
def test_what_utf8_cannot_hold_is_not_written(location: WebSocketLocation | OtherLocation) -> None:
    with pytest.raises(MoneysocketError):
        Beacon(SEED, (location,)).encode()


def test_a_kind_of_location_that_nobody_knows_is_not_written() -> None:
    with pytest.raises(MoneysocketError):
        Beacon(SEED, (OtherLocation("Pigeon", "x"),)).encode()


def test_nothing_longer_than_the_limit_is_read_or_written_as_bech32() -> None:
    with pytest.raises(EncodingError) as refused:
        decode_bech32("moneysocket1" + "q" * MAX_CHARS)
    assert refused.value.code == "too_long"
    with pytest.raises(EncodingError):
        encode_bech32("moneysocket", bytes(MAX_CHARS))
    with pytest.raises(EncodingError):
        encode_bech32("MoneySocket", b"")


@pytest.mark.parametrize("value", [-1, 2**64])
def test_a_bigsize_has_64_bits(value: int) -> None:
    with pytest.raises(EncodingError):
        encode_bigsize(value)


@pytest.mark.parametrize("text", ["", "00" * 15, "00" * 17, "zz" * 16])
def test_a_seed_has_sixteen_bytes(text: str) -> None:
    with pytest.raises(MoneysocketError):
        SharedSeed.from_hex(text)


def test_a_wad_is_sent_without_what_a_receiver_would_refuse() -> None:
    rate = Rate("BTC", "USD", 10723.12)
    dollars = pegged(12.99, rate, "USD")
    sent = dollars.to_json()
    assert sent["msats"] == 121_140_115
    assert sent["countries"] is None  # 200 characters are too few for them in one of the libraries
    assert dollars.to_json(PYTHON)["countries"]
    for dialect in (PYTHON, JAVASCRIPT):
        taken = read_wad(sent, dialect)
        assert (taken.countries, taken.symbol) == (dollars.countries, "$")
    assert pegged(1, Rate("BTC", "LTC", 250), "LTC").to_json()["name"] is None
    assert pegged(1, Rate("BTC", "EGG", 2), "EGG", symbol="🍆").to_json()["symbol"] == "🍆"


def test_an_amount_follows_a_new_rate_and_a_new_amount_the_old_rate() -> None:
    wad = pegged(100, Rate("BTC", "USD", 50_000), "USD")
    assert wad.whole_msats == 200_000_000
    assert wad.at_rate(Rate("BTC", "USD", 25_000)).msats == 400_000_000
    assert wad.with_msats(100_000_000).asset_units == 50
    assert bitcoin(0).with_msats(5) == bitcoin(0)
    for order in (lambda: bitcoin(1).at_rate(Rate("BTC", "USD", 1)), lambda: wad.at_rate(Rate("USD", "BTC", 1))):
        with pytest.raises(MoneysocketError):
            order()


@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_rate_is_a_positive_number(value: float) -> None:
    with pytest.raises(MoneysocketError):
        Rate("BTC", "USD", value)


def test_what_is_too_large_to_be_converted_is_refused() -> None:
    with pytest.raises(MoneysocketError):
        Rate("BTC", "USD", 1e300).convert(10**300, "BTC")
    with pytest.raises(MoneysocketError):
        derive_rate("BTC", "CAD", (Rate("BTC", "USD", 2), Rate("EUR", "CAD", 3)))
    with pytest.raises(MoneysocketError):
        pegged(1, Rate("EUR", "CAD", 3), "CAD")
    with pytest.raises(MoneysocketError):
        parse_amount("9" * 41)


def test_text_that_neither_utf8_nor_a_database_can_hold_is_mended() -> None:
    raw = json.dumps({**ERROR, "error_msg": "a\ud800b\0c", "x\ud800": ["\0"]})
    message = read_message(raw)
    assert isinstance(message, NotifyError)
    assert message.error_msg == "a\ufffdb\ufffdc"
    assert message.extra == {"x\ufffd": ["\ufffd"]}
    assert write_message(read_message(raw, JAVASCRIPT), JAVASCRIPT).endswith(
        b'"a\\ud800b\\u0000c","x\\ud800":["\\u0000"]}'
    )


def test_unknown_keys_are_kept_and_written_last_but_for_indexes_in_javascript() -> None:
    raw = json.dumps({"10": 1, "z": 2, "2": 3, **ERROR, "error_msg": ""})
    assert write_message(read_message(raw)).endswith(b'"error_msg": "", "10": 1, "z": 2, "2": 3}')
    written = write_message(read_message(raw, JAVASCRIPT), JAVASCRIPT)
    assert written.startswith(b'{"2":3,"10":1,"timestamp":')
    assert written.endswith(b'"error_msg":"","z":2}')


def test_brackets_in_strings_are_no_nesting() -> None:
    assert read_json(json.dumps(["[" * 1000, '\\"' + "{" * 1000])) == ["[" * 1000, '\\"' + "{" * 1000]
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    for text in ("[" * (MAX_DEPTH + 1), '{"a":' * 100_000, '"' + "[" * 100_000):
        with pytest.raises(EncodingError):
            read_json(text)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1e21, "1e+21"),
        (1e20, "100000000000000000000"),
        (123456789012345680000, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1795161184.3870788, "1795161184.3870788"),
        (5e-324, "5e-324"),
        (10**400, "null"),
        (float("nan"), "null"),
    ],
)
def test_numbers_as_javascript_writes_them(number: float, text: str) -> None:
    assert javascript_number(number) == text


@pytest.mark.parametrize("piece", ['"\\', '"', "\\", '""\\'])
def test_a_text_is_gone_through_once_whatever_it_is_made_of(piece: str) -> None:
    # What looks at some of it again for each of its characters would take hours.
    with pytest.raises(EncodingError):
        read_json("[" * 33 + piece * 500_000)
