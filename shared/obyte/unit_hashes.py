"""Hashes, sizes and fees of units (Obyte, ocore `object_hash.js` and `object_length.js`). Imported through `units`.

A unit is hashed in two layers: its content without payloads and commissions, and then a small stripped unit that
holds the content's hash. A unit that lost to a conflicting one is stored stripped, and still has the same hash.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING

from shared.obyte.errors import UnitError
from shared.obyte.hashing import base64_hash, digest_of, length_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

DEFAULT_THRESHOLD_SIZE = 10_000

_HUB_FIELDS = frozenset({"actual_tps_fee", "main_chain_index"})
_UNSIGNED_FIELDS = _HUB_FIELDS | {"unit", "headers_commission", "payload_commission", "oversize_fee"}
_PAYLOAD_FIELDS = frozenset({"payload", "payload_uri"})
_TWO_PARENTS_SIZE = 2 * 44  # charged whatever the real number, so that a fee never depends on the parents found
_TEMP_DATA_KEY_SIZE = len("data")
_EXP_CONTEXT = Context(prec=15, rounding=ROUND_HALF_EVEN, traps=[])  # overflow is infinity, not an exception


def strip_hub_fields(unit: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the unit without what only a hub adds: `main_chain_index` and `actual_tps_fee`, which no hash covers."""
    return _without(unit, _HUB_FIELDS)


def payload_hash(payload: JsonValue, *, typed: bool = False) -> str:
    """Return the hash of a message's payload; `typed` for units of version 1. Raises `SerializationError`."""
    return base64_hash(payload, typed=typed)


def message_payload_hash(message: Mapping[str, JsonValue], *, typed: bool = False) -> str:
    """Return the payload hash of a whole message: the `data` of temporary data is not covered.

    Raises `UnitError` for a message without payload, and `SerializationError`.
    """
    payload = _field(message, "payload")
    if message.get("app") == "temp_data" and isinstance(payload, dict):
        payload = _without(payload, {"data"})
    return payload_hash(payload, typed=typed)


def content_hash(unit: Mapping[str, JsonValue], network: Network) -> str:
    """Return the hash of all that is signed and the signatures. Raises `UnitError`, `SerializationError`."""
    return base64_hash(_naked(unit, network), typed=network.hashes_typed(unit.get("version")))


def unit_hash(unit: Mapping[str, JsonValue], network: Network) -> str:
    """Return the hash by which a unit is known, of a full unit or of one stripped down to its `content_hash`.

    Raises `UnitError` when a part is missing, `SerializationError`.
    """
    if "content_hash" in unit:
        return content_hash(unit, network)
    typed = network.hashes_typed(unit.get("version"))
    stripped: dict[str, JsonValue] = {
        "content_hash": content_hash(unit, network),
        "version": _field(unit, "version"),
        "alt": _field(unit, "alt"),
        "authors": [{"address": _field(author, "address")} for author in objects_of(unit, "authors")],
    }
    witness_fields = [name for name in ("witness_list_unit", "witnesses") if name in unit][:1]
    parent_fields = ["parent_units", "last_ball", "last_ball_unit"] if "parent_units" in unit else []
    time_fields = [] if typed else ["timestamp"]
    stripped |= {name: _field(unit, name) for name in witness_fields + parent_fields + time_fields}
    return base64_hash(stripped, typed=typed)


def unit_hash_to_sign(unit: Mapping[str, JsonValue], network: Network) -> bytes:
    """Return the 32-byte digest every author signs. Raises `UnitError`, `SerializationError`."""
    naked = _naked(unit, network)
    naked["authors"] = [_without(author, {"authentifiers"}) for author in objects_of(unit, "authors")]
    version = unit.get("version")
    return digest_of(naked, typed=version is None or network.hashes_typed(version))


def headers_commission(unit: Mapping[str, JsonValue], network: Network) -> int:
    """Return the fee in bytes for everything but the messages; two parents are charged whatever their number.

    Signatures count with their 88 characters, so a unit is charged the same before and after signing if a placeholder
    of that length stands in. Raises `UnitError` for a stripped unit, `SerializationError`.
    """
    _refuse_stripped(unit)
    with_keys = network.counts_keys(unit.get("version"))
    uncharged = _UNSIGNED_FIELDS | {"messages", "parent_units"}
    if network.hashes_typed(unit.get("version")):
        uncharged |= {"timestamp"}
    parents = _TWO_PARENTS_SIZE + (len("parent_units") if with_keys else 0)
    return length_of(_without(unit, uncharged), with_keys=with_keys) + parents


def payload_commission(unit: Mapping[str, JsonValue], network: Network) -> int:
    """Return the fee in bytes for the messages; temporary data costs half. Raises `UnitError`, `SerializationError`."""
    _refuse_stripped(unit)
    messages = objects_of(unit, "messages")
    charged = [_without_temporary_data(message) for message in messages]
    size = length_of({"messages": charged}, with_keys=network.counts_keys(unit.get("version")))
    return size + temporary_data_fee(messages)


def temporary_data_fee(messages: list[dict[str, JsonValue]]) -> int:
    """Return the part of the payload commission that is for temporary data; it does not make a unit oversized."""
    return math.ceil(sum(_temporary_data_length(message) for message in messages) / 2)


def oversize_fee(size: int, threshold: int = DEFAULT_THRESHOLD_SIZE) -> int:
    """Return the extra fee of a unit whose commissions add up to `size` bytes; 0 (and no field) up to the threshold.

    The exponential is that of a decimal library with 15 significant digits, read back as a double: a plain
    floating-point exp() differs now and then by a byte. Raises `UnitError` (`invalid_threshold`, `unit_too_large`).
    """
    if threshold < 1:
        raise UnitError("invalid_threshold", "threshold_size must be a positive number of bytes")
    if size <= threshold:
        return 0
    growth = float(_EXP_CONTEXT.exp(Decimal(repr(size / threshold - 1))))
    fee = size * (growth - 1)
    if math.isinf(fee):
        raise UnitError("unit_too_large", "the oversize fee is beyond all money")
    return math.ceil(fee)


def objects_of(unit: Mapping[str, JsonValue], field: str) -> list[dict[str, JsonValue]]:
    """Return a field that must be an array of objects. Raises `UnitError` (`invalid_<field>`)."""
    elements = unit.get(field)
    if not isinstance(elements, list) or not all(isinstance(element, dict) for element in elements):
        raise UnitError(f"invalid_{field}", f"{field} must be an array of objects")
    return elements


def _naked(unit: Mapping[str, JsonValue], network: Network) -> dict[str, JsonValue]:
    unsigned = _UNSIGNED_FIELDS
    if network.hashes_typed(unit.get("version")):
        unsigned |= {"timestamp"}
    naked = _without(unit, unsigned)
    if "messages" in naked:
        naked["messages"] = [_without(message, _PAYLOAD_FIELDS) for message in objects_of(unit, "messages")]
    return naked


def _without(fields: Mapping[str, JsonValue], names: frozenset[str] | set[str]) -> dict[str, JsonValue]:
    return {name: value for name, value in fields.items() if name not in names}


def _field(fields: Mapping[str, JsonValue], name: str) -> JsonValue:
    if name not in fields:
        raise UnitError("missing_field", f"{name} is missing")
    return fields[name]


def _refuse_stripped(unit: Mapping[str, JsonValue]) -> None:
    if "content_hash" in unit:
        raise UnitError("stripped_unit", "a unit stripped to its content_hash has no size")


def _without_temporary_data(message: dict[str, JsonValue]) -> dict[str, JsonValue]:
    payload = message.get("payload")
    if _temporary_data_length(message) == 0 or not isinstance(payload, dict) or not payload.get("data"):
        return message
    return message | {"payload": _without(payload, {"data"})}


def _temporary_data_length(message: dict[str, JsonValue]) -> int:
    payload = message.get("payload")
    if message.get("app") != "temp_data" or not isinstance(payload, dict):
        return 0
    length = payload.get("data_length")
    if not isinstance(length, int) or isinstance(length, bool):
        return 0
    return length + _TEMP_DATA_KEY_SIZE
