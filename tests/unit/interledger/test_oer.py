from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.interledger import oer
from shared.interledger.amounts import MAX_AMOUNT, parse_amount
from shared.interledger.errors import DecodingError, EncodingError

ECONOMICAL = settings(max_examples=60, deadline=None)

UINT64 = st.integers(0, MAX_AMOUNT)


@ECONOMICAL
@given(UINT64)
def test_a_number_comes_back_in_the_fewest_bytes(value: int) -> None:
    written = oer.var_uint(value, "x")
    assert oer.Reader(written).var_uint("x") == value
    assert len(written) == 1 + max(1, (value.bit_length() + 7) // 8)


@ECONOMICAL
@given(st.integers(0, 2**48 - 1))
def test_a_length_comes_back_and_is_all_that_was_read(value: int) -> None:
    reader = oer.Reader(oer.length(value, "x") + b"more")
    assert reader.length("x") == value
    assert reader.left == 4


@ECONOMICAL
@given(st.integers(0, 2**48 - 1), st.integers(1, 6))
def test_no_length_has_a_second_form(value: int, size: int) -> None:
    padded = bytes((0x80 | size,)) + value.to_bytes(6, "big")[6 - size :]
    if padded == oer.length(value, "x"):
        return
    reader = oer.Reader(padded)
    try:
        read = reader.length("x")
    except DecodingError as error:
        assert error.code == "bad_length"  # noqa: PT017 - either outcome is right
    else:
        assert oer.length(read, "x") == padded


def test_a_huge_length_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(DecodingError) as refused:
        oer.Reader(bytes.fromhex("86ffffffffffff00")).var_octets("data")
    assert (refused.value.code, refused.value.field) == ("cut_short", "data")


def test_what_is_longer_than_its_limit_is_refused_even_if_it_is_there() -> None:
    written = oer.var_octets(b"12345", "name")
    assert oer.Reader(written).var_octets("name", 5) == b"12345"
    with pytest.raises(DecodingError) as refused:
        oer.Reader(written).var_octets("name", 4)
    assert str(refused.value) == "name has 5 bytes, at most 4 are allowed"


def test_more_elements_than_allowed_are_refused_before_they_are_read() -> None:
    assert oer.Reader(b"\x01\x05").count("entries", 5) == 5
    with pytest.raises(DecodingError) as refused:
        oer.Reader(b"\x01\x05").count("entries", 4)
    assert refused.value.code == "too_many"
    with pytest.raises(EncodingError):
        oer.count(5, "entries", 4)


def test_a_number_longer_than_64_bits_is_refused_or_means_as_much_as_there_is() -> None:
    long = bytes.fromhex("09010000000000000000")
    with pytest.raises(DecodingError):
        oer.Reader(long).var_uint("shares")
    assert oer.Reader(long).saturating_var_uint("receiveMax") == MAX_AMOUNT
    with pytest.raises(DecodingError):
        oer.Reader(b"\x00").saturating_var_uint("receiveMax")


def test_bytes_above_127_are_no_ascii() -> None:
    with pytest.raises(DecodingError) as refused:  # the reference reads "ilp" (OER-2)
        oer.Reader(b"\x03\xe9\xec\xf0").ascii("name")
    assert refused.value.code == "not_ascii"


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1e3", " 1", "1\n", "\u0661", "0x1", str(2**64), "9" * 10_000])
def test_amounts_of_others_are_digits_that_fit(text: str) -> None:
    with pytest.raises(DecodingError) as refused:
        parse_amount(text)
    assert refused.value.code == "bad_amount"


@ECONOMICAL
@given(UINT64, st.integers(0, 40))
def test_amounts_come_back_from_text(value: int, zeros: int) -> None:
    assert parse_amount("0" * zeros + str(value)) == value
