"""The receiver's wallet: its file, the passphrase file beside it, and what the worker knows of its coins."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from shared.obyte.coins import BASE, Balance, CoinSet
from shared.obyte.keys import KeyPair, generate_mnemonic, mnemonic_seed, payment_key
from shared.obyte.keystore import create_keystore, open_keystore
from shared.store import wallet_units

if TYPE_CHECKING:
    from pathlib import Path

    from shared.settings import Settings
    from shared.store.database import Connection

_PASSPHRASE_BYTES = 32


class VaultError(Exception):
    """There is no wallet, or its passphrase cannot be read; the message says what to do."""

    code = "vault_unusable"


def init_vault(settings: Settings, mnemonic: str | None = None) -> KeyPair:
    """Make the wallet file, from a new seed or from `mnemonic`, and a passphrase file when there is none yet.

    Returns the key of the receiver's address. Raises KeystoreError when there is a wallet file already (it is never
    overwritten), KeyDerivationError for a wrong phrase, VaultError, OSError.
    """
    mnemonic = mnemonic or generate_mnemonic()
    mnemonic_seed(mnemonic)  # refuses a wrong phrase before anything is written
    if not settings.wallet_passphrase_file.exists():
        make_passphrase(settings.wallet_passphrase_file)
    settings.wallet_file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    create_keystore(settings.wallet_file, mnemonic, read_passphrase(settings.wallet_passphrase_file))
    return open_vault(settings)


def open_vault(settings: Settings) -> KeyPair:
    """Return the key of the receiver's address. Raises KeystoreError, VaultError, OSError."""
    if not settings.wallet_file.exists():
        raise VaultError(f"there is no wallet file at {settings.wallet_file}: make one with `sluice wallet init`")
    return payment_key(open_keystore(settings.wallet_file, read_passphrase(settings.wallet_passphrase_file)))


def payer_home(settings: Settings) -> Path:
    """Return the directory of the wallet that this home pays with; each network has its own."""
    return settings.home / "payer" / settings.network


async def vault_balances(conn: Connection, address: str) -> dict[str, Balance]:
    """Return what the address holds by asset, as far as the worker has seen the ledger; `base` always among them.

    Needs a transaction with the worker's rights.
    """
    coins = CoinSet(frozenset({address}))
    async for known in wallet_units.stream(conn):
        lost = known.sequence is not wallet_units.Sequence.GOOD
        coins.apply(known.joint["unit"], is_stable=known.is_stable, mci=known.mci, sequence="bad" if lost else "good")
    return {asset: coins.balance(asset) for asset in dict.fromkeys((BASE, *coins.assets()))}


def read_passphrase(file: Path) -> str:
    """Return the passphrase in a file, without the line's end. Raises VaultError."""
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        raise VaultError(f"there is no passphrase file at {file}") from None
    if not text:
        raise VaultError(f"the passphrase file {file} is empty")
    return text


def make_passphrase(file: Path) -> None:
    """Write a random passphrase to a new file that only its owner may read. Raises OSError."""
    file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(secrets.token_urlsafe(_PASSPHRASE_BYTES) + "\n")
        output.flush()
        os.fsync(output.fileno())  # a wallet whose passphrase is lost is lost
