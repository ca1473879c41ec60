from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.definitions import MAX_COMPLEXITY, check_authentifiers, parse_definition
from shared.obyte.errors import DefinitionError
from shared.obyte.keys import KeyPair
from tests.unit.obyte.strategies import damaged, hostile_values

DIGEST = b"\x33" * 32
KEYS = [KeyPair(bytes([number]) * 32) for number in range(1, 5)]
SIG = [key.definition for key in KEYS]
SIGNATURES = [key.sign(DIGEST) for key in KEYS]


def refusal_of(definition: Any, authentifiers: Any) -> str:
    with pytest.raises(DefinitionError) as refusal:
        check_authentifiers(definition, authentifiers, DIGEST)
    return refusal.value.code


def signed_by(*numbers: int, at: str = "r.{}") -> dict[str, str]:
    return {at.format(number): SIGNATURES[number] for number in numbers}


def test_one_key_signs_at_the_root() -> None:
    check_authentifiers(SIG[0], {"r": SIGNATURES[0]}, DIGEST)
    assert refusal_of(SIG[0], {"r": SIGNATURES[1]}) == "bad_signature"
    assert refusal_of(SIG[0], {"r": KEYS[0].sign(b"\x44" * 32)}) == "bad_signature"
    assert refusal_of(SIG[0], {"r.0": SIGNATURES[0]}) == "unused_authentifiers"
    assert refusal_of(SIG[0], {"r": SIGNATURES[0], "r.0": SIGNATURES[0]}) == "unused_authentifiers"
    assert refusal_of(SIG[0], {}) == "definition_not_satisfied"


@pytest.mark.parametrize(
    ("definition", "enough", "too_few"),
    [
        (["or", SIG[:3]], [(0,), (1,), (2,), (0, 1, 2)], []),
        (["and", SIG[:3]], [(0, 1, 2)], [(0,), (0, 1), (1, 2)]),
        (["r of set", {"required": 2, "set": SIG[:3]}], [(0, 1), (0, 2), (0, 1, 2)], [(0,), (2,)]),
        (
            [
                "weighted and",
                {"required": 50, "set": [{"weight": w, "value": SIG[i]} for i, w in enumerate((10, 40, 50))]},
            ],
            [(2,), (0, 1), (0, 2)],
            [(0,), (1,)],
        ),
    ],
    ids=["or", "and", "r of set", "weighted and"],
)
def test_who_must_sign(definition: Any, enough: list[tuple[int, ...]], too_few: list[tuple[int, ...]]) -> None:
    for signers in enough:
        check_authentifiers(definition, signed_by(*signers), DIGEST)
    for signers in too_few:
        assert refusal_of(definition, signed_by(*signers)) == "definition_not_satisfied"


def test_a_wrong_signature_spoils_what_the_others_satisfy() -> None:
    either = ["or", SIG[:2]]
    assert refusal_of(either, {"r.0": SIGNATURES[0], "r.1": SIGNATURES[0]}) == "bad_signature"
    assert refusal_of(either, {"r.0": SIGNATURES[0], "r.1": "junk"}) == "bad_signature"


def test_nested_definitions_are_signed_at_nested_paths() -> None:
    definition = ["and", [SIG[0], ["or", [SIG[1], ["and", [SIG[2], SIG[3]]]]]]]
    check_authentifiers(definition, {"r.0": SIGNATURES[0], "r.1.0": SIGNATURES[1]}, DIGEST)
    both = {"r.1.1.0": SIGNATURES[2], "r.1.1.1": SIGNATURES[3]}
    check_authentifiers(definition, {"r.0": SIGNATURES[0], **both}, DIGEST)
    assert refusal_of(definition, both) == "definition_not_satisfied"
    assert refusal_of(definition, {"r.0": SIGNATURES[0], "r.1": SIGNATURES[1]}) == "unused_authentifiers"


SET = {"required": 1, "set": SIG[:2]}
WEIGHTED = {"required": 1, "set": [{"weight": 1, "value": SIG[0]}, {"weight": 1, "value": SIG[1]}]}


@pytest.mark.parametrize(
    "definition",
    [
        *[None, 1, "sig", {}, [], ["sig"], ["sig", {}, 1], [1, {}], [None, None], [["sig"], {}]],
        *[["sig", None], ["sig", {}], ["sig", []], ["sig", {"pubkey": None}], ["sig", {"pubkey": "A" * 43}]],
        *[["sig", {"pubkey": "A" * 44, "algo": "secp256k1"}], ["sig", {"pubkey": "A" * 44, "x": 1}]],
        *[["or", None], ["or", {}], ["or", []], ["or", [SIG[0]]], ["and", [SIG[0], None]], ["and", "ab"]],
        *[["r of set", None], ["r of set", SIG], ["r of set", SET | {"required": 3}], ["r of set", SET | {"x": 1}]],
        *[["r of set", SET | {"required": number}] for number in (0, -1, True, 1.0, "1", None, 1001)],
        *[["r of set", {"required": 1}], ["r of set", {"set": SIG}], ["r of set", SET | {"set": [SIG[0]]}]],
        *[["weighted and", WEIGHTED | {"required": 3}], ["weighted and", WEIGHTED | {"set": SIG[:2]}]],
        *[["weighted and", WEIGHTED | {"set": [{"weight": w, "value": SIG[0]}] * 2}] for w in (0, -1, True, 1.5, 1001)],
        ["weighted and", WEIGHTED | {"set": [{"weight": 1, "value": SIG[0], "x": 1}] * 2}],
    ],
)
def test_a_malformed_definition_is_refused(definition: Any) -> None:
    assert refusal_of(definition, {"r": SIGNATURES[0]}) == "invalid_definition"


@pytest.mark.parametrize("operator", ["address", "hash", "not", "in data feed", "formula", "cosigned by", "SIG", ""])
def test_what_needs_the_ledger_or_is_unknown_is_unsupported(operator: str) -> None:
    assert refusal_of(["or", [SIG[0], [operator, "x"]]], {"r.0": SIGNATURES[0]}) == "unsupported_definition"


def test_complexity_is_bounded() -> None:
    widest = ["or", [SIG[0]] * (MAX_COMPLEXITY - 1)]
    check_authentifiers(widest, {"r.98": SIGNATURES[0]}, DIGEST)
    assert refusal_of(["or", [SIG[0]] * MAX_COMPLEXITY], {"r.0": SIGNATURES[0]}) == "definition_too_complex"
    deep: Any = SIG[0]
    for _ in range(50_000):
        deep = ["or", [deep, SIG[1]]]
    assert refusal_of(deep, {"r": SIGNATURES[0]}) == "definition_too_complex"


@given(hostile_values)
def test_junk_is_refused_with_a_definition_error(junk: Any) -> None:
    with pytest.raises(DefinitionError):
        check_authentifiers(junk, {"r": SIGNATURES[0]}, DIGEST)


@given(damaged(["and", [SIG[0], ["r of set", SET], ["weighted and", WEIGHTED]]]), st.data())
def test_a_damaged_definition_parses_or_is_refused(definition: Any, data: st.DataObject) -> None:
    try:
        parse_definition(definition)
    except DefinitionError:
        return
    paths = data.draw(st.sets(st.sampled_from(["r", "r.0", "r.1.0", "r.1.1", "r.2.1"]), max_size=2))
    with pytest.raises(DefinitionError):
        check_authentifiers(definition, dict.fromkeys(paths, SIGNATURES[3]), DIGEST)
