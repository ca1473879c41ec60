from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from shared.interledger.btp.frames import ContentType, Entries, Entry, Message, decode_frame
from shared.interledger.btp.subprotocols import CHANNEL, CLAIM, INFO, LAST_CLAIM
from shared.interledger.claims import (
    ChannelState,
    PayeeInfo,
    channel_answer,
    channel_question,
    claim_entries,
    info_answer,
    info_question,
    last_claim_answer,
    last_claim_question,
    read_channel_answer,
    read_claim,
    read_info_answer,
    read_last_claim_answer,
    read_question,
)
from shared.interledger.errors import ClaimError, EncodingError
from tests.vectors.ilp_vectors import cases

AA = "A" * 32
PAYER = "B" * 32
PACKAGE: dict[str, Any] = {
    "version": "4.0",
    "signed_message": {"payment_amount": 50, "amount_spent": 350, "period": 2, "aa_address": AA},
    "authors": [{"address": PAYER, "definition": ["sig", {"pubkey": "x"}], "authentifiers": {"r": "SIGNATURE"}}],
}


def _changed(path: str, value: object) -> dict[str, Any]:
    package = copy.deepcopy(PACKAGE)
    *way, last = path.split(".")
    inner: Any = package
    for name in way:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    return package


def _claim_entry(text: str | bytes, content_type: int = ContentType.JSON) -> Entries:
    return (Entry(CLAIM, content_type, text.encode() if isinstance(text, str) else text),)


def test_a_claim_comes_back_and_shows_its_signature_nowhere() -> None:
    claim = read_claim(50, claim_entries(PACKAGE))
    assert (claim.aa_address, claim.period, claim.amount_spent, claim.payment_amount) == (AA, 2, 350, 50)
    assert (claim.payer, claim.declared, claim.announces_channel) == (PAYER, 50, False)
    assert claim.package == PACKAGE
    assert "SIGNATURE" not in repr(claim) + repr(claim_entries(PACKAGE))


def test_a_claim_adds_what_is_above_the_highest_and_never_what_its_frame_says() -> None:
    claim = read_claim(1_000_000, claim_entries(PACKAGE))
    assert [claim.adds(highest) for highest in (0, 300, 350, 400)] == [350, 50, 0, 0]  # CLM-2


@pytest.mark.parametrize("name", ["payment_amount", "amount_spent", "period"])
def test_the_smallest_number_is_one(name: str) -> None:
    assert getattr(read_claim(1, _claim_entry(json.dumps(_changed(f"signed_message.{name}", 1)))), name) == 1


def test_the_largest_number_is_a_number() -> None:
    claim = read_claim(1, _claim_entry(json.dumps(_changed("signed_message.amount_spent", 2**53 - 1))))
    assert claim.amount_spent == 9_007_199_254_740_991
    padded = json.dumps(PACKAGE).ljust(8_192)
    assert read_claim(1, _claim_entry(padded)).amount_spent == 350
    with pytest.raises(ClaimError):
        read_claim(1, _claim_entry(f"{padded} "))


def test_a_first_claim_may_announce_its_channel() -> None:
    assert read_claim(1, claim_entries(_changed("signed_message.channel_parameters", {}))).announces_channel


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("signed_message", []),
        ("signed_message.period", 0),
        ("signed_message.period", "2"),
        ("signed_message.amount_spent", 2**53),
        ("signed_message.amount_spent", -1),
        ("signed_message.amount_spent", 350.0),
        ("signed_message.amount_spent", True),
        ("signed_message.payment_amount", None),
        ("signed_message.aa_address", "a" * 32),
        ("signed_message.aa_address", f"{AA}\n"),
        ("authors", []),
        ("authors", [{}, {}]),
        ("authors", [[]]),
        ("authors.0.address", 5),
        ("unknown", 1.5),
        ("unknown", "x" * 9_000),
        ("unknown", [[[[[[[[1]]]]]]]]),
    ],
)
def test_what_is_no_package_is_refused(path: str, value: object) -> None:
    with pytest.raises(ClaimError) as refused:
        read_claim(1, _claim_entry(json.dumps(_changed(path, value))))
    assert refused.value.code == "bad_claim"
    assert "SIGNATURE" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        b"\xff",
        json.dumps(PACKAGE).replace("350", "3.5e2"),
        json.dumps(PACKAGE).replace("350", "350.0"),
        json.dumps(PACKAGE).replace("350", "NaN"),
        json.dumps(PACKAGE).replace('"period": 2', '"period": 2, "period": 3'),
        json.dumps(PACKAGE).replace("350", "9" * 5_000),
    ],
)
def test_json_with_more_than_one_meaning_is_refused(text: str | bytes) -> None:
    with pytest.raises(ClaimError):
        read_claim(1, _claim_entry(text))


def test_a_claim_is_there_once_and_as_json() -> None:
    (entry,) = claim_entries(PACKAGE)
    for entries in ((), (entry, entry), _claim_entry(entry.data, ContentType.TEXT), (Entry("x", 2, entry.data),)):
        with pytest.raises(ClaimError):
            read_claim(1, entries)


def test_what_cannot_be_read_is_never_sent() -> None:
    with pytest.raises(ClaimError):
        claim_entries({"signed_message": {}})
    with pytest.raises(EncodingError):
        claim_entries({**PACKAGE, "x": {1, 2}})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("name", "vector"), [(CHANNEL, "obyte channel, our profile"), (LAST_CLAIM, "obyte last claim request, our profile")]
)
def test_questions_are_those_of_the_vectors(name: str, vector: str) -> None:
    (case,) = [case for case in cases("paychan_claims", "frame") if case["name"] == vector]
    frame = decode_frame(bytes.fromhex(case["out"]))
    assert isinstance(frame, Message)
    ask = channel_question if name == CHANNEL else last_claim_question
    assert ask(read_question(name, frame.entries)) == frame.entries
    assert read_question(name, frame.entries) == AA


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (Entry(CHANNEL, 1, b"x"),),
        (Entry(CHANNEL, 2, AA.encode()),),
        (Entry(CHANNEL, 1, b"\xff" * 32),),
        channel_question(AA) * 2,
    ],
)
def test_questions_about_nothing_are_refused(entries: Entries) -> None:
    with pytest.raises(ClaimError) as refused:
        read_question(CHANNEL, entries)
    assert refused.value.code == "bad_message"


def test_answers_about_channels_come_back() -> None:
    state = ChannelState("open", 2, 1_000, 350, 650, 3_600)
    assert read_channel_answer(AA, channel_answer(AA, state)) == state
    assert read_channel_answer(AA, channel_answer(AA, None)) is None
    empty = ChannelState("new", 0, 0, 0, 0, 0)
    assert read_channel_answer(AA, channel_answer(AA, empty)) == empty
    assert json.loads(channel_answer(AA, state)[0].data) == {
        "aa_address": AA,
        "known": True,
        "status": "open",
        "period": 2,
        "deposited": 1_000,
        "spent": 350,
        "capacity": 650,
        "timeout": 3_600,
    }
    assert json.loads(channel_answer(AA, None)[0].data) == {"aa_address": AA, "known": False}  # CLM-5


@pytest.mark.parametrize(
    "answer",
    [{}, {"aa_address": AA, "known": 1}, {"aa_address": PAYER, "known": False}, {"aa_address": AA, "known": True}],
)
def test_answers_about_other_things_are_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(ClaimError):
        read_channel_answer(AA, (Entry(CHANNEL, 2, json.dumps(answer).encode()),))


def test_the_last_claim_comes_back_or_there_is_none() -> None:
    claim = read_last_claim_answer(last_claim_answer(PACKAGE))
    assert claim is not None
    assert claim.package == PACKAGE
    assert read_last_claim_answer(last_claim_answer(None)) is None
    assert read_last_claim_answer(()) is None
    with pytest.raises(ClaimError):
        read_last_claim_answer((Entry(LAST_CLAIM, 2, b"{}"),))


def test_what_a_payee_takes_comes_back() -> None:
    info = PayeeInfo("base", 9, 3_600, PAYER, "0.1.0")
    assert read_info_answer(info_answer(info)) == info
    assert json.loads(info_answer(info)[0].data)["minimumTimeout"] == 3_600
    assert info_question()[0].name == INFO
    answer = json.loads(info_answer(info)[0].data)
    for wrong in ({}, {**answer, "asset": 5}, {**answer, "scale": 0.5}, {**answer, "version": None}):
        with pytest.raises(ClaimError):
            read_info_answer((Entry(INFO, 2, json.dumps(wrong).encode()),))
