"""Units, the records of the ledger (Obyte, units): what other rooms need of them, in one place.

Hashes, sizes and fees are in `unit_hashes`, what one unit shows by itself in `unit_checks`; who signed it is here.
Codes of `UnitError` about signatures: `not_signed`, `stripped_unit`, `unknown_definition`, `wrong_definition`, those
of `DefinitionError`, and those of `SerializationError` about content without a hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.definitions import check_authentifiers
from shared.obyte.errors import DefinitionError, SerializationError, UnitError
from shared.obyte.unit_checks import HASH_CHARACTERS, MAX_AMOUNT, MAX_SECONDS_INTO_FUTURE, check_joint, check_unit
from shared.obyte.unit_hashes import (
    DEFAULT_THRESHOLD_SIZE,
    content_hash,
    headers_commission,
    message_payload_hash,
    objects_of,
    oversize_fee,
    payload_commission,
    payload_hash,
    strip_hub_fields,
    temporary_data_fee,
    unit_hash,
    unit_hash_to_sign,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

__all__ = [
    "DEFAULT_THRESHOLD_SIZE",
    "HASH_CHARACTERS",
    "MAX_AMOUNT",
    "MAX_SECONDS_INTO_FUTURE",
    "check_joint",
    "check_unit",
    "content_hash",
    "headers_commission",
    "message_payload_hash",
    "oversize_fee",
    "payload_commission",
    "payload_hash",
    "strip_hub_fields",
    "temporary_data_fee",
    "unit_hash",
    "unit_hash_to_sign",
    "verify_author_signatures",
]


def verify_author_signatures(
    unit: Mapping[str, JsonValue], definitions: Mapping[str, JsonValue], network: Network
) -> None:
    """Verify the signatures of every author of a unit that has passed `check_unit`.

    `definitions` are the definitions in force by address, as far as they are known. An author not among them must
    disclose a definition that hashes to the address; one that is known may only repeat it. Raises `UnitError`; an
    agent's unit, which nobody signs, is `not_signed`.
    """
    if "content_hash" in unit:
        raise UnitError("stripped_unit", "what the authors of a stripped unit signed is gone")
    try:
        digest = unit_hash_to_sign(unit, network)
        for author in objects_of(unit, "authors"):
            authentifiers = author.get("authentifiers")
            if not isinstance(authentifiers, dict) or not authentifiers:
                raise UnitError("not_signed", "an author has no authentifiers")
            check_authentifiers(_definition_of(author, definitions), authentifiers, digest)
    except (DefinitionError, SerializationError) as error:
        raise UnitError(error.code, error.text) from None


def _definition_of(author: Mapping[str, JsonValue], definitions: Mapping[str, JsonValue]) -> JsonValue:
    address = author.get("address")
    disclosed = author.get("definition")
    known = definitions.get(address) if isinstance(address, str) else None
    if known is None and disclosed is None:
        raise UnitError("unknown_definition", "the definition of an author is not known")
    expected_address = address if known is None else definition_address(known)
    if disclosed is not None and definition_address(disclosed) != expected_address:
        raise UnitError("wrong_definition", "the definition an author discloses is not the one in force")
    return disclosed if known is None else known
