from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte.derivation import HARDENED, ExtendedKey
from shared.obyte.errors import KeyDerivationError, SignatureError
from shared.obyte.keys import KeyPair, device_key, generate_mnemonic, mnemonic_seed, payment_key, wallet_id
from shared.obyte.signatures import verify

PHRASE = "abandon " * 11 + "about"
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@given(st.integers(1, CURVE_ORDER - 1), st.binary(min_size=32, max_size=32))
def test_what_a_key_signs_verifies_with_it_alone(number: int, digest: bytes) -> None:
    key = KeyPair(number.to_bytes(32))
    signature = key.sign(digest)
    assert verify(digest, signature, key.pubkey_b64)
    assert not verify(digest, signature, KeyPair((number % 1000 + 7).to_bytes(32)).pubkey_b64)
    assert not verify(bytes(reversed(digest[:31])) + bytes([digest[31] ^ 1]), signature, key.pubkey_b64)


@pytest.mark.parametrize(
    "private_key", [b"", b"\x01", bytes(32), CURVE_ORDER.to_bytes(32), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33]
)
def test_an_impossible_key_is_refused_at_once(private_key: bytes) -> None:
    with pytest.raises(SignatureError) as refusal:
        KeyPair(private_key)
    assert refusal.value.code == "invalid_private_key"


def test_secrets_are_in_no_repr() -> None:
    key = payment_key(PHRASE)
    master = ExtendedKey.from_seed(mnemonic_seed(PHRASE))
    for secret in (key.private_key, master.private_key, master.chain_code):
        assert repr(secret) not in repr(key) + repr(master)
        assert secret.hex() not in repr(key) + repr(master)


def test_a_fresh_phrase_has_twelve_words_and_is_never_the_same() -> None:
    phrases = {generate_mnemonic() for _ in range(8)}
    assert len(phrases) == 8
    assert all(len(phrase.split()) == 12 for phrase in phrases)


def test_a_phrase_follows_from_its_entropy() -> None:
    assert generate_mnemonic(bytes(16)) == PHRASE
    assert len(generate_mnemonic(bytes(32)).split()) == 24


@pytest.mark.parametrize("length", [0, 15, 17, 33, 64])
def test_entropy_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(KeyDerivationError) as refusal:
        generate_mnemonic(bytes(length))
    assert refusal.value.code == "invalid_entropy"


def test_spaces_around_words_do_not_matter() -> None:
    assert mnemonic_seed(f"  {PHRASE}\n".replace("abandon ", "abandon   ")) == mnemonic_seed(PHRASE)


@pytest.mark.parametrize("phrase", ["", "abandon", PHRASE.upper(), "\ud800", PHRASE + " about"])
def test_a_wrong_phrase_is_refused(phrase: str) -> None:
    for use in (mnemonic_seed, payment_key, device_key, wallet_id):
        with pytest.raises(KeyDerivationError) as refusal:
            use(phrase)
        assert refusal.value.code == "invalid_mnemonic"


@pytest.mark.parametrize(
    ("phrase", "fault"),
    [
        (PHRASE.replace("about", "aboot"), "word 12 is not in the English list"),
        ("Abandon " + PHRASE.removeprefix("abandon ").replace("about", "aboot"), "words 1, 12 are not in the"),
        (PHRASE.replace("about", "abandon"), "the checksum is wrong"),
        (PHRASE + " about", "24 words, this one has 13"),
        ("", "this one has 0"),
    ],
)
def test_what_is_wrong_with_a_phrase_is_told_without_quoting_it(phrase: str, fault: str) -> None:
    with pytest.raises(KeyDerivationError, match=fault) as refusal:
        mnemonic_seed(phrase)
    assert not any(word in str(refusal.value) for word in ("abandon", "aboot", "about"))


def test_addresses_differ_by_account_change_and_index() -> None:
    keys = [
        payment_key(PHRASE),
        payment_key(PHRASE, "passphrase"),
        payment_key(PHRASE, account=1),
        payment_key(PHRASE, is_change=1),
        payment_key(PHRASE, index=1),
        device_key(PHRASE),
    ]
    assert len({key.address for key in keys}) == len(keys)


@pytest.mark.parametrize("index", [-1, 2 * HARDENED])
def test_a_child_number_beyond_the_path_is_refused(index: int) -> None:
    with pytest.raises(KeyDerivationError) as refusal:
        payment_key(PHRASE, index=index)
    assert refusal.value.code == "invalid_path"


def test_standard_bip32_keeps_the_zero_that_the_variant_drops() -> None:
    parent = bytes([0]) + b"\x11" * 31
    chain_code = bytes(32)
    variant, strict = ExtendedKey(parent, chain_code), ExtendedKey(parent, chain_code, strict_bip32=True)
    assert variant.child(HARDENED).private_key != strict.child(HARDENED).private_key
    assert variant.child(0).private_key == strict.child(0).private_key
