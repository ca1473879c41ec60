from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strict_json import MAX_DEPTH, MAX_SAFE_INTEGER, StrictJsonError, decode

REFUSED = {
    "empty": (b"", "not_json"),
    "blank": (b"  \n", "not_json"),
    "bare word": (b"hello", "not_json"),
    "trailing text": (b"1 2", "not_json"),
    "trailing comma": (b"[1,]", "not_json"),
    "single quotes": (b"{'a':1}", "not_json"),
    "comment": (b"/* */1", "not_json"),
    "leading zero": (b"01", "not_json"),
    "leading plus": (b"+1", "not_json"),
    "bare fraction": (b".5", "not_json"),
    "unterminated string": (b'"abc', "not_json"),
    "unterminated object": (b'{"a":', "not_json"),
    "raw control character": (b'"a\nb"', "not_json"),
    "raw NUL": (b'"a\x00b"', "not_json"),
    "latin-1": (b'"\xe9"', "not_utf8"),
    "utf-16": ('{"a":1}'.encode("utf-16-le"), "not_json"),
    "raw surrogate": (b'"\xed\xa0\x80"', "not_utf8"),
    "overlong": (b'"\xc0\xaf"', "not_utf8"),
    "byte order mark": (b"\xef\xbb\xbf{}", "byte_order_mark"),
    "duplicate key": (b'{"a":1,"a":1}', "duplicate_key"),
    "duplicate key inside": (b'[{"b":{"a":1,"c":2,"a":3}}]', "duplicate_key"),
    "duplicate key by escape": (b'{"a":1,"\\u0061":2}', "duplicate_key"),
    "NaN": (b"NaN", "not_finite"),
    "Infinity": (b"[Infinity]", "not_finite"),
    "-Infinity": (b'{"a":-Infinity}', "not_finite"),
    "float beyond a double": (b"1e999", "not_finite"),
    "float of many digits": (b"1" * 400 + b".0", "not_finite"),
    "integer 2^53": (str(2**53).encode(), "integer_too_large"),
    "integer -2^53": (str(-(2**53)).encode(), "integer_too_large"),
    "integer of 5000 digits": (b"9" * 5000, "integer_too_large"),
    "escaped NUL": (b'"a\\u0000b"', "nul_character"),
    "escaped NUL in a key": (b'[{"\\u0000":1}]', "nul_character"),
    "escaped high surrogate": (b'"\\ud800"', "lone_surrogate"),
    "escaped low surrogate": (b'{"a":["\\udc00x"]}', "lone_surrogate"),
    "escaped surrogate in a key": (b'{"\\udbff":1}', "lone_surrogate"),
    "surrogates in the wrong order": (b'"\\ude00\\ud83d"', "lone_surrogate"),
    "33 arrays": (b"[" * 33 + b"]" * 33, "nested_too_deep"),
    "33 objects": (b'{"a":' * 33 + b"1" + b"}" * 33, "nested_too_deep"),
    "30000 arrays unclosed": (b"[" * 30000, "nested_too_deep"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses(name: str) -> None:
    raw, code = REFUSED[name]
    with pytest.raises(StrictJsonError) as caught:
        decode(raw)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"null", None),
        (b" [1, -2, 1.5, true, false, null]\n", [1, -2, 1.5, True, False, None]),
        (b"-0", 0),
        (b"1e3", 1000.0),
        (str(MAX_SAFE_INTEGER).encode(), MAX_SAFE_INTEGER),
        (str(-MAX_SAFE_INTEGER).encode(), -MAX_SAFE_INTEGER),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        ('"\u00e9\u2028\U0001f600"'.encode(), "\u00e9\u2028\U0001f600"),
        (b'{"a":{},"b":[]}', {"a": {}, "b": []}),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH)),
    ],
)
def test_accepts(raw: bytes, value: object) -> None:
    decoded = decode(raw)
    assert decoded == value
    assert type(decoded) is type(value)


def test_brackets_inside_strings_are_not_nesting() -> None:
    text = "[{" * 500 + '"\\'
    assert decode(json.dumps([text]).encode()) == [text]


def test_many_shallow_containers_are_not_nesting() -> None:
    assert decode(b"[" + b",".join([b"[]"] * 5000) + b"]") == [[]] * 5000


@pytest.mark.parametrize(
    "raw",
    [b"9" * 65_000, b'"' + b"[" * 65_000, b'"\\' * 32_000, b'[{"a":[' * 9_000, b'"' + b'\\"[' * 21_000 + b'"'],
    ids=["digits", "unclosed string", "escapes", "deep", "brackets in a string"],
)
def test_hostile_text_of_full_size_costs_little(raw: bytes) -> None:
    started = time.process_time()
    with contextlib.suppress(StrictJsonError):
        decode(raw)
    assert time.process_time() - started < 0.1


def test_error_does_not_quote_the_text() -> None:
    with pytest.raises(StrictJsonError) as caught:
        decode(b'{"seed": "abandon abandon" oops}')
    assert "abandon" not in str(caught.value)
    assert "character" in str(caught.value)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    lambda children: (
        st.lists(children) | st.dictionaries(st.text(st.characters(codec="ascii", min_codepoint=32)), children)
    ),
    max_leaves=20,
)


@given(json_values, st.booleans())
def test_reads_what_a_plain_encoder_writes(value: object, ascii_only: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    assert decode(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@given(st.binary(max_size=200))
def test_arbitrary_bytes_give_a_value_or_the_one_error(raw: bytes) -> None:
    with contextlib.suppress(StrictJsonError):
        decode(raw)


@pytest.mark.parametrize("piece", [b'"\\', b'"', b"\\", b'""\\'])
def test_a_text_is_gone_through_once_whatever_it_is_made_of(piece: bytes) -> None:
    # Many times longer than any body: what looks at some of it again for each of its octets would take hours.
    with pytest.raises(StrictJsonError):
        decode(b"[" * 33 + piece * 500_000)
