"""The quirks of the agents' formula language that money depends on."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from devnet.formula import FormulaError, differ, is_integer, number, otherwise, select, text_of, truthy


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (None, False),
        ({}, False),
        ([], False),
        ({"a": None}, False),
        ({"b": 1}, False),
        ({"a": 5}, Decimal(5)),
        ({"a": "5"}, Decimal(5)),
        ({"a": "+5.0"}, Decimal(5)),
        ({"a": "-5e3"}, Decimal(-5000)),
        ({"a": "5\n"}, "5\n"),
        ({"a": " 5"}, " 5"),
        ({"a": "\u0665"}, "\u0665"),
        ({"a": "1e999"}, "1e999"),
        ({"a": ".5"}, ".5"),
        ({"a": True}, True),
        ([{"a": 1}], Decimal(1)),
        ([[{"a": 1}]], Decimal(1)),
        ([{"a": 1}, {"a": 1}], False),
        ("text", False),
    ],
)
def test_reading_a_key(data: Any, value: Any) -> None:
    read = select(data, "a")
    assert read == value
    assert type(read) is type(value)


def test_numbers_have_fifteen_digits() -> None:
    assert select({"a": 1_234_567_890_123_456}, "a") == Decimal(1_234_567_890_123_460)
    assert number(9_007_199_254_740_993) == Decimal(9_007_199_254_740_990)


def test_overlong_texts_stop_the_formula() -> None:
    with pytest.raises(FormulaError):
        select({"a": "x" * 4097}, "a")


def test_truth() -> None:
    assert truthy({})
    assert truthy([])
    assert truthy("0")
    assert truthy(Decimal("0.5"))
    assert not truthy("")
    assert not truthy(Decimal(0))
    assert not truthy(False)


def test_otherwise_replaces_what_is_not_true() -> None:
    assert otherwise(False, Decimal(7)) == 7
    assert otherwise("", Decimal(7)) == 7
    assert otherwise(Decimal(0), Decimal(7)) == 7
    assert otherwise("abc", Decimal(7)) == "abc"


def test_integers() -> None:
    assert is_integer(Decimal(3))
    assert is_integer(Decimal("3.0"))
    assert not is_integer(Decimal("3.5"))
    assert not is_integer("abc")
    assert not is_integer(True)


@pytest.mark.parametrize(
    ("left", "right", "result"),
    [
        (Decimal(1), Decimal("1.0"), False),
        ("a", "a", False),
        ("a", Decimal(1), True),
        (True, False, True),
        ({"a": 1}, {"a": 1}, False),
        ([1], [2], True),
    ],
)
def test_comparing(left: Any, right: Any, *, result: bool) -> None:
    assert differ(left, right) is result


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (False, Decimal(1), "booleans cannot be compared with other types"),
        ("a", True, "booleans cannot be compared with other types"),
        ({"a": 1}, "a", "objects cannot be compared with other types"),
        (Decimal(1), [1], "objects cannot be compared with other types"),
    ],
)
def test_comparing_what_cannot_be(left: Any, right: Any, message: str) -> None:
    with pytest.raises(FormulaError) as stopped:
        differ(left, right)
    assert stopped.value.message == message


def test_texts_of_values() -> None:
    assert text_of(Decimal("1.50")) == "1.5"
    assert text_of(Decimal(-3)) == "-3"
    assert text_of({"a": 1}) == "true"
    assert text_of(False) == "false"
    assert text_of("abc") == "abc"
