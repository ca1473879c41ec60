from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.obyte.errors import UnitError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import network_named
from shared.obyte.units import (
    check_joint,
    check_unit,
    content_hash,
    headers_commission,
    oversize_fee,
    payload_commission,
    unit_hash,
    unit_hash_to_sign,
    verify_author_signatures,
)
from tests.vectors.obyte_vectors import Case, cases, label

if TYPE_CHECKING:
    from shared.obyte.networks import Network

UNITS = cases("units")
SIGNED = [case for case in UNITS if "private_key_hex" in case]
STRIPPED_FIELDS = {"version", "alt", "timestamp", "witness_list_unit", "parent_units", "last_ball", "last_ball_unit"}


def network_of(case: Case) -> Network:
    return network_named(case["network"])


def stripped(case: Case) -> dict[str, Any]:
    unit = case["unit"]
    kept = {name: value for name, value in unit.items() if name in STRIPPED_FIELDS}
    authors = [{"address": author["address"]} for author in unit["authors"]]
    return kept | {"content_hash": case["content_hash"], "authors": authors, "unit": unit["unit"]}


@pytest.mark.parametrize("case", UNITS, ids=label)
def test_hashes(case: Case) -> None:
    assert content_hash(case["unit"], network_of(case)) == case["content_hash"]
    assert unit_hash(case["unit"], network_of(case)) == case["unit_hash"]


@pytest.mark.parametrize("case", UNITS, ids=label)
def test_what_a_hub_adds_changes_no_hash(case: Case) -> None:
    delivered = case["unit"] | {"main_chain_index": 7, "actual_tps_fee": 3}
    assert unit_hash(delivered, network_of(case)) == case["unit_hash"]
    assert check_unit(delivered, network_of(case)) == case["unit"]


@pytest.mark.parametrize("case", [case for case in UNITS if "stripped_unit_hash" in case], ids=label)
def test_a_stripped_unit_has_the_same_hash(case: Case) -> None:
    assert unit_hash(stripped(case), network_of(case)) == case["stripped_unit_hash"] == case["unit_hash"]


@pytest.mark.parametrize("case", UNITS, ids=label)
def test_a_stripped_unit_passes_with_its_ball_only(case: Case) -> None:
    unit = stripped(case)
    assert check_joint({"unit": unit, "ball": case["content_hash"]}, network_of(case)) == unit
    with pytest.raises(UnitError) as refusal:
        check_joint({"unit": unit}, network_of(case))
    assert refusal.value.code == "stripped_unit"


@pytest.mark.parametrize("case", UNITS, ids=label)
def test_commissions(case: Case) -> None:
    assert headers_commission(case["unit"], network_of(case)) == case["headers_commission"]
    assert payload_commission(case["unit"], network_of(case)) == case["payload_commission"]


@pytest.mark.parametrize("case", SIGNED, ids=label)
def test_hash_to_sign_and_signature(case: Case) -> None:
    unit, network = case["unit"], network_of(case)
    key = KeyPair(bytes.fromhex(case["private_key_hex"].zfill(64)))
    digest = unit_hash_to_sign(unit, network)
    assert digest.hex() == case["hash_to_sign_hex"]
    assert key.sign(digest) == unit["authors"][0]["authentifiers"]["r"]
    verify_author_signatures(unit, {key.address: key.definition}, network)


@pytest.mark.parametrize("case", SIGNED, ids=label)
def test_oversize_fee_of_a_unit(case: Case) -> None:
    fee = oversize_fee(case["headers_commission"] + case["payload_commission"])
    assert fee == case["oversize_fee"] == case["unit"].get("oversize_fee", 0)


@pytest.mark.parametrize("case", cases("oversize_fees"), ids=lambda case: f"{case['size']} of {case['threshold_size']}")
def test_oversize_fee(case: Case) -> None:
    assert oversize_fee(case["size"], case["threshold_size"]) == case["oversize_fee"]


@pytest.mark.parametrize("case", UNITS, ids=label)
def test_every_unit_passes_the_checks_of_its_own_network_only(case: Case) -> None:
    assert check_unit(case["unit"], network_of(case)) == case["unit"]
    for name in {"livenet", "testnet", "devnet"} - {case["network"]}:
        with pytest.raises(UnitError):
            check_unit(case["unit"], network_named(name))


@pytest.mark.parametrize("case", [case for case in UNITS if "private_key_hex" not in case], ids=label)
def test_an_agents_unit_is_not_signed(case: Case) -> None:
    with pytest.raises(UnitError) as refusal:
        verify_author_signatures(case["unit"], {}, network_of(case))
    assert refusal.value.code == "not_signed"
