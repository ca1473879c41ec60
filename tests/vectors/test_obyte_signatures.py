from __future__ import annotations

import pytest

from shared.obyte.signatures import sign, verify
from tests.vectors.obyte_vectors import Case, cases

# Where the reference reads more than we do. Whatever we accept it accepts too, and so do agents.
STRICTER = {
    "uncompressed pubkey (accepted by the verifier itself, 88 chars; definitions require 44)": (
        "a key must be compressed, 33 bytes: no definition may hold another"
    ),
    "base64 without padding is tolerated by the decoder": "base64 must be canonical, 88 characters",
    "url-safe base64 is tolerated by the decoder": "base64 must be canonical, 88 characters",
    "embedded whitespace is tolerated by the decoder": "base64 must be canonical, 88 characters",
}
VERIFY = cases("signatures", "verify")


@pytest.mark.parametrize("case", cases("signatures", "sign"))
def test_signing_is_deterministic_and_byte_exact(case: Case) -> None:
    digest = bytes.fromhex(case["hash_hex"])
    assert sign(digest, bytes.fromhex(case["private_key_hex"])) == case["sig_b64"]
    assert verify(digest, case["sig_b64"], case["pubkey_b64"])


@pytest.mark.parametrize("case", VERIFY, ids=lambda case: case["name"])
def test_verification(case: Case) -> None:
    valid = verify(bytes.fromhex(case["hash_hex"]), case["sig_b64"], case["pubkey_b64"])
    assert valid == (case["valid"] and case["name"] not in STRICTER)


def test_every_case_where_we_are_stricter_is_one_the_reference_accepts() -> None:
    assert {case["name"] for case in VERIFY if case["valid"]} >= STRICTER.keys()
