from __future__ import annotations

import dataclasses

import pytest

from shared.obyte.chash import is_valid_address
from shared.obyte.errors import NetworkError, ObyteError
from shared.obyte.networks import DEVNET, LIVENET, TESTNET, network_named


@pytest.mark.parametrize(("count", "majority"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (12, 7)])
def test_a_majority_is_more_than_half(count: int, majority: int) -> None:
    assert dataclasses.replace(DEVNET, order_provider_count=count).majority == majority


def test_networks_go_by_the_names_of_the_setting() -> None:
    assert network_named("mainnet") is network_named("livenet") is LIVENET
    assert network_named("testnet") is TESTNET
    assert network_named("devnet") is DEVNET
    with pytest.raises(NetworkError) as refusal:
        network_named("Mainnet")
    assert refusal.value.code == "unknown_network"


def test_networks_share_no_version_and_no_genesis() -> None:
    networks = (LIVENET, TESTNET, DEVNET)
    assert len(frozenset.union(*(network.versions for network in networks))) == 12
    assert len({(network.alt, network.genesis_unit) for network in networks}) == 3
    assert all(network.version in network.versions for network in networks)


def test_the_public_networks_started_from_twelve_order_providers_each() -> None:
    lists = [network.initial_order_providers for network in (LIVENET, TESTNET)]
    assert all(len(providers) == 12 and list(providers) == sorted(set(providers)) for providers in lists)
    assert all(is_valid_address(address) for providers in lists for address in providers)
    assert LIVENET.majority == TESTNET.majority == 7


def test_an_error_says_its_code_when_it_has_nothing_else_to_say() -> None:
    error = ObyteError("not_enough_funds")
    assert (error.code, str(error)) == ("not_enough_funds", "not enough funds")
