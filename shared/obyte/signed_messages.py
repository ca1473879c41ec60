"""Signed messages, also called signed packages (Obyte, signed messages; ocore `signed_message.js`).

A package is a JSON object::

    {"version": "4.0", "signed_message": <any JSON>, "authors": [
        {"address": A, "definition": [...], "authentifiers": {"r": "<signature>"}}]}

Payment channels use packages of one author that carry their definition. The verifier here takes everything the
network takes: several authors, multisignature definitions, and packages bound to a `last_ball_unit`.

Codes of `SignedMessageError`: `not_an_object`, `unknown_fields`, `no_signed_message`, `unsupported_version`,
`invalid_authors`, `too_many_authors`, `several_authors`, `unsorted_authors`, `invalid_author`, `invalid_address`,
`agent_definition`, `wrong_definition`, `invalid_authentifiers`, `wrong_signer`, `invalid_last_ball_unit`,
`network_aware`, `definition_expected`, `definition_not_expected`; those of `DefinitionError` about the definition and
its signatures; and those of `SerializationError` for content that has no hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from shared.obyte.addresses import definition_address, is_agent_definition
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.definitions import check_authentifiers
from shared.obyte.errors import DefinitionError, SerializationError, SignedMessageError
from shared.obyte.hashing import digest_of
from shared.obyte.serialization import JsonValue

if TYPE_CHECKING:
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network

MAX_AUTHORS = 16
MAX_AUTHENTIFIER_CHARACTERS = 4096

DefinitionLookup: TypeAlias = Callable[[str, str], JsonValue]
"""For an address and a `last_ball_unit`: the definition disclosed up to that stable unit, None if none was.

Raises `SignedMessageError` when the unit is not known to be stable.
"""

_HASH_CHARACTERS = 44
_PAIR = 2
_PACKAGE_FIELDS = frozenset({"signed_message", "authors", "last_ball_unit", "timestamp", "version"})
_AUTHOR_FIELDS = frozenset({"address", "definition", "authentifiers"})


@dataclass(frozen=True, slots=True)
class VerifiedMessage:
    """What a package says and who said it: `signer` is the expected signer, or the only author."""

    signer: str
    authors: tuple[str, ...]
    payload: JsonValue = field(repr=False)
    last_ball_unit: str | None = None


@dataclass(frozen=True, slots=True)
class _Author:
    address: str
    definition: JsonValue
    authentifiers: dict[str, JsonValue] = field(repr=False)


def sign_message(payload: JsonValue, key: KeyPair, network: Network) -> dict[str, JsonValue]:
    """Sign any JSON but null with a single-key address; the package carries its definition.

    Raises `SerializationError` when the payload has no hash.
    """
    package: dict[str, JsonValue] = {
        "version": network.version,
        "signed_message": payload,
        "authors": [{"address": key.address, "definition": key.definition}],
    }
    signature = key.sign(hash_to_sign(package, network))
    package["authors"] = [{"address": key.address, "authentifiers": {"r": signature}, "definition": key.definition}]
    return package


def hash_to_sign(package: JsonValue, network: Network) -> bytes:
    """Return the digest the authors sign: the whole package but their authentifiers.

    Raises `SignedMessageError` for what is no package at all, `SerializationError` for what has no hash.
    """
    if not isinstance(package, dict):
        raise SignedMessageError("not_an_object", "a signed package must be an object")
    unsigned_authors = [
        {name: value for name, value in author.items() if name != "authentifiers"}
        for author in _author_objects(package)
    ]
    return digest_of({**package, "authors": unsigned_authors}, typed=_is_typed(package, network))


def verify_signed_message(
    package: JsonValue,
    network: Network,
    *,
    expected_signer: str | None = None,
    find_definition: DefinitionLookup | None = None,
) -> VerifiedMessage:
    """Verify every signature of a package and return what it says.

    Several authors are allowed only when an `expected_signer` is among them. A network aware package, one with a
    `last_ball_unit`, needs `find_definition`. Raises `SignedMessageError`.
    """
    try:
        return _verify(package, network, expected_signer, find_definition)
    except (DefinitionError, SerializationError) as error:
        raise SignedMessageError(error.code, error.text) from None


def _verify(
    package: JsonValue, network: Network, expected_signer: str | None, find_definition: DefinitionLookup | None
) -> VerifiedMessage:
    fields = _check_fields(package, network)
    authors = _read_authors(fields, several_allowed=expected_signer is not None)
    addresses = tuple(author.address for author in authors)
    signer = addresses[0] if expected_signer is None else expected_signer
    if signer not in addresses:
        raise SignedMessageError("wrong_signer", "the package is not signed by the expected address")
    digest = hash_to_sign(fields, network)
    last_ball_unit = _read_last_ball_unit(fields)
    for author in authors:
        definition = _definition_in_force(author, last_ball_unit, find_definition)
        check_authentifiers(definition, author.authentifiers, digest)
    return VerifiedMessage(signer, addresses, fields["signed_message"], last_ball_unit)


def _check_fields(package: JsonValue, network: Network) -> dict[str, JsonValue]:
    if not isinstance(package, dict) or not package:
        raise SignedMessageError("not_an_object", "a signed package must be a non-empty object")
    if not package.keys() <= _PACKAGE_FIELDS:
        raise SignedMessageError("unknown_fields", "the package has fields that no package has")
    if "signed_message" not in package:
        raise SignedMessageError("no_signed_message", "the package has no signed_message")
    if "version" in package:
        version = package["version"]
        if not isinstance(version, str) or version not in network.versions:
            raise SignedMessageError("unsupported_version", f"version is not one of the {network.name} network")
    return package


def _read_authors(package: dict[str, JsonValue], *, several_allowed: bool) -> list[_Author]:
    objects = _author_objects(package)
    if len(objects) > MAX_AUTHORS:
        raise SignedMessageError("too_many_authors", f"a package has at most {MAX_AUTHORS} authors")
    if len(objects) > 1 and not several_allowed:
        raise SignedMessageError("several_authors", "the package must have exactly one author")
    authors: list[_Author] = []
    for fields in objects:
        author = _read_author(fields)
        if authors and author.address <= authors[-1].address:
            raise SignedMessageError("unsorted_authors", "authors must be sorted by address, each named once")
        authors.append(author)
    return authors


def _author_objects(package: dict[str, JsonValue]) -> list[dict[str, JsonValue]]:
    authors = package.get("authors")
    if not isinstance(authors, list) or not authors:
        raise SignedMessageError("invalid_authors", "authors must be a non-empty array")
    if not all(isinstance(author, dict) for author in authors):
        raise SignedMessageError("invalid_author", "every author must be an object")
    return authors


def _read_author(fields: dict[str, JsonValue]) -> _Author:
    address = fields.get("address")
    if not isinstance(address, str) or not is_valid_address(address):
        raise SignedMessageError("invalid_address", "the address of an author is not valid")
    if not fields.keys() <= _AUTHOR_FIELDS:
        raise SignedMessageError("invalid_author", "an author has fields that no author has")
    definition = fields.get("definition")
    if "definition" in fields:
        _check_definition(definition, address)
    authentifiers = fields.get("authentifiers")
    if not isinstance(authentifiers, dict) or not authentifiers:
        raise SignedMessageError("invalid_authentifiers", "authentifiers must be a non-empty object")
    for authentifier in authentifiers.values():
        if not isinstance(authentifier, str) or not 0 < len(authentifier) <= MAX_AUTHENTIFIER_CHARACTERS:
            raise SignedMessageError(
                "invalid_authentifiers",
                f"an authentifier must be a string of 1 to {MAX_AUTHENTIFIER_CHARACTERS} characters",
            )
    return _Author(address, definition, authentifiers)


def _check_definition(definition: JsonValue, address: str) -> None:
    if not isinstance(definition, list) or len(definition) != _PAIR:
        raise SignedMessageError("invalid_definition", "a definition must be an array of two elements")
    if is_agent_definition(definition):
        raise SignedMessageError("agent_definition", "an autonomous agent cannot sign")
    if definition_address(definition) != address:
        raise SignedMessageError("wrong_definition", "the definition is not the one of the author's address")


def _read_last_ball_unit(package: dict[str, JsonValue]) -> str | None:
    if "last_ball_unit" not in package:
        return None
    unit = package["last_ball_unit"]
    if not isinstance(unit, str) or not is_valid_base64(unit, _HASH_CHARACTERS):
        raise SignedMessageError("invalid_last_ball_unit", "last_ball_unit must be the hash of a unit")
    return unit


def _definition_in_force(
    author: _Author, last_ball_unit: str | None, find_definition: DefinitionLookup | None
) -> JsonValue:
    if last_ball_unit is None:
        if author.definition is None:
            raise SignedMessageError("definition_expected", "an author must disclose the definition of the address")
        return author.definition
    if find_definition is None:
        raise SignedMessageError("network_aware", "a package with last_ball_unit cannot be verified without the ledger")
    disclosed = find_definition(author.address, last_ball_unit)
    if disclosed is None and author.definition is None:
        raise SignedMessageError("definition_expected", "the address had not disclosed its definition at that unit")
    if disclosed is not None and author.definition is not None:
        raise SignedMessageError("definition_not_expected", "the address had disclosed its definition at that unit")
    return author.definition if disclosed is None else disclosed


def _is_typed(package: dict[str, JsonValue], network: Network) -> bool:
    return "version" not in package or package["version"] == network.version_without_timestamp
