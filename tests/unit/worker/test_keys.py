from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.obyte.keys import device_key, payment_key
from shared.obyte.keystore import create_keystore
from shared.settings import Settings
from worker.errors import ConfigurationError
from worker.keys import open_wallet_keys

if TYPE_CHECKING:
    from pathlib import Path

PHRASE = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


def test_the_seed_gives_both_keys_and_is_not_kept(home: Path) -> None:
    settings = Settings(home=home)
    create_keystore(settings.wallet_file, PHRASE, "secret")
    settings.wallet_passphrase_file.write_text("secret\n")
    keys = open_wallet_keys(settings)
    assert (keys.payment, keys.device) == (payment_key(PHRASE), device_key(PHRASE))
    assert keys.payment.private_key.hex() not in repr(keys)
    assert "abandon" not in repr(keys)


def test_a_wallet_that_cannot_be_opened_is_a_fault_of_the_set_up(home: Path) -> None:
    with pytest.raises(ConfigurationError) as unreadable:
        open_wallet_keys(Settings(home=home))
    assert unreadable.value.code == "wallet_unreadable"
