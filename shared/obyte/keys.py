"""From a seed phrase to the keys of a wallet and of a device (BIP39, BIP44; Obyte, headless wallet).

The coin type is 0 on every network. A channel wallet uses a single address, `m/44'/0'/0'/0/0`, for everything.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from mnemonic import Mnemonic

from shared.obyte.addresses import definition_address, device_address, sig_definition
from shared.obyte.derivation import HARDENED, ExtendedKey
from shared.obyte.errors import KeyDerivationError
from shared.obyte.hashing import sha256
from shared.obyte.signatures import parse_private_key, sign_with

if TYPE_CHECKING:
    from coincurve import PrivateKey

    from shared.obyte.serialization import JsonValue

_PURPOSE = 44
_COIN_TYPE = 0
_DEVICE_CHILD = 1
_ENTROPY_BYTES = 16
_PHRASE_LENGTHS = (12, 15, 18, 21, 24)


@dataclass(frozen=True)
class KeyPair:
    """A private key of 32 bytes and what follows from it. Raises `SignatureError` for an impossible key."""

    private_key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        self._parsed  # noqa: B018 (an impossible key is refused at once, not at the first signature)

    @cached_property
    def pubkey_b64(self) -> str:
        """The compressed public key, 44 characters of base64."""
        return base64.b64encode(self._parsed.public_key.format()).decode()

    @property
    def definition(self) -> list[JsonValue]:
        """The definition of a wallet with this one key."""
        return sig_definition(self.pubkey_b64)

    @cached_property
    def address(self) -> str:
        """The payment address of that wallet."""
        return definition_address(self.definition)

    @property
    def device_address(self) -> str:
        """The address of a device that has this as its permanent key."""
        return device_address(self.pubkey_b64)

    def sign(self, digest: bytes) -> str:
        """Sign a 32-byte digest; 88 characters of base64. Raises `SignatureError` for another length."""
        return sign_with(self._parsed, digest)

    @cached_property
    def _parsed(self) -> PrivateKey:
        return parse_private_key(self.private_key)


def generate_mnemonic(entropy: bytes | None = None) -> str:
    """Return an English seed phrase for 16 to 32 bytes of entropy; 12 fresh words when none is given.

    Raises `KeyDerivationError` (`invalid_entropy`).
    """
    try:
        return _english().to_mnemonic(secrets.token_bytes(_ENTROPY_BYTES) if entropy is None else entropy)
    except ValueError:
        raise KeyDerivationError("invalid_entropy", "entropy must be 16, 20, 24, 28 or 32 bytes") from None


def mnemonic_seed(mnemonic: str, passphrase: str = "") -> bytes:
    """Return the 64-byte seed of an English seed phrase.

    Raises `KeyDerivationError` (`invalid_mnemonic`), which tells wrong words by their position and never quotes one.
    """
    words = mnemonic.split()
    phrase = " ".join(words)
    if not _english().check(phrase):
        raise KeyDerivationError("invalid_mnemonic", _fault_of(words))
    return Mnemonic.to_seed(phrase, passphrase)


def _fault_of(words: list[str]) -> str:
    known = frozenset(_english().wordlist)
    unknown = [str(position) for position, word in enumerate(words, 1) if word not in known]
    if len(words) not in _PHRASE_LENGTHS:
        lengths = ", ".join(map(str, _PHRASE_LENGTHS))
        return f"a seed phrase has {lengths} words, this one has {len(words)}"
    if unknown:
        which = f"word {unknown[0]} is" if len(unknown) == 1 else f"words {', '.join(unknown)} are"
        return f"{which} not in the English list of seed words, which are in lower case"
    return "the checksum is wrong: a word was mistaken for another one, or the words are out of order"


def payment_key(
    mnemonic: str,
    passphrase: str = "",
    *,
    account: int = 0,
    is_change: int = 0,
    index: int = 0,
    strict_bip32: bool = False,
) -> KeyPair:
    """Return the key at `m/44'/0'/account'/is_change/index`; the defaults are the single address of a channel wallet.

    `strict_bip32` derives hardened keys by the standard instead of as existing Obyte wallets do: see `derivation`.
    Raises `KeyDerivationError`.
    """
    account_key = _account_key(mnemonic, passphrase, account, strict_bip32=strict_bip32)
    return KeyPair(account_key.descendant(is_change, index).private_key)


def device_key(mnemonic: str, passphrase: str = "", *, strict_bip32: bool = False) -> KeyPair:
    """Return the permanent device key, `m/1'`. Raises `KeyDerivationError`."""
    master = ExtendedKey.from_seed(mnemonic_seed(mnemonic, passphrase), strict_bip32=strict_bip32)
    return KeyPair(master.child(HARDENED + _DEVICE_CHILD).private_key)


def wallet_id(mnemonic: str, passphrase: str = "", *, account: int = 0, strict_bip32: bool = False) -> str:
    """Return the identifier other wallets show for an account: base64 of its xpub's SHA-256.

    Raises `KeyDerivationError`.
    """
    xpub = _account_key(mnemonic, passphrase, account, strict_bip32=strict_bip32).xpub()
    return base64.b64encode(sha256(xpub.encode())).decode()


def _account_key(mnemonic: str, passphrase: str, account: int, *, strict_bip32: bool) -> ExtendedKey:
    master = ExtendedKey.from_seed(mnemonic_seed(mnemonic, passphrase), strict_bip32=strict_bip32)
    return master.descendant(HARDENED + _PURPOSE, HARDENED + _COIN_TYPE, HARDENED + account)


@cache
def _english() -> Mnemonic:
    return Mnemonic("english")
