"""Opening the wallet: the only place where the seed is ever read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.errors import ObyteError
from shared.obyte.keys import KeyPair, payment_key
from shared.obyte.keystore import open_keystore
from worker.errors import ConfigurationError

if TYPE_CHECKING:
    from shared.settings import Settings


def open_wallet_key(settings: Settings) -> KeyPair:
    """Return the key of the receiver's address. Raises ConfigurationError `wallet_unreadable`."""
    try:
        passphrase = settings.wallet_passphrase_file.read_text().strip()
        return payment_key(open_keystore(settings.wallet_file, passphrase))
    except (ObyteError, OSError, UnicodeDecodeError) as error:
        raise ConfigurationError("wallet_unreadable", f"the wallet cannot be opened: {error}") from error
