from __future__ import annotations

import pytest

from shared.obyte.errors import DeviceMessageError
from shared.obyte.pairing import PairingCode, parse_pairing_code
from tests.vectors.obyte_vectors import Case, cases

# Links carry this prefix; the reference's parser wants it taken off first.
PREFIXED = {case["code"] for case in cases("pairing_codes") if case["code"].startswith("obyte:")}
CODES = [case for case in cases("pairing_codes") if case["code"] not in PREFIXED]


@pytest.mark.parametrize("case", CODES, ids=lambda case: case["code"] or "empty")
def test_pairing_codes(case: Case) -> None:
    if not (case["matches"] and case["pubkey_length_ok"] and case["pubkey_valid"]):
        with pytest.raises(DeviceMessageError) as refused:
            parse_pairing_code(case["code"])
        assert refused.value.code == "invalid_pairing_code"
        return
    code = parse_pairing_code(case["code"])
    assert code == PairingCode(case["pubkey"], case["hub"], case["secret"])
    assert code.device_address == case["device_address"]
    assert str(code) == case["code"]


def test_the_prefix_of_a_link_is_taken_off() -> None:
    assert PREFIXED
    for code in PREFIXED:
        assert parse_pairing_code(code) == parse_pairing_code(code.removeprefix("obyte:"))
