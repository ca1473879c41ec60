"""Texts that follow each other, however they are cut into messages."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from front.rpc.texts import Texts, TextsError

values = st.recursive(
    st.text() | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
containers = st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3)


@given(st.lists(containers, max_size=5), st.sampled_from(["", " ", "\n\t "]), st.booleans(), st.data())
def test_wherever_messages_end_the_same_texts_come_out(
    said: list[Any], between: str, escapes: object, data: st.DataObject
) -> None:
    whole = between.join(json.dumps(one, ensure_ascii=bool(escapes)) for one in said).encode()
    places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    texts = Texts()
    found: list[bytes] = []
    for start, end in zip([0, *places], [*places, len(whole)], strict=True):
        found += texts.feed(whole[start:end])
    assert [json.loads(text) for text in found] == said


def test_words_are_texts_of_their_own() -> None:
    assert Texts().feed(b' 5 true"x"nonsense{}') == [b"5", b"true", b'"x"', b"nonsense", b"{}"]


@pytest.mark.parametrize("junk", [b",", b"}", b"]", b":", b"\xff"])
def test_what_is_no_text_is_dropped_and_the_next_message_begins_anew(junk: bytes) -> None:
    texts = Texts()
    with pytest.raises(TextsError) as caught:
        texts.feed(b'{"a":1}' + junk + b"{}")
    assert (caught.value.code, caught.value.found) == ("not_json", [b'{"a":1}'])
    assert texts.feed(b"[]") == [b"[]"]


def test_an_endless_text_is_not_kept() -> None:
    texts = Texts(max_bytes=10)
    assert texts.feed(b'["12345') == []
    with pytest.raises(TextsError) as caught:
        texts.feed(b"678901")
    assert caught.value.code == "text_too_large"
    assert texts.feed(b"[]") == [b"[]"]


def test_a_message_holds_a_limited_number_of_texts() -> None:
    with pytest.raises(TextsError) as caught:
        Texts(max_texts=2).feed(b"[][][]")
    assert (caught.value.code, len(caught.value.found)) == ("too_many_texts", 2)


@pytest.mark.parametrize("begin", [b"[" + b"[]," * 20_000, b'["' + b"\\n" * 30_000])
def test_who_sends_byte_by_byte_keeps_nobody_waiting(begin: bytes) -> None:
    texts = Texts()
    assert texts.feed(begin) == []
    began_s = time.process_time()
    for _ in range(1_000):
        assert texts.feed(b" ") == []
    assert time.process_time() - began_s < 2  # looking at all of it again took a minute


def test_after_what_was_dropped_nothing_is_left_of_it() -> None:
    texts = Texts(max_bytes=10)
    for endless in (b'["[[[[[[[[[[', b"[[[[[[[[[[[[", b'{"a":"\\" {[[['):
        with pytest.raises(TextsError):
            texts.feed(endless)
        assert texts.feed(b'["]"]') == [b'["]"]']
