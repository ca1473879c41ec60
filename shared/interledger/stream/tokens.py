"""Addresses that carry their own connection, so that whoever has the server's secret can receive any packet.

    address         ours · "." · base64url(token) without padding
    token           sealed under HMAC(server secret, "ilp_stream_connection_token"):
                    flags UInt8 (1 tag, 2 receipts, 4 asset) · then what the flags name:
                    tag VarOctetString · nonce 16 bytes, secret 32 bytes · code VarOctetString, scale UInt8
    shared secret   HMAC(HMAC(server secret, "ilp_stream_shared_secret"), token)

The layout is that of @interledger/stream-receiver. An address has one spelling: what base64 decoders forgive (padding,
other alphabets, stray bits, more segments) would make two addresses of one connection, and is refused.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.interledger import oer
from shared.interledger.addresses import child_address, is_at
from shared.interledger.errors import DecodingError, SealError
from shared.interledger.stream.crypto import SECRET_BYTES, hmac_sha256, open_sealed, seal
from shared.interledger.stream.receipts import NONCE_BYTES, ReceiptSetup
from shared.interledger.stream.receipts import SECRET_BYTES as RECEIPT_SECRET_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_TAG_BYTES = 255
MAX_ASSET_CODE_BYTES = 255

_TAG = 1
_RECEIPTS = 2
_ASSET = 4


@dataclass(frozen=True, slots=True)
class Asset:
    """What amounts are in: 1 is 10^-scale of the asset."""

    code: str
    scale: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What an address carries. `tag` is ours to attribute the payment by, and nobody else can read it."""

    tag: str | None = None
    receipts: ReceiptSetup | None = None
    asset: Asset | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a payer needs: never give one address to two of them (STR-4)."""

    address: str
    shared_secret: bytes = field(repr=False)


class TokenKeys:
    """Makes addresses and reads them, under one secret of 32 bytes. It shows itself nowhere."""

    __slots__ = ("_secret_key", "_token_key")

    def __init__(self, server_secret: bytes) -> None:
        """Raise SealError `bad_secret` for a secret that is not 32 bytes long."""
        if len(server_secret) != SECRET_BYTES:
            raise SealError("bad_secret", "server secret", f"should be {SECRET_BYTES} bytes")
        self._token_key = hmac_sha256(server_secret, b"ilp_stream_connection_token")
        self._secret_key = hmac_sha256(server_secret, b"ilp_stream_shared_secret")

    def issue(self, ours: str, terms: Terms, random_bytes: Callable[[int], bytes]) -> Credentials:
        """Return a new address below `ours`. Raises EncodingError, also if the terms do not fit into an address."""
        token = seal(self._token_key, _terms_octets(terms), random_bytes)
        address = child_address(ours, base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii"))
        return Credentials(address, self._shared_secret(token))

    def read(self, ours: str, destination: str) -> tuple[Terms, bytes] | None:
        """Return terms and shared secret of an address, None for one that is not below `ours`.

        Raises SealError (`bad_token`, `too_short`, `not_opened`): nobody with this secret has issued it.
        """
        if not is_at(destination, ours) or destination == ours:
            return None
        token = _canonical_base64(destination[len(ours) + 1 :])
        try:
            terms = _read_terms(oer.Reader(open_sealed(self._token_key, token)))
        except (DecodingError, UnicodeDecodeError):
            raise SealError("bad_token", "connection token", "should hold terms of ours") from None
        return terms, self._shared_secret(token)

    def _shared_secret(self, token: bytes) -> bytes:
        return hmac_sha256(self._secret_key, token)


def _canonical_base64(text: str) -> bytes:
    try:
        octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        octets = b""
    if base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii") != text:
        raise SealError("bad_token", "connection token", "should be base64url in its one spelling")
    return octets


def _terms_octets(terms: Terms) -> bytes:
    named = ((_TAG, terms.tag), (_RECEIPTS, terms.receipts), (_ASSET, terms.asset))
    parts = [bytes((sum(flag for flag, value in named if value is not None),))]
    if terms.tag is not None:
        parts.append(oer.ascii_octets(terms.tag, "payment tag", MAX_TAG_BYTES))
    if terms.receipts is not None:
        parts.append(terms.receipts.nonce + terms.receipts.secret)
    if terms.asset is not None:
        parts += (
            oer.utf8_octets(terms.asset.code, "asset code", MAX_ASSET_CODE_BYTES),
            oer.uint8(terms.asset.scale, "asset scale"),
        )
    return b"".join(parts)


def _read_terms(reader: oer.Reader) -> Terms:
    flags = reader.uint8("flags")
    tag = reader.ascii("payment tag", MAX_TAG_BYTES) if flags & _TAG else None
    receipts = asset = None
    if flags & _RECEIPTS:
        nonce, secret = reader.octets(NONCE_BYTES, "nonce"), reader.octets(RECEIPT_SECRET_BYTES, "secret")
        receipts = ReceiptSetup(nonce, secret)
    if flags & _ASSET:
        asset = Asset(reader.var_octets("asset code", MAX_ASSET_CODE_BYTES).decode(), reader.uint8("asset scale"))
    return Terms(tag, receipts, asset)
