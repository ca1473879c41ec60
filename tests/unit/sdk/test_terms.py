from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strict_json import MAX_SAFE_INTEGER
from sluice.terms import (
    HeaderError,
    PaidReceipt,
    Terms,
    decode_package,
    decode_receipt,
    encode_package,
    encode_receipt,
    read_terms,
)

TERMS = Terms(
    network="devnet",
    asset="base",
    amount=100,
    receiver="MXMEKGN37H5QO2AWHT7XRG6LHJVVTAWU",
    url="https://pay.example/shop/",
    agent_versions=("1.2", "1.1"),
    min_timeout_s=800,
    max_timeout_s=1500,
)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
AMOUNTS = st.integers(0, MAX_SAFE_INTEGER)


@given(st.dictionaries(TEXTS, TEXTS, max_size=5))
def test_a_package_comes_out_of_its_header_as_it_went_in(package: dict[str, str]) -> None:
    value = encode_package(json.dumps(package, ensure_ascii=False))
    assert value.isascii()
    assert decode_package(value) == package


@given(st.text(max_size=200))
def test_whatever_a_header_holds_it_is_read_or_refused(value: str) -> None:
    with contextlib.suppress(HeaderError):
        assert isinstance(decode_package(value), dict)


@given(AMOUNTS, AMOUNTS, st.booleans())
def test_a_receipt_comes_out_of_its_header_as_it_went_in(number: int, amount: int, duplicate: bool) -> None:  # noqa: FBT001
    receipt = PaidReceipt(number, "A" * 32, "base", 1, amount, amount, duplicate)
    assert decode_receipt(encode_receipt(receipt)) == receipt


def test_what_is_no_receipt_is_none() -> None:
    for value in ("", "{}", "[]", '{"payment_id": 1}', "nonsense", "é"):
        assert decode_receipt(value) is None


def test_terms_are_read_as_they_were_written_and_others_are_passed_over() -> None:
    other = {"scheme": "exact", "network": "eip155:8453", "amount": "100"}
    assert read_terms({"accepts": [other, TERMS.as_json(), 7]}) == (TERMS,)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0},
        {"amount": "100"},
        {"amount": True},
        {"receiver": "nobody"},
        {"post_url": "file:///post"},
        {"post_url": "https://pay.example/pay"},
        {"post_url": "http://[/post"},
        {"min_timeout_s": 0},
        {"min_timeout_s": 2000},
        {"asset": "a" * 201},
        {"agent_versions": "1.2"},
    ],
    ids=str,
)
def test_terms_that_make_no_sense_are_none(change: dict[str, Any]) -> None:
    assert read_terms({"accepts": [{**TERMS.as_json(), **change}]}) == ()


def test_a_problem_without_terms_has_none() -> None:
    problems: list[Any] = [None, [], {}, {"accepts": None}, {"accepts": {}}]
    assert [read_terms(problem) for problem in problems] == [()] * 5
