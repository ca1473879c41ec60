"""Which packages the agent takes: neither more nor less than the one on the real ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet.packages import package_verifier
from shared.obyte.addresses import definition_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import hash_to_sign, sign_message

if TYPE_CHECKING:
    from devnet.ledger import Ledger
    from tests.devnet_support import Actor

KEY = KeyPair(b"\7" * 32)
ACCEPTS = package_verifier(DEVNET)


def signed(**fields: Any) -> dict[str, Any]:
    package: dict[str, Any] = {"signed_message": {"a": 1}, "version": DEVNET.version, **fields}
    package = {name: value for name, value in package.items() if value is not None}
    package.setdefault("authors", [{"address": KEY.address, "definition": KEY.definition}])
    package["authors"][0]["authentifiers"] = {"r": KEY.sign(hash_to_sign(package, DEVNET))}
    return package


def test_plain_package_is_taken() -> None:
    assert ACCEPTS(sign_message({"a": 1}, KEY, DEVNET), KEY.address)


@pytest.mark.parametrize("version", ["2.0dev", "3.0dev", "4.0dev", None])
def test_versions_taken(version: str | None) -> None:
    assert ACCEPTS(signed(version=version), KEY.address)


@pytest.mark.parametrize("version", ["1.0dev", "5.0dev", "4.0", "4.0t", 4, "", True])
def test_versions_refused(version: Any) -> None:
    package = signed()
    package["version"] = version
    assert not ACCEPTS(package, KEY.address)


def test_timestamp_is_refused() -> None:
    assert not ACCEPTS(signed(timestamp=1_600_000_000), KEY.address)


@pytest.mark.parametrize(
    "package", [None, 5, "text", [], {}, {"signed_message": 1}, {"signed_message": 1, "authors": [None]}]
)
def test_what_is_no_package_is_refused(package: Any) -> None:
    assert not ACCEPTS(package, KEY.address)


def test_other_signer_is_refused() -> None:
    assert not ACCEPTS(signed(), KeyPair(b"\6" * 32).address)


def test_definitions_of_more_than_ten_operators_are_refused() -> None:
    def many(keys: int) -> list[Any]:
        return ["or", [KEY.definition, *(KeyPair(bytes([n]) * 32).definition for n in range(1, keys))]]

    for keys, taken in ((9, True), (10, False)):
        definition = many(keys)
        address = definition_address(definition)
        package: dict[str, Any] = {"signed_message": 1, "version": DEVNET.version}
        package["authors"] = [{"address": address, "definition": definition}]
        package["authors"][0]["authentifiers"] = {"r.0": KEY.sign(hash_to_sign(package, DEVNET))}
        assert ACCEPTS(package, address) is taken


def test_reference_to_the_ledger_needs_a_ledger() -> None:
    assert not ACCEPTS(signed(last_ball_unit="A" * 43 + "="), KEY.address)


def test_reference_to_a_stable_unit_is_taken(ledger: Ledger, alice: Actor, bob: Actor) -> None:
    accepts = package_verifier(ledger.network, ledger.state.definition_at_unit)
    before = ledger.state.last_stable().hash
    alice.pay(bob.address, 1_000)
    ledger.settle()
    after = ledger.state.last_stable().hash

    def package(last_ball_unit: str, *, disclosed: bool) -> dict[str, Any]:
        author: dict[str, Any] = {"address": alice.address}
        if disclosed:
            author["definition"] = alice.key.definition
        made: dict[str, Any] = {"signed_message": 1, "version": "4.0dev", "last_ball_unit": last_ball_unit}
        made["authors"] = [author]
        author["authentifiers"] = {"r": alice.key.sign(hash_to_sign(made, ledger.network))}
        return made

    assert accepts(package(before, disclosed=True), alice.address)
    assert accepts(package(after, disclosed=False), alice.address)
    assert not accepts(package(before, disclosed=False), alice.address)
    assert not accepts(package(after, disclosed=True), alice.address)
    assert not accepts(package(ledger.state.dag.main_chain[-1].hash, disclosed=False), alice.address)
