"""Opening the wallet: the only place where the seed is ever read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.obyte.errors import ObyteError
from shared.obyte.keys import KeyPair, device_key, payment_key
from shared.obyte.keystore import open_keystore
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class WalletKeys:
    """What of the seed is used: the words themselves are forgotten."""

    payment: KeyPair
    """Of the receiver's address."""
    device: KeyPair
    """Of the receiver as a device that exchanges messages."""


def open_wallet_keys(settings: Settings) -> WalletKeys:
    """Return the keys of the receiver's wallet. Raises ConfigurationError `wallet_unreadable`."""
    try:
        passphrase = settings.wallet_passphrase_file.read_text().strip()
        mnemonic = open_keystore(settings.wallet_file, passphrase)
        return WalletKeys(payment_key(mnemonic), device_key(mnemonic))
    except (ObyteError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("wallet_unreadable", f"the wallet cannot be opened: {error}") from error
