"""System variables as hubs tell them: which value is in force, and what is no history of values."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from shared.obyte.hub_errors import HubAnswerError
from shared.obyte.serialization import parse_js_json
from shared.obyte.system_variables import read_system_variables
from tests.vectors.obyte_vectors import FOLDER

ONE, OTHER = "I2ADHGP4HL6J37NQAD73J7E5SKFIXJOT", "2FF7PSL7FYXVU5UIQHCVDTTPUOOG75GX"


def told_by_the_reference() -> list[Any]:
    lines = [line for path in (FOLDER / "transcripts").glob("0*.jsonl") for line in path.read_text().splitlines()]
    records: list[Any] = [parse_js_json(line) for line in lines if line]
    frames = [record["message"] for record in records if isinstance(record["message"], list)]
    return [content["body"] for _, content in frames if content.get("subject") == "system_vars"]


@pytest.fixture
def told() -> dict[str, Any]:
    return {
        "op_list": [
            {"vote_count_mci": 200, "value": [OTHER, ONE], "is_emergency": 1},
            {"vote_count_mci": -1, "value": [ONE], "is_emergency": 0},
        ],
        "threshold_size": [
            {"vote_count_mci": 300, "value": 20_000, "is_emergency": 0},
            {"vote_count_mci": 100, "value": 5_000, "is_emergency": 0},
            {"vote_count_mci": -1, "value": 10_000, "is_emergency": 0},
        ],
        "base_tps_fee": [{"vote_count_mci": -1, "value": 10, "is_emergency": 0}],
        "tps_interval": [{"vote_count_mci": -1, "value": 0.5, "is_emergency": 0}],
        "tps_fee_multiplier": [{"vote_count_mci": -1, "value": 10, "is_emergency": 0}],
    }


def test_what_reference_hubs_tell_is_read() -> None:
    all_told = told_by_the_reference()
    assert len(all_told) >= 4
    for body in all_told:
        variables = read_system_variables(body)
        assert variables.threshold_size(1) == 10_000
        assert list(variables.order_providers()) == body["op_list"][0]["value"]
        assert [vote.value for vote in variables.tps_intervals] == [20]


@pytest.mark.parametrize(
    ("mci", "size"), [(0, 10_000), (100, 10_000), (101, 5_000), (300, 5_000), (301, 20_000), (None, 20_000)]
)
def test_a_value_is_in_force_above_the_index_of_its_count(told: dict[str, Any], mci: int | None, size: int) -> None:
    assert read_system_variables(told).threshold_size(mci) == size


def test_lists_of_order_providers_are_sorted(told: dict[str, Any]) -> None:
    told["op_list"][0]["value"] = [ONE, OTHER]
    assert read_system_variables(told).order_providers() == (OTHER, ONE)
    assert read_system_variables(told).order_providers(200) == (ONE,)
    assert read_system_variables(told).op_lists[0].is_emergency


def test_an_index_before_every_count_has_no_value(told: dict[str, Any]) -> None:
    with pytest.raises(HubAnswerError):
        read_system_variables(told).threshold_size(-1)


@pytest.mark.parametrize("name", ["op_list", "threshold_size", "base_tps_fee", "tps_interval", "tps_fee_multiplier"])
@pytest.mark.parametrize(
    "history",
    [
        None,
        [],
        {},
        "x",
        [None],
        [{"value": 10_000}],
        [{"vote_count_mci": -2, "value": 10_000}],
        [{"vote_count_mci": True, "value": 10_000}],
        [{"vote_count_mci": 1}],
        [{"vote_count_mci": 1, "value": None}],
        [{"vote_count_mci": 1, "value": "10000"}],
        [{"vote_count_mci": 1, "value": True}],
        [{"vote_count_mci": 1, "value": 0}],
        [{"vote_count_mci": 1, "value": []}],
        [{"vote_count_mci": 1, "value": [ONE, ONE]}],
        [{"vote_count_mci": 1, "value": ["x"]}],
    ],
)
def test_what_is_no_history_of_values_is_refused(told: dict[str, Any], name: str, history: Any) -> None:
    told[name] = history
    with pytest.raises(HubAnswerError):
        read_system_variables(told)


def test_a_history_that_is_not_newest_first_is_refused(told: dict[str, Any]) -> None:
    turned = copy.deepcopy(told)
    turned["threshold_size"].reverse()
    with pytest.raises(HubAnswerError):
        read_system_variables(turned)


@pytest.mark.parametrize("body", [None, [], "x", 5])
def test_what_is_no_object_is_refused(body: Any) -> None:
    with pytest.raises(HubAnswerError):
        read_system_variables(body)
