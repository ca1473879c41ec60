from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.channels.model import PackageTerms
from shared.obyte.hashing import digest_of
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET, network_named
from shared.receiving.errors import PackageRefused, ReceivingError
from shared.receiving.peer_protocol import read_request
from shared.receiving.plain_payments import PlainPayment, read_plain_payment
from shared.receiving.verification import SignedPayment, prove, verify_payment_package
from shared.strict_json import StrictJsonError, decode

VECTORS = Path(__file__).parents[2] / "vectors" / "obyte" / "payment_packages.json"
CASES: list[dict[str, Any]] = json.loads(VECTORS.read_text())["cases"]
PLAIN = [case for case in CASES if "channel_parameters" not in case["package"]["signed_message"]]
PAYER = KeyPair(bytes(31) + b"\x01")
CHANNEL = "3RRQKBT3MNRJPQW7CNOFTBQZC7TGWA5H"
NOW_MS = 1_800_000_000_000


def package() -> dict[str, Any]:
    message = {"payment_amount": 1000, "amount_spent": 3000, "period": 2, "aa_address": CHANNEL}
    author: dict[str, Any] = {"address": PAYER.address, "definition": PAYER.definition}
    signed = {"version": DEVNET.version, "signed_message": message, "authors": [author]}
    author = {**author, "authentifiers": {"r": PAYER.sign(digest_of(signed))}}
    return {**signed, "authors": [author]}


PACKAGE = package()
REQUEST: dict[str, Any] = {
    "command": "pay",
    "timestamp": NOW_MS,
    "params": {"signed_package": PACKAGE, "message": {"order": "a \u00fc", "n": [1, 2.5, None]}},
    "tag": "x",
    "url": None,
}
BODY = json.dumps(REQUEST, separators=(",", ":"), ensure_ascii=False).encode()

Result = tuple[SignedPayment | str, Any]


def the_strict_way(raw: bytes) -> Result:
    """The payment with its message, or the code of what is wrong."""
    try:
        asked = read_request(decode(raw), now_s=NOW_MS / 1000, max_age_s=1)
        assert asked.command == "pay"
        assert asked.params.keys() <= {"signed_package", "message"}
        return verify_payment_package(asked.params.get("signed_package"), DEVNET), asked.params.get("message")
    except (StrictJsonError, ReceivingError) as error:
        return error.code, str(error)


def the_fast_way(plain: PlainPayment) -> Result:
    if plain.timestamp_ms is not None and plain.timestamp_ms < NOW_MS - 1000:
        return "timestamp_too_old", "Timestamp too old, check system time"
    try:
        return prove(plain.terms, plain.pubkey, plain.signature, DEVNET), plain.message
    except PackageRefused as refusal:
        return refusal.code, str(refusal)


@pytest.mark.parametrize("case", PLAIN, ids=lambda case: f"{case['network']} {case['name']}")
def test_what_the_reference_sends_is_read_the_fast_way(case: dict[str, Any]) -> None:
    network = network_named(case["network"])
    sent = {"command": "pay", "timestamp": NOW_MS, "params": {"signed_package": case["package"], "message": "m0"}}
    plain = read_plain_payment(json.dumps(sent, separators=(",", ":")).encode(), network)
    assert plain is not None
    assert prove(plain.terms, plain.pubkey, plain.signature, network) == verify_payment_package(
        case["package"], network
    )
    assert (plain.message, plain.timestamp_ms) == ("m0", NOW_MS)


def test_the_terms_are_those_that_were_signed() -> None:
    plain = read_plain_payment(BODY, DEVNET)
    assert plain is not None
    assert plain.terms == PackageTerms(CHANNEL, 2, 1000, 3000, PAYER.address)
    assert plain.message == REQUEST["params"]["message"]
    assert PACKAGE["authors"][0]["authentifiers"]["r"] not in repr(plain)


def changed(old: str, new: str) -> bytes:
    text = BODY.decode()
    assert text.count(old) == 1, old
    return text.replace(old, new).encode()


UNUSUAL = {
    "the same amount twice": changed('"period":2', '"period":2,"period":2'),
    "another amount first": changed('"amount_spent":3000', '"amount_spent":1,"amount_spent":3000'),
    "an empty package first": changed('"signed_package":', '"signed_package":{},"signed_package":'),
    "a package first": changed('"signed_package":', f'"signed_package":{json.dumps(PACKAGE)},"signed_package":'),
    "a second signature": changed('"r":"', '"r":"","r":"'),
    "a second message": changed('"message":', '"message":1,"message":'),
    "a second tag": changed('"tag":"x"', '"tag":"x","tag":"x"'),
    "a second url": changed('"url":null', '"url":null,"url":null'),
    "a second timestamp": changed('"timestamp":', '"timestamp":1,"timestamp":'),
    "a duplicate inside the message": changed('"n":', '"n":1,"n":'),
    "a float": changed('"period":2', '"period":2.0'),
    "an exponent": changed('"amount_spent":3000', '"amount_spent":3e3'),
    "a boolean": changed('"period":2', '"period":true'),
    "a text": changed('"period":2', '"period":"2"'),
    "null": changed('"period":2', '"period":null'),
    "zero": changed('"period":2', '"period":0'),
    "more than any ledger has": changed('"amount_spent":3000', '"amount_spent":9000000000000001'),
    "more than 64 bits": changed('"amount_spent":3000', '"amount_spent":36893488147419103232'),
    "an escape": changed('"tag":"x"', '"tag":"\\u0078"'),
    "an escaped key": changed('"period"', '"p\\u0065riod"'),
    "an escaped quotation mark": changed('"tag":"x"', '"tag":"\\""'),
    "a control character": changed('"tag":"x"', '"tag":"\x01"'),
    "an unknown field": changed('"tag":"x"', '"tag":"x","more":1'),
    "an unknown parameter": changed('"message":', '"more":1,"message":'),
    "an unknown term": changed('"period":2', '"period":2,"more":1'),
    "channel parameters": changed('"period":2', '"period":2,"channel_parameters":{}'),
    "a tag that is no text": changed('"tag":"x"', '"tag":1'),
    "a url that is no text": changed('"url":null', '"url":[]'),
    "a timestamp that is null": changed(f'"timestamp":{NOW_MS}', '"timestamp":null'),
    "a timestamp with a fraction": changed(f'"timestamp":{NOW_MS}', f'"timestamp":{NOW_MS}.5'),
    "a timestamp beyond 2^53": changed(f'"timestamp":{NOW_MS}', '"timestamp":9007199254740993'),
    "a message with a number beyond 2^53": changed('"n":', '"b":9007199254740993,"n":'),
    "a message that is too deep": changed('"n":', '"d":' + "[" * 30 + "]" * 30 + ',"n":'),
    "another version": changed(f'"{DEVNET.version}"', '"9.9"'),
    "another command": changed('"pay"', '"is_ready"'),
    "another definition": changed('"sig"', '"and"'),
    "no address": changed(CHANNEL, "M" + CHANNEL[1:]),
    "a byte order mark": b"\xef\xbb\xbf" + BODY,
    "something behind": BODY + b"{}",
    "not UTF-8": BODY.replace(b'"tag":"x"', b'"tag":"\xff"'),
    "a surrogate in UTF-8": BODY.replace(b'"tag":"x"', b'"tag":"\xed\xa0\x80"'),
    "half of it": BODY[: len(BODY) // 2],
    "nothing": b"",
    "an array": b"[" + BODY + b"]",
}


@pytest.mark.parametrize("raw", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_what_is_unusual_is_left_to_the_strict_way(raw: bytes) -> None:
    assert read_plain_payment(raw, DEVNET) is None


USUAL = {
    "spaces": json.dumps(REQUEST, indent=2).replace("\\u00fc", "u").encode(),
    "escapes in the message": json.dumps(REQUEST).encode(),
    "a message as deep as may be": changed('"n":', '"d":' + "[" * 29 + "]" * 29 + ',"n":'),
    "no message": changed(',"message":{"order":"a \u00fc","n":[1,2.5,null]}', ""),
    "no extras": changed(',"tag":"x","url":null', ""),
    "a url": changed('"url":null', '"url":"http://a/"'),
    "no timestamp": changed(f'"timestamp":{NOW_MS},', ""),
    "an old timestamp": changed(f'"timestamp":{NOW_MS}', '"timestamp":-1'),
    "a bad key": changed(PAYER.definition[1]["pubkey"], "A" * 44),
    "a short key": changed(PAYER.definition[1]["pubkey"], "A"),
    "no signature": changed(PACKAGE["authors"][0]["authentifiers"]["r"], ""),
    "another's signature": changed(PACKAGE["authors"][0]["authentifiers"]["r"], KeyPair(b"2" * 32).sign(b"3" * 32)),
    "another's address": changed(PAYER.address, KeyPair(b"2" * 32).address),
    "another amount": changed('"amount_spent":3000', '"amount_spent":3001'),
}


@pytest.mark.parametrize("raw", USUAL.values(), ids=USUAL.keys())
def test_what_is_usual_is_read_and_judged_as_the_strict_way_does(raw: bytes) -> None:
    plain = read_plain_payment(raw, DEVNET)
    assert plain is not None
    assert the_fast_way(plain) == the_strict_way(raw)


SLICES = {BODY[begin:end] for begin in range(0, len(BODY), 7) for end in (begin + 3, begin + 11, begin + 40)}
MARKS = [
    b'"',
    b"\\",
    b"1",
    b".0",
    b"e1",
    b"-",
    b"0",
    b",",
    b":",
    b"{",
    b"}",
    b"[",
    b"]",
    b"null",
    b"true",
    b" ",
    b"\xff",
]
MORE = [b'"period":2,', b'"tag":"x",', b'"message":1,']
PARTS = [*sorted(SLICES), *MARKS, *MORE]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(BODY)), st.integers(0, 12), st.sampled_from(PARTS)), min_size=1, max_size=3)
)
def test_both_ways_agree_on_damaged_bodies(changes: list[tuple[int, int, bytes]]) -> None:
    raw = BODY
    for place, length, part in changes:
        raw = raw[:place] + part + raw[place + length :]
    plain = read_plain_payment(raw, DEVNET)
    if plain is not None:
        assert the_fast_way(plain) == the_strict_way(raw)


MEMBERS = st.sampled_from(["1", "2", "3000", "1.0", "-1", "0", "null", '"x"', '"1"', "[]", "true", "1e2", "{}"])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_both_ways_agree_on_members_in_any_order_and_number(data: st.DataObject) -> None:
    def an_object(members: dict[str, str]) -> str:
        """Most of the members, in some order, sometimes with one too many."""
        written = [f'"{name}":{text}' for name, text in data.draw(st.permutations(list(members.items())))]
        if data.draw(st.integers(0, 3)) == 0:
            name = data.draw(st.sampled_from([*members, "more"]))
            written.insert(data.draw(st.integers(0, len(written))), f'"{name}":{data.draw(MEMBERS)}')
        space = data.draw(st.sampled_from(["", " ", "\n"]))
        return "{" + f",{space}".join(written) + "}"

    signed = PACKAGE["signed_message"]
    terms = an_object({name: json.dumps(value) for name, value in signed.items()})
    author = an_object({name: json.dumps(value) for name, value in PACKAGE["authors"][0].items()})
    whole = an_object({"version": f'"{DEVNET.version}"', "signed_message": terms, "authors": f"[{author}]"})
    params = an_object({"signed_package": whole, "message": data.draw(MEMBERS)})
    raw = an_object({"command": '"pay"', "params": params, "timestamp": str(NOW_MS), "tag": '"t"'}).encode()
    plain = read_plain_payment(raw, DEVNET)
    if plain is not None:
        assert the_fast_way(plain) == the_strict_way(raw)


@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_what_is_nested_too_deep_is_left_to_the_strict_way(bracket: bytes) -> None:
    raw = BODY.replace(b'"params":{', b'"params":{"message":' + bracket * 5_000 + b"1,", 1)
    assert raw != BODY
    assert read_plain_payment(raw, DEVNET) is None
