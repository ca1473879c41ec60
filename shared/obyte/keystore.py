"""The file that holds a wallet's seed phrase, encrypted when there is a passphrase.

A JSON object, readable by its owner only. With a passphrase, scrypt makes the key, and ChaCha20-Poly1305 encrypts the
phrase and authenticates the whole header: nothing in the file can be changed unnoticed. A file is never overwritten.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import unicodedata
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from shared.obyte.chash import is_valid_base64
from shared.obyte.errors import ObyteError
from shared.obyte.keys import mnemonic_seed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMAT = 1
SCRYPT_N = 2**15
"""Cost of one guess: with r = 8 about 32 MB and a tenth of a second."""
SCRYPT_R = 8
SCRYPT_P = 1
MAX_SCRYPT_N = 2**18
MAX_SCRYPT_R = 32
MAX_SCRYPT_P = 16
KEY_BYTES = 32
SALT_BYTES = 16
NONCE_BYTES = 12
MAX_FILE_BYTES = 16_384


class KeystoreError(ObyteError):
    """The seed's file cannot be made or opened.

    Codes: `keystore_exists`, `keystore_missing`, `keystore_invalid`, `keystore_exposed` (an unencrypted seed that
    others may read), `passphrase_empty`, `passphrase_required`, `passphrase_unexpected` (the file is not encrypted),
    `passphrase_wrong` (or the file was altered).
    """


def create_keystore(
    path: Path, mnemonic: str, passphrase: str | None, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> None:
    """Write the seed phrase to a new file with mode 0600, durably and all at once.

    Raises KeystoreError, KeyDerivationError for a phrase with an unknown word or a wrong checksum, OSError.
    """
    mnemonic_seed(mnemonic)
    phrase = " ".join(mnemonic.split())
    if passphrase is None:
        content: dict[str, object] = {"sluice_keystore": FORMAT, "mnemonic": phrase}
    else:
        header: dict[str, object] = {
            "sluice_keystore": FORMAT,
            "cipher": "chacha20poly1305",
            "kdf": "scrypt",
            "n": SCRYPT_N,
            "r": SCRYPT_R,
            "p": SCRYPT_P,
            "salt": _b64(random_bytes(SALT_BYTES)),
            "nonce": _b64(random_bytes(NONCE_BYTES)),
        }
        cipher = ChaCha20Poly1305(_derive_key(passphrase, header))
        sealed = cipher.encrypt(_bytes_of(header, "nonce"), phrase.encode(), _authenticated(header))
        content = {**header, "ciphertext": _b64(sealed)}
    _write_new(path, json.dumps(content, indent=1).encode() + b"\n")


def open_keystore(path: Path, passphrase: str | None) -> str:
    """Return the seed phrase. Raises KeystoreError, OSError."""
    content, is_private = _read(path)
    if "mnemonic" in content:
        if passphrase is not None:
            raise KeystoreError("passphrase_unexpected", "a passphrase was given, but the wallet file is not encrypted")
        if not is_private:
            raise KeystoreError(
                "keystore_exposed", "the wallet file is not encrypted and others may read it: chmod 600"
            )
        mnemonic = content["mnemonic"]
        if not isinstance(mnemonic, str):
            raise _invalid("mnemonic")
        return mnemonic
    if passphrase is None:
        raise KeystoreError("passphrase_required", "the wallet file is encrypted: a passphrase is needed")
    header = {name: value for name, value in content.items() if name != "ciphertext"}
    if header.get("cipher") != "chacha20poly1305" or header.get("kdf") != "scrypt":
        raise _invalid("cipher")
    nonce, sealed = _bytes_of(content, "nonce"), _bytes_of(content, "ciphertext")
    if len(nonce) != NONCE_BYTES:
        raise _invalid("nonce")
    try:
        return ChaCha20Poly1305(_derive_key(passphrase, header)).decrypt(nonce, sealed, _authenticated(header)).decode()
    except InvalidTag:
        raise KeystoreError("passphrase_wrong", "the passphrase is wrong, or the wallet file was altered") from None


def _derive_key(passphrase: str, header: dict[str, object]) -> bytes:
    if not passphrase:
        raise KeystoreError("passphrase_empty", "the passphrase must not be empty")
    cost = {name: header.get(name) for name in ("n", "r", "p")}
    limits = {"n": MAX_SCRYPT_N, "r": MAX_SCRYPT_R, "p": MAX_SCRYPT_P}
    # A foreign file must not make us compute for hours or fill the memory.
    numbers = {name: value for name, value in cost.items() if type(value) is int and 0 < value <= limits[name]}
    if len(numbers) != len(cost) or numbers["n"] & (numbers["n"] - 1) or numbers["n"] == 1:
        raise _invalid("scrypt cost")
    kdf = Scrypt(salt=_bytes_of(header, "salt"), length=KEY_BYTES, n=numbers["n"], r=numbers["r"], p=numbers["p"])
    return kdf.derive(unicodedata.normalize("NFKD", passphrase).encode())


def _authenticated(header: dict[str, object]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes_of(content: dict[str, object], name: str) -> bytes:
    text = content.get(name)
    if not isinstance(text, str) or not text or not is_valid_base64(text, None):
        raise _invalid(name)
    return base64.b64decode(text)


def _read(path: Path) -> tuple[dict[str, object], bool]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise KeystoreError("keystore_missing", f"there is no wallet file at {path}") from None
    try:
        content = json.loads(text) if len(text) <= MAX_FILE_BYTES else None
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("sluice_keystore") != FORMAT:
        raise _invalid("format")
    return content, not mode & (stat.S_IRWXG | stat.S_IRWXO)


def _write_new(path: Path, data: bytes) -> None:
    """Create the file complete or not at all: a half-written seed would be worse than none."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        raise KeystoreError("keystore_exists", f"there is a wallet file at {path} already") from None
    finally:
        draft.unlink()
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _invalid(what: str) -> KeystoreError:
    return KeystoreError("keystore_invalid", f"this is not a wallet file that can be read: {what}")
