from __future__ import annotations

import pytest

from shared.obyte.derivation import HARDENED, ExtendedKey
from shared.obyte.errors import KeyDerivationError
from shared.obyte.keys import device_key, mnemonic_seed, payment_key, wallet_id
from tests.vectors.obyte_vectors import Case, cases, label

KEYS = cases("keys")
VALID = [case for case in KEYS if "seed_hex" in case]
INVALID = [case for case in KEYS if case.get("invalid")]
LEADING_ZERO = [case for case in VALID if case["name"].startswith("leading zero")]


def phrase_of(case: Case) -> tuple[str, str]:
    return case["mnemonic"], case["passphrase"]


@pytest.mark.parametrize("case", VALID, ids=label)
def test_seed_and_master_key(case: Case) -> None:
    seed = mnemonic_seed(*phrase_of(case))
    master = ExtendedKey.from_seed(seed)
    assert seed.hex() == case["seed_hex"]
    assert master.private_key.hex() == case["master_private_key_hex"]
    assert master.xprv() == case["xprv_master"]


@pytest.mark.parametrize("case", VALID, ids=label)
def test_payment_keys(case: Case) -> None:
    for expected in case["addresses"]:
        is_change, index = map(int, expected["path"].split("/")[-2:])
        key = payment_key(*phrase_of(case), is_change=is_change, index=index)
        assert key.private_key.hex() == expected["private_key_hex"]
        assert key.pubkey_b64 == expected["pubkey_b64"]
        assert key.definition == expected["definition"]
        assert key.address == expected["address"]


@pytest.mark.parametrize("case", VALID, ids=label)
def test_device_key(case: Case) -> None:
    key = device_key(*phrase_of(case))
    expected = case["device"]
    assert key.private_key.hex() == expected["private_key_hex"]
    assert key.pubkey_b64 == expected["pubkey_b64"]
    assert key.device_address == expected["device_address"]


@pytest.mark.parametrize("case", VALID, ids=label)
def test_wallet_id(case: Case) -> None:
    account = ExtendedKey.from_seed(mnemonic_seed(*phrase_of(case))).descendant(HARDENED + 44, HARDENED, HARDENED)
    assert account.xpub() == case["xpub_account0"]
    assert wallet_id(*phrase_of(case)) == case["wallet_id"]


@pytest.mark.parametrize("case", LEADING_ZERO, ids=label)
def test_standard_bip32_finds_other_addresses_for_seeds_with_a_leading_zero(case: Case) -> None:
    strict = payment_key(*phrase_of(case), strict_bip32=True)
    assert strict.address != case["addresses"][0]["address"]


@pytest.mark.parametrize("case", [case for case in VALID if case not in LEADING_ZERO], ids=label)
def test_standard_bip32_finds_the_same_addresses_for_all_other_seeds(case: Case) -> None:
    strict = payment_key(*phrase_of(case), strict_bip32=True)
    assert strict.address == case["addresses"][0]["address"]
    assert wallet_id(*phrase_of(case), strict_bip32=True) == case["wallet_id"]


@pytest.mark.parametrize("case", INVALID, ids=label)
def test_invalid_phrases_are_refused_without_being_repeated(case: Case) -> None:
    with pytest.raises(KeyDerivationError) as refusal:
        mnemonic_seed(case["mnemonic"])
    assert refusal.value.code == "invalid_mnemonic"
    assert "abandon" not in str(refusal.value)
