from __future__ import annotations

import pytest

from shared.obyte.addresses import definition_address
from shared.obyte.chash import chash160, chash288, is_valid_address, is_valid_base64, is_valid_device_address
from shared.obyte.serialization import typed_source
from tests.vectors.obyte_vectors import Case, cases


@pytest.mark.parametrize("case", cases("chash", "chash160_of_string"))
def test_chash160(case: Case) -> None:
    assert chash160(case["data"]) == case["chash"]


@pytest.mark.parametrize("case", cases("chash", "chash288_of_string"))
def test_chash288(case: Case) -> None:
    assert chash288(case["data"]) == case["chash"]


@pytest.mark.parametrize("case", cases("chash", "chash288_of_object"))
def test_chash288_of_an_object_is_over_its_typed_source(case: Case) -> None:
    assert chash288(typed_source(case["object"])) == case["chash"]


@pytest.mark.parametrize("case", cases("chash", "definition"), ids=lambda case: case["address"])
def test_address_of_a_definition(case: Case) -> None:
    assert definition_address(case["definition"]) == case["address"]


@pytest.mark.parametrize("case", cases("chash", "is_valid_address"), ids=lambda case: case["address"])
def test_address_validity(case: Case) -> None:
    assert is_valid_address(case["address"]) == case["valid"]


@pytest.mark.parametrize("case", cases("chash", "is_valid_device_address"), ids=lambda case: case["address"])
def test_device_address_validity(case: Case) -> None:
    assert is_valid_device_address(case["address"]) == case["valid"]


@pytest.mark.parametrize("case", cases("chash", "is_valid_base64"), ids=lambda case: case["b64"])
def test_base64_validity(case: Case) -> None:
    assert is_valid_base64(case["b64"]) == case["valid"]
    assert is_valid_base64(case["b64"], 44) == case["valid_len44"]
