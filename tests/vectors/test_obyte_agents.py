from __future__ import annotations

from typing import Any

import pytest

from shared.obyte.addresses import definition_address
from shared.obyte.agents import CHANNELS_BASE_AA, channel_address, channel_definition
from shared.obyte.serialization import json_source
from tests.vectors.obyte_vectors import Case, cases


def parameters_of(case: Case) -> tuple[Any, ...]:
    return case["addressA"], case["addressB"], case["asset"], case["timeout"], case["salt"]


@pytest.mark.parametrize("case", cases("aa_addresses", "aa_address"), ids=lambda case: case["aa_address"])
def test_channel_definition_and_address(case: Case) -> None:
    definition = channel_definition(*parameters_of(case))
    assert definition == case["definition"]
    assert json_source(definition).encode().hex() == case["source_string_hex"]
    assert channel_address(*parameters_of(case)) == case["aa_address"]


@pytest.mark.parametrize("case", cases("aa_addresses", "base_aa_definition"))
def test_the_published_agent_hashes_to_its_address(case: Case) -> None:
    assert definition_address(case["definition"]) == CHANNELS_BASE_AA["1.1"] == case["aa_address"]
