"""The receiver's wallet file: making it, and opening it with the passphrase file of the settings."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from shared.obyte.keys import KeyPair, generate_mnemonic, payment_key
from shared.obyte.keystore import create_keystore, open_keystore

if TYPE_CHECKING:
    from pathlib import Path

    from shared.settings import Settings

_PASSPHRASE_BYTES = 32


class VaultError(Exception):
    """The passphrase file cannot be used; the message says what to do."""

    code = "passphrase_file"


def init_vault(settings: Settings, mnemonic: str | None = None) -> KeyPair:
    """Make the wallet file, from a new seed or from `mnemonic`, and a passphrase file when there is none yet.

    Returns the key of the receiver's address. Raises KeystoreError when there is a wallet file already (it is never
    overwritten), KeyDerivationError for a wrong phrase, VaultError, OSError.
    """
    if not settings.wallet_passphrase_file.exists():
        _write_passphrase(settings.wallet_passphrase_file)
    settings.wallet_file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    create_keystore(settings.wallet_file, mnemonic or generate_mnemonic(), _passphrase(settings))
    return open_vault(settings)


def open_vault(settings: Settings) -> KeyPair:
    """Return the key of the receiver's address. Raises KeystoreError, VaultError, OSError."""
    return payment_key(open_keystore(settings.wallet_file, _passphrase(settings)))


def _passphrase(settings: Settings) -> str:
    file = settings.wallet_passphrase_file
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        raise VaultError(f"there is no passphrase file at {file}: set SLUICE_WALLET_PASSPHRASE_FILE") from None
    if not text:
        raise VaultError(f"the passphrase file {file} is empty")
    return text


def _write_passphrase(file: Path) -> None:
    file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(secrets.token_urlsafe(_PASSPHRASE_BYTES) + "\n")
        output.flush()
        os.fsync(output.fileno())  # a wallet whose passphrase is lost is lost
