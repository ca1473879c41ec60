from __future__ import annotations

import contextlib
import itertools
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.errors import SerializationError
from shared.obyte.hashing import ball_hash, base64_hash, device_digest, digest_of, length_of
from shared.obyte.serialization import (
    MAX_DEPTH,
    json_source,
    number_text,
    parse_js_json,
    sorted_keys,
    typed_source,
    utf8,
    utf16_length,
)
from tests.unit.obyte.strategies import hashable_values, hostile_values, numbers, odd_texts


def nested(levels: int) -> Any:
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


# A slow and obvious second opinion, character by character and digit by digit.


def oracle_number(number: float) -> str:
    sign, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    assert isinstance(exponent, int)
    if digits == (0,):
        return "0"
    text = "".join(map(str, digits))
    k, n = len(text), len(text) + exponent
    if k <= n <= 21:
        body = text + "0" * (n - k)
    elif 0 < n <= 21:
        body = text[:n] + "." + text[n:]
    elif -6 < n <= 0:
        body = "0." + "0" * -n + text
    else:
        mantissa = text[0] + ("." + text[1:] if k > 1 else "")
        body = f"{mantissa}e{'+' if n > 0 else '-'}{abs(n - 1)}"
    return "-" * sign + body


def oracle_quoted(text: str) -> str:
    written = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r"}
    out = ""
    for unit in code_units(text):
        if chr(unit) in written:
            out += written[chr(unit)]
        elif unit < 0x20 or 0xD800 <= unit <= 0xDFFF:
            out += f"\\u{unit:04x}"
        else:
            out += chr(unit)
    return f'"{out}"'


def code_units(text: str) -> list[int]:
    data = text.encode("utf-16-be", "surrogatepass")
    return [data[index] * 256 + data[index + 1] for index in range(0, len(data), 2)]


def oracle_json(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return oracle_quoted(value)
    if isinstance(value, list):
        return "[" + ",".join(map(oracle_json, value)) + "]"
    if isinstance(value, dict):
        members = (f"{oracle_quoted(key)}:{oracle_json(value[key])}" for key in sorted(value, key=code_units))
        return "{" + ",".join(members) + "}"
    return oracle_number(value)


def oracle_typed(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["b", str(value).lower()]
    if isinstance(value, str):
        return ["s", value]
    if isinstance(value, list):
        return ["[", *itertools.chain.from_iterable(map(oracle_typed, value)), "]"]
    if isinstance(value, dict):
        members = ([key, *oracle_typed(value[key])] for key in sorted(value, key=code_units))
        return list(itertools.chain.from_iterable(members))
    return ["n", oracle_number(value)]


@given(numbers)
def test_numbers_are_written_as_the_oracle_writes_them(number: float) -> None:
    assert number_text(number) == oracle_number(number)
    assert float(number_text(number)) == number


@given(hashable_values)
def test_json_source_is_what_the_oracle_writes(value: Any) -> None:
    assert json_source(value) == oracle_json(value)


@given(hashable_values)
def test_typed_source_is_what_the_oracle_writes(value: Any) -> None:
    source = "\0".join(oracle_typed(value))
    if "\0" in "".join(oracle_typed(value)):
        with pytest.raises(SerializationError):
            typed_source(value)
    else:
        assert typed_source(value) == source


@given(hashable_values)
def test_json_source_reads_back_as_the_same_value(value: Any) -> None:
    assert parse_js_json(json_source(value)) == value


@given(hashable_values, hashable_values)
def test_different_values_have_different_json_sources(one: Any, other: Any) -> None:
    same = json_source(one) == json_source(other)
    assert same == (with_types(one) == with_types(other))


def with_types(value: Any) -> Any:
    if isinstance(value, list):
        return [with_types(element) for element in value]
    if isinstance(value, dict):
        return {key: with_types(element) for key, element in value.items()}
    return ("bool" if isinstance(value, bool) else "str" if isinstance(value, str) else "number", value)


@pytest.mark.parametrize("code", range(128))
def test_every_ascii_character_is_quoted_as_ecmascript_does(code: int) -> None:
    assert json_source(chr(code)) == oracle_quoted(chr(code))


@given(odd_texts)
def test_odd_texts_are_quoted_as_ecmascript_does(text: str) -> None:
    assert json_source(text) == oracle_quoted(text)
    assert utf16_length(text) == len(code_units(text))


@given(st.lists(odd_texts, unique=True))
def test_keys_are_sorted_by_code_units(keys: list[str]) -> None:
    assert sorted_keys(keys) == sorted(keys, key=code_units)


def test_a_lone_surrogate_is_hashed_as_the_replacement_character() -> None:
    assert utf8("a\ud800b") == "a\ufffdb".encode()
    assert base64_hash("\udc00", typed=True) == base64_hash("\ufffd", typed=True)


def test_two_halves_written_apart_are_one_character() -> None:
    assert utf8("\ud83d\ude00") == "\U0001f600".encode()
    assert json_source("\ud83d\ude00") == json_source("\U0001f600") == '"\\ud83d\\ude00"'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 10**400, -(10**400)])
def test_a_number_that_is_no_double_is_refused(number: float) -> None:
    for source in (typed_source, json_source, number_text):
        with pytest.raises(SerializationError) as refusal:
            source(number)
        assert refusal.value.code == "invalid_number"


def test_integers_beyond_2_to_the_53_are_written_as_the_double_they_are() -> None:
    assert json_source(2**53 + 1) == "9007199254740992"
    assert json_source(123456789012345678901) == "123456789012345680000"


@pytest.mark.parametrize(
    "value", [b"bytes", {1, 2}, object(), 1j, Decimal(1), {1: "a"}, {"a": 1, 2: "b"}, {None: 1}, [b""], {"a": range(3)}]
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    for source in (typed_source, json_source):
        with pytest.raises(SerializationError) as refusal:
            source(value)
        assert refusal.value.code in {"unsupported_type", "invalid_key"}


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, "null_value"), ([None], "null_value"), ({}, "empty_object"), ([], "empty_array"), ([[]], "empty_array")],
)
def test_null_and_empty_containers_have_no_hash(value: Any, code: str) -> None:
    for typed in (True, False):
        with pytest.raises(SerializationError) as refusal:
            digest_of(value, typed=typed)
        assert refusal.value.code == code


def test_nesting_is_bounded() -> None:
    deepest, deeper = nested(MAX_DEPTH), nested(MAX_DEPTH + 1)
    for source in (typed_source, json_source):
        source(deepest)
        with pytest.raises(SerializationError) as refusal:
            source(deeper)
        assert refusal.value.code == "too_deep"


def test_hostile_nesting_is_refused_and_not_followed() -> None:
    hostile = nested(100_000)
    for refuse in (
        typed_source,
        json_source,
        lambda value: length_of(value, with_keys=True),
        lambda value: device_digest({"a": value}),
    ):
        with pytest.raises(SerializationError) as refusal:
            refuse(hostile)
        assert refusal.value.code == "too_deep"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_hostile_nesting_is_refused_while_parsing(text: str) -> None:
    with pytest.raises(SerializationError) as refusal:
        parse_js_json(text)
    assert refusal.value.code in {"too_deep", "invalid_json"}


@given(hostile_values)
def test_nothing_but_a_serialization_error_is_raised(value: Any) -> None:
    for typed in (True, False):
        with contextlib.suppress(SerializationError):
            digest_of(value, typed=typed)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0", 1),
        ("-0", 0),
        ("-0.0", 0),
        ("1E3", 1000),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740992", float(2**53)),
        ("9007199254740993", float(2**53)),
        ("1e300", 1e300),
        ("1.5", 1.5),
        ('{"a":1,"a":2}', {"a": 2}),
        ('"\\ud800"', "\ud800"),
        (b'"\xc3\xa9"', "\u00e9"),
        ("1" + "0" * 5000 + "e-5000", 1),
        ("true", True),
        ("null", None),
    ],
)
def test_parsing_follows_javascript(text: str | bytes, value: Any) -> None:
    parsed = parse_js_json(text)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *["", "{", "{'a':1}", "01", "+1", ".5", "1.", "[1,]", "\ufeff1", b"\xef\xbb\xbf1", b'"\xff"', '"\n"', "1 2"],
        *["nul", "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 400, "1" * 5000],
    ],
)
def test_what_javascript_cannot_parse_or_use_is_refused(text: str | bytes) -> None:
    with pytest.raises(SerializationError) as refusal:
        parse_js_json(text)
    assert refusal.value.code in {"invalid_json", "invalid_number"}


def test_keys_cost_only_where_they_are_counted() -> None:
    value: Any = {"ab": ["x", 1, True, None, {"\U0001f600": 1.5}]}
    assert length_of(value, with_keys=False) == 1 + 8 + 1 + 0 + 8
    assert length_of(value, with_keys=True) == 18 + 2 + 2


def test_a_ball_does_not_depend_on_the_order_its_parents_are_given_in() -> None:
    assert ball_hash("u", ["b", "a"], ["d", "c"]) == ball_hash("u", ["a", "b"], ["c", "d"])
    assert ball_hash("u", ["a", "b"]) != ball_hash("u", ["a"], ["b"])


def test_devices_sign_without_nulls_and_without_the_signature() -> None:
    message: Any = {"a": {"b": None, "c": [1, {"d": None, "e": 2}]}, "signature": "x", "f": None}
    assert device_digest(message) == digest_of({"a": {"c": [1, {"e": 2}]}}, typed=True)
