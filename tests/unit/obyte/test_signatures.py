from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.obyte import signatures
from shared.obyte.errors import SignatureError
from shared.obyte.keys import KeyPair
from shared.obyte.signatures import is_valid_pubkey, sign, verify
from tests.unit.obyte.strategies import hostile_values

KEY = KeyPair(b"\x11" * 32)
DIGEST = b"\x22" * 32
SIGNATURE = KEY.sign(DIGEST)
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def test_a_signature_is_88_characters_and_always_the_same() -> None:
    assert len(SIGNATURE) == 88
    assert sign(DIGEST, KEY.private_key) == SIGNATURE == KEY.sign(DIGEST)


@given(st.integers(0, 511))
def test_flipping_any_bit_of_a_signature_makes_it_wrong(bit: int) -> None:
    number = int.from_bytes(base64.b64decode(SIGNATURE)) ^ (1 << bit)
    assert not verify(DIGEST, base64.b64encode(number.to_bytes(64)).decode(), KEY.pubkey_b64)


def test_a_zero_more_or_less_makes_a_signature_wrong() -> None:
    raw = base64.b64decode(SIGNATURE)
    r, s = raw[:32], raw[32:]
    for padded in (r + b"\0" + s, b"\0" + raw, raw + b"\0"):
        assert not verify(DIGEST, base64.b64encode(padded).decode(), KEY.pubkey_b64)
    # One signature in 128 starts s with a zero byte, without which it would be the same number.
    digests = (number.to_bytes(32) for number in range(10_000))
    digest = next(digest for digest in digests if base64.b64decode(KEY.sign(digest))[32] == 0)
    raw = base64.b64decode(KEY.sign(digest))
    assert not verify(digest, base64.b64encode(raw[:32] + raw[33:]).decode(), KEY.pubkey_b64)


@given(st.binary(min_size=32, max_size=32))
def test_the_high_s_twin_of_a_signature_is_wrong(digest: bytes) -> None:
    signature = base64.b64decode(KEY.sign(digest))
    s = int.from_bytes(signature[32:])
    assert s <= CURVE_ORDER // 2
    twin = signature[:32] + (CURVE_ORDER - s).to_bytes(32)
    assert not verify(digest, base64.b64encode(twin).decode(), KEY.pubkey_b64)


@given(hostile_values)
def test_anything_else_is_a_wrong_signature_and_a_wrong_key(junk: Any) -> None:
    assert not verify(DIGEST, junk, KEY.pubkey_b64)
    assert not verify(DIGEST, SIGNATURE, junk)


@given(st.binary(max_size=80))
def test_bytes_of_any_length_are_a_wrong_signature_and_a_wrong_key(junk: bytes) -> None:
    text = base64.b64encode(junk).decode()
    assert not verify(DIGEST, text, KEY.pubkey_b64)
    assert not verify(DIGEST, SIGNATURE, text)


@pytest.mark.parametrize("digest", [b"", b"\x22" * 31, b"\x22" * 33])
def test_only_32_bytes_are_signed_and_verified(digest: bytes) -> None:
    with pytest.raises(SignatureError) as refusal:
        KEY.sign(digest)
    assert refusal.value.code == "invalid_digest"
    with pytest.raises(SignatureError):
        verify(digest, SIGNATURE, KEY.pubkey_b64)


def test_a_key_must_be_a_compressed_point_of_the_curve() -> None:
    assert is_valid_pubkey(KEY.pubkey_b64)
    raw = base64.b64decode(KEY.pubkey_b64)
    for wrong in (b"\x04" + raw[1:], b"\x05" + raw[1:], raw[:32], raw + b"\0", b"\x02" + b"\xff" * 32, b""):
        assert not is_valid_pubkey(base64.b64encode(wrong).decode())


def test_strangers_cannot_fill_the_memory_with_their_keys() -> None:
    assert signatures._parsed_pubkey.cache_info().maxsize == 16_384
