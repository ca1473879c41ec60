from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from shared.obyte.errors import KeyDerivationError
from shared.obyte.keystore import KeystoreError, create_keystore, open_keystore

if TYPE_CHECKING:
    from pathlib import Path

MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "wallet.json"


def test_the_phrase_comes_back_with_the_passphrase(path: Path) -> None:
    create_keystore(path, MNEMONIC, "correct horse")
    assert open_keystore(path, "correct horse") == MNEMONIC


def test_the_phrase_comes_back_without_a_passphrase(path: Path) -> None:
    create_keystore(path, f"  {MNEMONIC.replace(' ', '   ')}\n", None)
    assert open_keystore(path, None) == MNEMONIC


@pytest.mark.parametrize("passphrase", ["correct horse", None])
def test_only_the_owner_may_read_the_file(path: Path, passphrase: str | None) -> None:
    create_keystore(path, MNEMONIC, passphrase)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_an_encrypted_file_does_not_contain_the_phrase(path: Path) -> None:
    create_keystore(path, MNEMONIC, "correct horse")
    assert "abandon" not in path.read_text()


def test_the_same_passphrase_typed_in_another_unicode_form_opens_the_file(path: Path) -> None:
    create_keystore(path, MNEMONIC, "caf\u00e9")
    assert open_keystore(path, "cafe\u0301") == MNEMONIC


def test_a_file_is_never_overwritten(path: Path) -> None:
    create_keystore(path, MNEMONIC, None)
    before = path.read_bytes()
    with pytest.raises(KeystoreError) as refused:
        create_keystore(path, MNEMONIC, "other")
    assert refused.value.code == "keystore_exists"
    assert path.read_bytes() == before


def test_a_phrase_with_a_wrong_checksum_is_not_stored(path: Path) -> None:
    with pytest.raises(KeyDerivationError):
        create_keystore(path, "abandon " * 12, None)
    assert not path.exists()


def _alter(path: Path, name: str, value: object) -> None:
    content = json.loads(path.read_text())
    content[name] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("passphrase", "code"), [("wrong", "passphrase_wrong"), (None, "passphrase_required"), ("", "passphrase_empty")]
)
def test_an_encrypted_file_needs_its_passphrase(path: Path, passphrase: str | None, code: str) -> None:
    create_keystore(path, MNEMONIC, "correct horse")
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, passphrase)
    assert refused.value.code == code


def test_a_passphrase_for_an_unencrypted_file_is_a_mistake_worth_telling(path: Path) -> None:
    create_keystore(path, MNEMONIC, None)
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, "correct horse")
    assert refused.value.code == "passphrase_unexpected"


def test_an_unencrypted_file_that_others_may_read_is_refused(path: Path) -> None:
    create_keystore(path, MNEMONIC, None)
    path.chmod(0o640)
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, None)
    assert refused.value.code == "keystore_exposed"


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(KeystoreError, match=r"wallet\.json") as refused:
        open_keystore(path, None)
    assert refused.value.code == "keystore_missing"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("n", 2**14, "passphrase_wrong"),
        ("n", 2**30, "keystore_invalid"),
        ("n", 3, "keystore_invalid"),
        ("n", True, "keystore_invalid"),
        ("r", 10**9, "keystore_invalid"),
        ("cipher", "none", "keystore_invalid"),
        ("kdf", "md5", "keystore_invalid"),
        ("salt", "", "keystore_invalid"),
        ("salt", 5, "keystore_invalid"),
        ("nonce", "AAAA", "keystore_invalid"),
        ("ciphertext", "not base64", "keystore_invalid"),
        ("ciphertext", "AAAA", "passphrase_wrong"),
        ("note", "added", "passphrase_wrong"),
        ("sluice_keystore", 2, "keystore_invalid"),
    ],
)
def test_an_altered_file_is_refused(path: Path, name: str, value: object, code: str) -> None:
    create_keystore(path, MNEMONIC, "correct horse")
    _alter(path, name, value)
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, "correct horse")
    assert refused.value.code == code


@pytest.mark.parametrize(
    "text", ["", "[]", "null", "{", "[" * 16000, "x" * 20000, '{"sluice_keystore": 1, "mnemonic": 5}']
)
def test_a_file_of_another_kind_is_refused(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, None)
    assert refused.value.code == "keystore_invalid"


def test_errors_never_show_the_secrets(path: Path) -> None:
    create_keystore(path, MNEMONIC, "correct horse")
    with pytest.raises(KeystoreError) as refused:
        open_keystore(path, "battery staple")
    assert "battery" not in repr(refused.value)
    assert "abandon" not in repr(refused.value)
