from __future__ import annotations

import base64

import pytest

from shared.sealing import Reader, SealingError, seal

READER = Reader(b"a secret of one reader, long enough")
OTHER = Reader(b"a secret of another reader, as long")


def test_the_reader_opens_what_was_sealed_for_him() -> None:
    assert READER.open(seal("a package \u00e9", READER.public_key)) == "a package \u00e9"


def test_the_same_secret_is_the_same_reader() -> None:
    again = Reader(b"a secret of one reader, long enough")
    assert again.open(seal("text", READER.public_key)) == "text"


def test_nobody_else_opens_it() -> None:
    with pytest.raises(SealingError):
        OTHER.open(seal("text", READER.public_key))


def test_two_seals_of_one_text_have_nothing_in_common() -> None:
    one, two = (base64.b64decode(seal("text", READER.public_key)) for _ in range(2))
    assert one[:32] != two[:32]
    assert one[32:] != two[32:]


@pytest.mark.parametrize("place", [0, 30, 32, 40, -1])
def test_a_changed_seal_does_not_open(place: int) -> None:
    raw = bytearray(base64.b64decode(seal("a text that is long enough", READER.public_key)))
    raw[place] ^= 1
    with pytest.raises(SealingError):
        READER.open(base64.b64encode(raw).decode())


@pytest.mark.parametrize("sealed", ["", "no base64!", "AAAA", base64.b64encode(bytes(32)).decode(), "\u00e9"])
def test_what_was_never_sealed_does_not_open(sealed: str) -> None:
    with pytest.raises(SealingError):
        READER.open(sealed)


@pytest.mark.parametrize("key", ["", "AAAA", "no base64!", base64.b64encode(bytes(32)).decode()])
def test_bad_and_weak_public_keys_are_refused(key: str) -> None:
    with pytest.raises(SealingError):
        seal("text", key)
