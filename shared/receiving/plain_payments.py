"""The request that comes a thousand times as often as any other, read in one pass: `pay` with a plain package.

A plain package has no channel parameters, so its members and their types are fixed, and a decoder that knows them
reads it several times faster than `shared.strict_json`. It may read only what the strict way takes, in the same
meaning; whatever is unusual is left to that way, which also knows what to say about it. Where the fast decoder is the
less strict one:

- It keeps the last of duplicate keys. But in JSON without backslashes every quotation mark begins or ends a string,
  and a key that comes twice brings two more of them than the members need. They are counted.
- It reads `1.0` where an integer is due. As "an integer or a float" it tells them apart, and `is_amount` wants the
  first.
- It skips over the message, which may be any JSON. That is decoded by itself, the strict way.

A property test holds both ways together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from shared.discreet import Discreet
from shared.receiving.errors import PackageRefused
from shared.receiving.verification import read_terms
from shared.strict_json import MAX_DEPTH, MAX_SAFE_INTEGER, JsonValue, StrictJsonError, decode

if TYPE_CHECKING:
    from shared.channels.model import PackageTerms
    from shared.obyte.networks import Network


class _Key(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    pubkey: str


class _Authentifiers(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    r: str


class _Author(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    address: str
    authentifiers: _Authentifiers
    definition: tuple[Literal["sig"], _Key]


class _Terms(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    payment_amount: int | float
    amount_spent: int | float
    period: int | float
    aa_address: str


class _Package(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    version: str
    signed_message: _Terms
    authors: tuple[_Author]


class _Params(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    signed_package: _Package
    message: Raw | UnsetType = UNSET


class _Request(Discreet, frozen=True, forbid_unknown_fields=True, gc=False):
    command: Literal["pay"]
    params: _Params
    tag: str | UnsetType = UNSET
    timestamp: int | float | UnsetType = UNSET
    url: str | UnsetType | None = UNSET


_DECODER = msgspec.json.Decoder(_Request)
_MESSAGE_DEPTH = MAX_DEPTH - 2
"""How deep a message may be nested: it is inside of `params`, inside of the request."""
_LEAST = (
    b'{"command":"pay","params":{"signed_package":{"authors":[{"address":"","authentifiers":{"r":""},'
    b'"definition":["sig",{"pubkey":""}]}],"signed_message":{"aa_address":"","amount_spent":1,"payment_amount":1,'
    b'"period":1},"version":""}}}'
)
_QUOTES = _LEAST.count(b'"')
_KEY = _TEXT = 2
"""Quotation marks."""


class PlainPayment(Discreet, frozen=True):
    """What such a request says. Its terms are well-formed; who has signed them was not looked at yet."""

    shown = ("terms",)

    terms: PackageTerms
    pubkey: str
    signature: str
    message: JsonValue
    timestamp_ms: int | None


def read_plain_payment(raw: bytes, network: Network) -> PlainPayment | None:
    """Read a request's body. None: it is no such request, or not one that may be read this way."""
    try:
        request = _DECODER.decode(raw)
        message = request.params.message
        skipped = b"" if message is UNSET else bytes(message)
        said = None if message is UNSET else decode(skipped, max_depth=_MESSAGE_DEPTH)
        terms = _terms(request.params.signed_package, network)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, StrictJsonError, PackageRefused):
        return None
    if terms is None or not _has_no_other_strings(raw, skipped, request):
        return None
    timestamp = request.timestamp
    if timestamp is UNSET:
        timestamp_ms = None
    elif type(timestamp) is int and abs(timestamp) <= MAX_SAFE_INTEGER:
        timestamp_ms = timestamp
    else:
        return None
    author = request.params.signed_package.authors[0]
    return PlainPayment(terms, author.definition[1].pubkey, author.authentifiers.r, said, timestamp_ms)


def _terms(package: _Package, network: Network) -> PackageTerms | None:
    if package.version != network.version:
        return None
    said = package.signed_message
    return read_terms(
        aa_address=said.aa_address,
        period=said.period,
        payment_amount=said.payment_amount,
        amount_spent=said.amount_spent,
        signer=package.authors[0].address,
    )


def _has_no_other_strings(raw: bytes, skipped: bytes, request: _Request) -> bool:
    """Whether the body has as many strings as the members need that were found: then no key came twice."""
    if raw.count(b"\\") != skipped.count(b"\\"):
        return False
    quotes = _QUOTES + skipped.count(b'"')
    if request.params.message is not UNSET:
        quotes += _KEY
    if request.tag is not UNSET:
        quotes += _KEY + _TEXT
    if request.timestamp is not UNSET:
        quotes += _KEY
    if request.url is not UNSET:
        quotes += _KEY if request.url is None else _KEY + _TEXT
    return raw.count(b'"') == quotes
