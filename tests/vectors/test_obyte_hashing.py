from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from shared.obyte.errors import SerializationError
from shared.obyte.hashing import ball_hash, base64_hash, length_of
from shared.obyte.serialization import json_source, parse_js_json, typed_source, utf8
from tests.vectors.obyte_vectors import Case, cases, label

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue

HASHING = cases("hashing")


def written(field: str) -> list[Case]:
    return [case for case in HASHING if field in case]


@pytest.mark.parametrize("case", written("source_string_hex"), ids=label)
def test_typed_source_is_byte_exact(case: Case) -> None:
    value = parse_js_json(case["input_json"])
    assert utf8(typed_source(value)).hex() == case["source_string_hex"]
    assert base64_hash(value, typed=True) == case["base64_hash"]


@pytest.mark.parametrize("case", written("json_source_string_hex"), ids=label)
def test_json_source_is_byte_exact(case: Case) -> None:
    value = parse_js_json(case["input_json"])
    assert utf8(json_source(value)).hex() == case["json_source_string_hex"]
    assert base64_hash(value) == case["json_base64_hash"]


@pytest.mark.parametrize("case", written("json_allow_empty_hex"), ids=label)
def test_empty_containers_have_a_text_where_they_are_allowed(case: Case) -> None:
    assert (
        json_source(parse_js_json(case["input_json"]), allow_empty=True).encode().hex() == case["json_allow_empty_hex"]
    )


@pytest.mark.parametrize("case", written("source_string_error"), ids=label)
def test_typed_source_refuses(case: Case) -> None:
    with pytest.raises(SerializationError):
        typed_source(value_of(case))


@pytest.mark.parametrize("case", written("json_source_string_error"), ids=label)
def test_json_source_refuses(case: Case) -> None:
    with pytest.raises(SerializationError):
        json_source(value_of(case))


@pytest.mark.parametrize("case", written("json_allow_empty_error"), ids=label)
def test_null_is_refused_even_where_empty_containers_are_allowed(case: Case) -> None:
    with pytest.raises(SerializationError):
        json_source(value_of(case), allow_empty=True)


@pytest.mark.parametrize("case", written("length_with_keys"), ids=label)
def test_length_with_and_without_keys(case: Case) -> None:
    value = parse_js_json(case["input_json"])
    assert length_of(value, with_keys=True) == case["length_with_keys"]
    assert length_of(value, with_keys=False) == case["length_without_keys"]


@pytest.mark.parametrize("case", cases("balls"))
def test_ball_hash(case: Case) -> None:
    parents, skiplist = case["parent_balls"], case["skiplist_balls"]
    assert ball_hash(case["unit"], parents, skiplist, is_nonserial=case["is_nonserial"]) == case["ball"]


def value_of(case: Case) -> JsonValue:
    if "js_value" in case:  # no JSON text says this
        return -math.inf if case["js_value"] == "-Infinity" else math.inf
    return parse_js_json(case["input_json"])
