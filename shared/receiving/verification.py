"""Is this a payment package that can never be worth less than it says? CPU only: no state, no clock.

The shape is the intersection of what the peer protocol signs and what the channels agent takes in a closing
(`is_valid_signed_package` in the agent's language). What the agent would refuse, although the reference peer takes it
(a `timestamp`, another network's or an old version, an authentifier too many), would be money that cannot be claimed.

    {version, signed_message: {payment_amount, amount_spent, period, aa_address, channel_parameters?},
     authors: [{address, definition: ["sig", {pubkey}], authentifiers: {r}}]}

Every member is bounded, and so a package that passes is never longer than `MAX_PACKAGE_CHARACTERS`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shared.channels.model import PackageTerms, is_amount
from shared.discreet import Discreet
from shared.obyte.addresses import PUBKEY_CHARACTERS, sig_address
from shared.obyte.chash import is_valid_address
from shared.obyte.hashing import digest_of, sha256
from shared.obyte.signatures import decode_signature, is_valid_pubkey, verify_decoded
from shared.receiving.channel_parameters import ChannelParameters, read_parameters
from shared.receiving.errors import ChannelRefused, PackageRefused

if TYPE_CHECKING:
    from shared.obyte.networks import Network

MAX_PACKAGE_CHARACTERS = 1200

_PACKAGE = frozenset({"version", "signed_message", "authors"})
_MESSAGE = frozenset({"payment_amount", "amount_spent", "period", "aa_address"})
_MESSAGE_OPTIONAL = frozenset({"channel_parameters"})
_AUTHOR = frozenset({"address", "definition", "authentifiers"})
_NOTHING: frozenset[str] = frozenset()
_LONGEST_NAME = 40
_SORTED = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, sort_keys=True)


class SignedPayment(Discreet, frozen=True):
    """A package whose signature holds. Whether it is money depends on the channel's state.

    `text` is the package as compact JSON with sorted keys: a bearer secret with agent 1.1, never shown.
    """

    shown = ("terms", "channel_parameters")

    terms: PackageTerms
    channel_parameters: ChannelParameters | None = None
    text: str = ""

    @property
    def payer_address(self) -> str:
        """Who signed."""
        return self.terms.signer


def verify_payment_package(package: object, network: Network) -> SignedPayment:
    """Check shape, address, definition and signature; the signature last, because it costs the most.

    `package` is decoded JSON. Raises PackageRefused, whose text names the member and the rule.
    """
    members = _members(package, "signed_package", _PACKAGE, _NOTHING)
    if members["version"] != network.version:
        raise PackageRefused("wrong_version", f"version should be {network.version!r}")
    message = _members(members["signed_message"], "signed_message", _MESSAGE, _MESSAGE_OPTIONAL)
    authors = members["authors"]
    if not isinstance(authors, list) or len(authors) != 1:
        raise PackageRefused("not_one_author", "authors should be an array of one author")
    author = _members(authors[0], "author", _AUTHOR, _NOTHING)
    said = {name: message[name] for name in _MESSAGE}
    terms = read_terms(**said, signer=author["address"])
    parameters = _parameters(message, terms.signer)
    pubkey, signature = _key_and_signature(author)
    if parameters is None:
        return prove(terms, pubkey, signature, network)
    decoded = _decoded(signature)
    _check_definition(terms, pubkey)
    unsigned = {**members, "authors": [{"address": terms.signer, "definition": author["definition"]}]}
    _check_signature(_digest(unsigned, parameters), decoded, pubkey)
    return SignedPayment(terms, parameters, _SORTED.encode(members))


def prove(terms: PackageTerms, pubkey: str, signature: object, network: Network) -> SignedPayment:
    """Check that the terms' signer has signed them, in a package without parameters. Raises PackageRefused.

    Nothing in such a package needs to be escaped, so both of its texts with sorted keys, the one that was signed and
    the one that is kept, are written at once.
    """
    _check_pubkey(pubkey)
    decoded = _decoded(signature)
    _check_definition(terms, pubkey)
    head = f'{{"authors":[{{"address":"{terms.signer}",'
    tail = (
        f'"definition":["sig",{{"pubkey":"{pubkey}"}}]}}],'
        f'"signed_message":{{"aa_address":"{terms.aa_address}","amount_spent":{terms.amount_spent},'
        f'"payment_amount":{terms.payment_amount},"period":{terms.period}}},"version":"{network.version}"}}'
    )
    _check_signature(sha256(f"{head}{tail}".encode()), decoded, pubkey)
    return SignedPayment(terms, None, f'{head}"authentifiers":{{"r":"{signature}"}},{tail}')


def _members(value: object, where: str, required: frozenset[str], optional: frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PackageRefused("not_an_object", f"{where} should be an object")
    if value.keys() == required:
        return value
    for name in value:
        if name not in required and name not in optional:
            raise PackageRefused("unknown_field", f"{where} has an unknown field {name[:_LONGEST_NAME]!r}")
    for name in sorted(required):
        if name not in value:
            raise PackageRefused("missing_field", f"{where} has no field {name}")
    return value


def read_terms(
    *, aa_address: object, period: object, payment_amount: object, amount_spent: object, signer: object
) -> PackageTerms:
    """Check what a package says, each member by itself. Raises PackageRefused."""
    if not is_amount(payment_amount):
        raise PackageRefused("invalid_amount", "payment_amount should be a positive integer")
    if not is_amount(amount_spent):
        raise PackageRefused("invalid_amount", "amount_spent should be a positive integer")
    if not is_amount(period):
        raise PackageRefused("invalid_period", "period should be a positive integer")
    if not is_valid_address(aa_address):
        raise PackageRefused("invalid_aa_address", "Invalid aa address")
    if not is_valid_address(signer):
        raise PackageRefused("invalid_address", "author's address is not a valid address")
    return PackageTerms(aa_address, period, payment_amount, amount_spent, signer)


def _parameters(message: dict[str, Any], signer: str) -> ChannelParameters | None:
    if "channel_parameters" not in message:
        return None
    try:
        parameters = read_parameters(message["channel_parameters"])
    except ChannelRefused as refusal:
        raise PackageRefused(refusal.code, refusal.text) from None
    if parameters.address != signer:
        raise PackageRefused(
            "wrong_channel_parameters", "address in channel_parameters mismatches with signing address"
        )
    return parameters


def _key_and_signature(author: dict[str, Any]) -> tuple[str, object]:
    """Return what the one key and its one signature are; several keys, or none, cannot be a payer's."""
    match author["definition"]:
        case ["sig", {"pubkey": str(pubkey), **more}] if not more:
            _check_pubkey(pubkey)
        case _:
            raise PackageRefused("unsupported_definition", 'definition should be ["sig", {"pubkey": …}] and no more')
    match author["authentifiers"]:
        case {"r": signature, **more} if not more:
            return pubkey, signature
        case _:
            raise PackageRefused("invalid_authentifiers", "authentifiers should have the one signature r")


def _check_pubkey(pubkey: str) -> None:
    if len(pubkey) != PUBKEY_CHARACTERS or not is_valid_pubkey(pubkey):
        raise PackageRefused("invalid_pubkey", "pubkey should be a compressed key, 33 bytes in canonical base64")


def _decoded(signature: object) -> bytes:
    decoded = decode_signature(signature)
    if decoded is None:
        raise PackageRefused("invalid_signature", "signature r should be 64 bytes in canonical base64")
    return decoded


def _check_definition(terms: PackageTerms, pubkey: str) -> None:
    if sig_address(pubkey) != terms.signer:
        raise PackageRefused("wrong_definition", "definition is not the one of the author's address")


def _check_signature(digest: bytes, signature: bytes, pubkey: str) -> None:
    if not verify_decoded(digest, signature, pubkey):
        raise PackageRefused("bad_signature", "bad signature at path r")


def _digest(unsigned: dict[str, Any], parameters: ChannelParameters | None) -> bytes:
    """Hash what was signed, as JSON with sorted keys (Obyte, signed messages of versions after 1.0)."""
    if parameters is None or parameters.salt is None or _is_plain(parameters.salt):
        # With nothing to escape the standard encoder writes the very text the protocol defines, several times faster.
        return sha256(_SORTED.encode(unsigned).encode())
    return digest_of(unsigned)


def _is_plain(salt: str) -> bool:
    return salt.isascii() and salt.isalnum()
