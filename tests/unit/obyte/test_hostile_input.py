"""Whatever a stranger sends, the answer is an ObyteError or a verdict: never another exception."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given

from shared.obyte.errors import ObyteError, SignedMessageError, UnitError
from shared.obyte.networks import DEVNET, LIVENET
from shared.obyte.signed_messages import hash_to_sign, sign_message, verify_signed_message
from shared.obyte.units import (
    check_joint,
    check_unit,
    content_hash,
    headers_commission,
    payload_commission,
    unit_hash,
    unit_hash_to_sign,
    verify_author_signatures,
)
from tests.unit.obyte.strategies import damaged, hostile_values
from tests.unit.obyte.unit_builders import KEY, new_unit, sealed

PACKAGE: Any = sign_message({"amount_spent": 1, "period": 1}, KEY, LIVENET)
AWARE: Any = PACKAGE | {"last_ball_unit": "aLR8td71hxfvKoGN6CbxN5MIUE0t+sqfcV8RTfUwFpc="}
UNIT = new_unit()


def judge_package(package: Any) -> bool:
    passed = False
    for options in ({}, {"expected_signer": KEY.address}, {"find_definition": lambda _address, _unit: None}):
        with contextlib.suppress(SignedMessageError):
            verify_signed_message(package, LIVENET, **options)
            passed = True
    with contextlib.suppress(ObyteError):
        hash_to_sign(package, LIVENET)
    return passed


@given(hostile_values)
@example({"signed_message": 1, "authors": [{"address": KEY.address, "authentifiers": {"\ud800": "\ud800"}}]})
def test_junk_is_no_package(value: Any) -> None:
    assert not judge_package(value)
    assert not judge_package(PACKAGE | {"authors": value})
    assert not judge_package(PACKAGE | {"authors": [value]})


@given(damaged(PACKAGE))
def test_a_damaged_package_is_refused(package: Any) -> None:
    assert judge_package(package) == (package == PACKAGE)


@given(damaged(AWARE))
def test_a_damaged_network_aware_package_is_refused(package: Any) -> None:
    assert judge_package(package) == (package == PACKAGE)


def judge_unit(unit: Any) -> None:
    for network in (LIVENET, DEVNET):
        with contextlib.suppress(UnitError):
            check_unit(unit, network, now_s=1e9)
        with contextlib.suppress(UnitError):
            check_joint({"unit": unit}, network)
        with contextlib.suppress(UnitError):
            check_joint(unit, network)
        if not isinstance(unit, dict):
            continue
        with contextlib.suppress(UnitError):
            verify_author_signatures(unit, {}, network)
        for function in (unit_hash, content_hash, unit_hash_to_sign, headers_commission, payload_commission):
            with contextlib.suppress(ObyteError):
                function(unit, network)


@given(hostile_values)
def test_junk_is_no_unit(value: Any) -> None:
    judge_unit(value)
    for name in UNIT:
        judge_unit(UNIT | {name: value})


@given(damaged(UNIT))
def test_a_damaged_unit_is_refused(unit: Any) -> None:
    judge_unit(unit)
    if isinstance(unit, dict):
        judge_unit(sealed(unit))


@given(damaged(UNIT | {"version": "1.0"}))
def test_a_damaged_unit_of_the_first_version_is_refused(unit: Any) -> None:
    if isinstance(unit, dict):
        judge_unit(sealed(unit))
