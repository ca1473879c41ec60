from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from shared.moneysocket.dialects import JAVASCRIPT, PYTHON, SLUICE, Dialect
from shared.moneysocket.errors import FrameError, MoneysocketError
from shared.moneysocket.frames import decode_frame, encode_frame
from shared.moneysocket.json_text import MAX_DEPTH
from shared.moneysocket.message_text import read_message, write_message
from shared.moneysocket.messages import VERSION_0, Message
from shared.moneysocket.opinion_messages import OPINION_KINDS
from shared.moneysocket.seeds import SharedSeed
from shared.moneysocket.wads import Wad, bitcoin
from tests.vectors.moneysocket_vectors import Case, cases, document, label

LIBRARIES = ((PYTHON, "py"), (JAVASCRIPT, "js"))
TOO_DEEP = "deep nesting extra key 2000"
OPINION = VERSION_0.extended(*OPINION_KINDS)


def is_taken(frame: bytes, seed: SharedSeed | None, dialect: Dialect) -> bool:
    try:
        decode_frame(frame, seed, dialect)
    except MoneysocketError:
        return False
    return True


def is_read(text: str, dialect: Dialect) -> bool:
    try:
        read_message(text, dialect)
    except MoneysocketError:
        return False
    return True


def built(case: Case, fixed: dict[str, Any]) -> Message:
    """The message as an application would make it."""
    name = case["name"].split()[0]
    kind = VERSION_0.find("REQUEST" if name.startswith("REQUEST") else "NOTIFICATION", name)
    assert kind is not None
    values = {"timestamp": fixed["timestamp"], **case["fields"]}
    if kind.CLASS == "REQUEST":
        values["request_uuid"] = fixed["request_uuid"]
    else:
        written = json.loads(case["py"]["json"])
        values |= {key: written[key] for key in ("notification_uuid", "request_reference_uuid")}
    if isinstance(wad := values.get("wad"), dict):
        values["wad"] = bitcoin(wad["btc"]) if "btc" in wad else Wad(**wad["dict"])
    return kind(**values)


def as_undefined(message: Message) -> Message:
    """JavaScript writes no key for what it was not given, though nobody takes a notification without a reference."""
    return replace(message, left_out=frozenset({"request_reference_uuid"}))


@pytest.mark.parametrize("case", cases("messages-v0"), ids=label)
def test_every_message_is_written_byte_for_byte(case: Case) -> None:
    about = document("messages-v0")
    seed, iv = SharedSeed.from_hex(about["shared_seed"]), bytes.fromhex(about["iv_hex"])
    message = built(case, about["fixed"])
    for dialect, column in LIBRARIES:
        expected = case[column]
        if case["name"].startswith("NOTIFY") and "request_reference_uuid" not in expected["json"]:
            message = as_undefined(message)
        assert write_message(message, dialect) == expected["json"].encode()
        frame = encode_frame(message, seed, iv, dialect)
        assert frame.hex() == expected["wire_hex"]
        for reader, judge in ((PYTHON, "decoded_by_py"), (JAVASCRIPT, "decoded_by_js")):
            assert is_taken(frame, seed, reader) == (expected[judge] == "accept")
            assert is_taken(frame, seed, SLUICE) == (expected[judge] == "accept")


@pytest.mark.parametrize("case", cases("messages-v0"), ids=label)
def test_what_we_write_in_our_own_dialect_both_libraries_take(case: Case) -> None:
    about = document("messages-v0")
    seed, iv = SharedSeed.from_hex(about["shared_seed"]), bytes.fromhex(about["iv_hex"])
    frame = encode_frame(built(case, about["fixed"]), seed, iv)
    assert is_taken(frame, seed, PYTHON)
    assert is_taken(frame, seed, JAVASCRIPT)


@pytest.mark.parametrize("case", cases("messages-v0-text"), ids=label)
@pytest.mark.parametrize(("dialect", "column"), LIBRARIES)
def test_a_text_gets_the_verdict_of_the_library_and_is_written_again_as_by_it(
    case: Case, dialect: Dialect, column: str
) -> None:
    if case["name"] == TOO_DEEP:  # no dialect nests deeper than MAX_DEPTH
        assert not is_read(case["text"], dialect)
        return
    assert is_read(case["text"], dialect) == (case[column] == "accept")
    if case[column] == "accept":
        again = write_message(read_message(case["text"], dialect), dialect)
        assert again == case[f"{column}_reencoded"].encode()


@pytest.mark.parametrize("case", cases("messages-v0-text"), ids=label)
def test_we_take_a_text_that_both_take_and_refuse_one_that_both_refuse(case: Case) -> None:
    verdicts = {case["py"] == "accept", case["js"] == "accept"}
    if len(verdicts) == 1:
        assert is_read(case["text"], SLUICE) == verdicts.pop()


def test_where_the_libraries_differ_we_take_what_is_sent_in_earnest() -> None:
    assert {
        case["name"]: is_read(case["text"], SLUICE)
        for case in cases("messages-v0-text")
        if (case["py"] == "accept") != (case["js"] == "accept")
    } == {
        "__proto__ key": True,
        "timestamp zero": True,
        "timestamp NaN token": False,
        "timestamp Infinity token": False,
        "request_uuid no hyphens": False,
        "request_uuid braces": False,
        "request_uuid urn": False,
        "REQUEST_INVOICE msats 1.5": False,
        "REQUEST_INVOICE msats 1000.0 float": False,
        "REQUEST_INVOICE msats 1e3": False,
        "REQUEST_RENDEZVOUS rendezvous_id 64 chars partly hex": False,
        "NOTIFY_PREIMAGE preimage partly hex": False,
        "NOTIFY_PREIMAGE missing ext key": True,
        "NOTIFY_PREIMAGE ext 2100 astral chars (utf-16 length 4200)": True,
        "NOTIFY_PROVIDER missing wad": True,
        "wad: msats float": True,
        "wad: countries 201": True,
        "wad: decimals 1.5": False,
        "wad: symbol 3 astral chars": True,
        "wad: symbol 5 astral chars": True,
        "wad: stable LTC with name": True,
        TOO_DEEP: False,
    }


@pytest.mark.parametrize("case", cases("frames-v0"), ids=label)
def test_a_frame_gets_the_verdict_of_each_library(case: Case) -> None:
    seed = None if case["shared_seed"] is None else SharedSeed.from_hex(case["shared_seed"])
    frame = bytes.fromhex(case["frame_hex"])
    for dialect, column in LIBRARIES:
        assert is_taken(frame, seed, dialect) == (case[column] == "accept")
        if case[column] == "accept":
            decoded = write_message(decode_frame(frame, seed, dialect), dialect)
            assert decoded == case[f"{column}_decoded"].encode()


@pytest.mark.parametrize("case", cases("frames-v0"), ids=label)
def test_we_take_a_frame_if_both_libraries_take_it(case: Case) -> None:
    seed = None if case["shared_seed"] is None else SharedSeed.from_hex(case["shared_seed"])
    assert is_taken(bytes.fromhex(case["frame_hex"]), seed, SLUICE) == (case["py"] == case["js"] == "accept")


def test_application_messages_in_clear_are_refused_with_and_without_the_seed() -> None:
    clear = [case for case in cases("frames-v0") if case["name"].startswith("CLEAR")]
    assert clear
    for case in clear:
        for seed in (SharedSeed.from_hex("000102030405060708090a0b0c0d0e0f"), None):
            with pytest.raises(FrameError) as refused:
                decode_frame(bytes.fromhex(case["frame_hex"]), seed)
            assert refused.value.code == "clear_message"


@pytest.mark.parametrize("case", cases("opinion-extension-v0", "encode"), ids=label)
def test_an_opinion_message_is_written_byte_for_byte(case: Case) -> None:
    about = document("opinion-extension-v0")
    seed, iv = SharedSeed.from_hex(about["shared_seed"]), bytes.fromhex(about["iv_hex"])
    message = read_message(case["json"].encode(), catalogue=OPINION)
    assert write_message(message, JAVASCRIPT) == case["json"].encode()
    assert encode_frame(message, seed, iv, JAVASCRIPT).hex() == case["wire_hex"]


@pytest.mark.parametrize("case", cases("opinion-extension-v0", "decode_text"), ids=label)
def test_an_opinion_message_is_judged(case: Case) -> None:
    raw = case["text"].encode()
    with pytest.raises(MoneysocketError):
        read_message(raw)  # whoever does not know the extension knows no such message
    if case["js"] == "accept":
        read_message(raw, catalogue=OPINION)
        return
    for dialect in (SLUICE, JAVASCRIPT):
        with pytest.raises(MoneysocketError):
            read_message(raw, dialect, OPINION)


@pytest.mark.parametrize("case", cases("sessions-v0"), ids=label)
def test_every_frame_of_a_recorded_session_is_read(case: Case) -> None:
    seed = SharedSeed.from_hex(case["shared_seed"])
    frames = [frame for frame in case["frames"] if frame.get("opcode") == "binary"]
    assert frames
    for frame in frames:
        raw, text = bytes.fromhex(frame["hex"]), frame["json"].encode()
        assert write_message(decode_frame(raw, seed)) == write_message(read_message(text))
        dialect = PYTHON if text.startswith(b'{"timestamp": ') else JAVASCRIPT
        assert write_message(read_message(text, dialect), dialect) == text
        if frame["kind"] == "encrypted":
            assert encode_frame(read_message(text, dialect), seed, raw[:16], dialect) == raw
            with pytest.raises(FrameError) as refused:
                decode_frame(raw, None)
            assert refused.value.code == "no_seed"


def test_the_depth_limit_is_far_from_what_the_protocol_needs() -> None:
    assert is_read(json.dumps(json.loads(VALID) | {"extra": {"a": [{"b": [1]}]}}), SLUICE)
    assert not is_read(json.dumps(json.loads(VALID) | {"extra": json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)}), SLUICE)


VALID = (
    '{"timestamp": 1, "protocol": "Moneysocket", "protocol_version": "0.0.0", "message_class": "REQUEST",'
    ' "request_uuid": "11111111-2222-4333-8444-555555555555", "request_name": "REQUEST_PROVIDER"}'
)
