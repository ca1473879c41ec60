"""What can be checked of one unit alone. Imported through `units`.

The checks are those a light client can make without the rest of the ledger (ocore `validation.js`), with the rules
about amounts, inputs and authors that full nodes hold too. They say that a unit is what it claims to be; whether it
is stable or in conflict with another one only a proof tells.

Codes of `UnitError`: `not_an_object`, `too_deep`, `too_many_nodes`, `malformed_string`, `unknown_fields`,
`missing_field`, `invalid_<field>`, `wrong_unit_hash`, `wrong_payload_hash`, `wrong_version`, `wrong_alt`,
`timestamp_in_future`, `invalid_message`, `invalid_payment`, `unsorted_authors`, `wrong_headers_commission`,
`wrong_payload_commission`, `unit_too_large`, `stripped_unit`, `ambiguous_witnesses`, and those of
`SerializationError` about content without a hash.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.errors import SerializationError, UnitError
from shared.obyte.unit_hashes import (
    headers_commission,
    message_payload_hash,
    objects_of,
    payload_commission,
    strip_hub_fields,
    unit_hash,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

MAX_AMOUNT = 9 * 10**15
MAX_SECONDS_INTO_FUTURE = 5
HASH_CHARACTERS = 44

_MAX_DEPTH = 100
_MAX_NODES = 10_000
_MAX_UNIT_SIZE = 5_000_000
_MAX_AUTHORS = 16
_MAX_PARENTS = 16
_MAX_MESSAGES = 128
_MAX_INPUTS = 128
_MAX_OUTPUTS = 128
_MAX_AUTHENTIFIER_CHARACTERS = 4096
_MAX_AGENT_RESPONSES = 10

_MALFORMED = re.compile("[\0\ud800-\udfff]")
_JOINT_FIELDS = frozenset({"unit", "ball", "skiplist_units"})
_STRIPPED_FIELDS = frozenset(
    {"unit", "version", "alt", "timestamp", "authors", "witness_list_unit", "witnesses"}
    | {"content_hash", "parent_units", "last_ball", "last_ball_unit"}
)
_FULL_FIELDS = (_STRIPPED_FIELDS - {"content_hash"}) | {
    "messages",
    "earned_headers_commission_recipients",
    "headers_commission",
    "payload_commission",
    "oversize_fee",
    "tps_fee",
    "burn_fee",
    "max_aa_responses",
}
_AUTHOR_FIELDS = frozenset({"address", "authentifiers", "definition"})
_PAYLOAD_LOCATIONS = frozenset({"inline", "none", "uri"})
_INPUT_TYPES = frozenset({"issue", "headers_commission", "witnessing"})


def check_joint(joint: JsonValue, network: Network, *, now_s: float | None = None) -> dict[str, JsonValue]:
    """Check a joint, `{unit, ball?, skiplist_units?}`, as `check_unit` does its unit, and return the unit.

    The `ball` is only checked for its form: it proves nothing. Raises `UnitError`.
    """
    if not isinstance(joint, dict):
        raise UnitError("not_an_object", "a joint must be an object")
    if not joint.keys() <= _JOINT_FIELDS:
        raise UnitError("unknown_fields", "a joint has a unit and, when stable, a ball and skiplist_units")
    if "ball" in joint:
        _check_hash(joint, "ball")
    if "skiplist_units" in joint:
        _check_hashes(joint, "skiplist_units", len(_array_of(joint, "skiplist_units")))
    unit = check_unit(joint.get("unit"), network, now_s=now_s)
    if "content_hash" in unit and "ball" not in joint:
        raise UnitError("stripped_unit", "only a unit that has its ball may be stripped to its content_hash")
    return unit


def check_unit(unit: JsonValue, network: Network, *, now_s: float | None = None) -> dict[str, JsonValue]:
    """Check all that one unit shows by itself and return it without the fields a hub adds.

    `now_s`, the clock in seconds since 1970, limits how far in the future the unit may be; without it that is not
    checked. Author signatures are not: see `verify_author_signatures`. Raises `UnitError`.
    """
    if not isinstance(unit, dict):
        raise UnitError("not_an_object", "a unit must be an object")
    _check_tree(unit)
    stripped = strip_hub_fields(unit)
    try:
        _check_hash(stripped, "unit")
        if unit_hash(stripped, network) != stripped["unit"]:
            raise UnitError("wrong_unit_hash", "the unit's hash is not that of its content")
        _check_header(stripped, network, now_s)
        if "content_hash" not in stripped:
            _check_content(stripped, network)
    except SerializationError as error:
        raise UnitError(error.code, error.text) from None
    return stripped


def _check_tree(unit: dict[str, JsonValue]) -> None:
    """Check nesting, size and strings of a whole unit without recursion, before anything else looks at it."""
    pending: list[tuple[JsonValue, int]] = [(unit, 1)]
    nodes = 0
    while pending:
        value, depth = pending.pop()
        if depth > _MAX_DEPTH:
            raise UnitError("too_deep", f"a unit is at most {_MAX_DEPTH} levels deep")
        if isinstance(value, str):
            _check_text(value)
            continue
        if isinstance(value, dict):
            for name in value:
                _check_text(name)
            members: list[JsonValue] = list(value.values())
        elif isinstance(value, list):
            members = value
        else:
            continue
        nodes += len(members)
        if nodes > _MAX_NODES:
            raise UnitError("too_many_nodes", f"a unit has at most {_MAX_NODES} values")
        pending.extend((member, depth + 1) for member in members)


def _check_text(text: object) -> None:
    if not isinstance(text, str) or _MALFORMED.search(text):
        raise UnitError("malformed_string", "a string of a unit must not contain NUL or half a surrogate pair")


def _check_header(unit: dict[str, JsonValue], network: Network, now_s: float | None) -> None:
    if not unit.keys() <= (_STRIPPED_FIELDS if "content_hash" in unit else _FULL_FIELDS):
        raise UnitError("unknown_fields", "the unit has fields that no unit has")
    version = unit.get("version")
    if not isinstance(version, str) or version not in network.versions:
        raise UnitError("wrong_version", f"version is not one of the {network.name} network")
    if unit.get("alt") != network.alt:
        raise UnitError("wrong_alt", f"alt must be {network.alt!r} on the {network.name} network")
    if "timestamp" in unit or not network.hashes_typed(version):
        timestamp = _check_integer(unit, "timestamp", 1)
        if now_s is not None and timestamp > now_s + MAX_SECONDS_INTO_FUTURE:
            raise UnitError("timestamp_in_future", "the timestamp is too far in the future")
    if "content_hash" in unit:
        _check_hash(unit, "content_hash")
    if "witnesses" in unit and "witness_list_unit" in unit:
        raise UnitError("ambiguous_witnesses", "a unit names its witnesses directly or by another unit, not both")
    _check_parents(unit, network)
    _check_authors(unit)


def _check_parents(unit: dict[str, JsonValue], network: Network) -> None:
    if unit["unit"] == network.genesis_unit:
        if not unit.keys().isdisjoint({"parent_units", "last_ball", "last_ball_unit"}):
            raise UnitError("invalid_parent_units", "nothing precedes the genesis unit")
        return
    _check_hashes(unit, "parent_units", _MAX_PARENTS)
    _check_hash(unit, "last_ball")
    _check_hash(unit, "last_ball_unit")


def _check_authors(unit: dict[str, JsonValue]) -> None:
    authors = objects_of(unit, "authors")
    if not 1 <= len(authors) <= _MAX_AUTHORS:
        raise UnitError("invalid_authors", f"a unit has 1 to {_MAX_AUTHORS} authors")
    previous = ""
    for author in authors:
        address = author.get("address")
        if not isinstance(address, str) or not is_valid_address(address) or not author.keys() <= _AUTHOR_FIELDS:
            raise UnitError("invalid_authors", "an author must have a valid address and no unknown fields")
        if address <= previous:
            raise UnitError("unsorted_authors", "authors must be sorted by address, each named once")
        previous = address
        if "authentifiers" in author:
            _check_authentifiers(author["authentifiers"])


def _check_authentifiers(authentifiers: JsonValue) -> None:
    valid = isinstance(authentifiers, dict) and all(
        isinstance(authentifier, str) and 0 < len(authentifier) <= _MAX_AUTHENTIFIER_CHARACTERS
        for authentifier in authentifiers.values()
    )
    if not valid or not authentifiers:
        raise UnitError("invalid_authors", "authentifiers must be an object of non-empty strings")


def _check_content(unit: dict[str, JsonValue], network: Network) -> None:
    messages = objects_of(unit, "messages")
    if not messages or (len(messages) > _MAX_MESSAGES and unit["unit"] != network.genesis_unit):
        raise UnitError("invalid_messages", f"a unit has 1 to {_MAX_MESSAGES} messages")
    # An agent answers with as many coins as it was sent. If its units were refused for that, anybody could stop whoever
    # watches the agent by sending it many coins.
    is_agents = not any("authentifiers" in author for author in objects_of(unit, "authors"))
    for message in messages:
        _check_message(message, typed=network.hashes_typed(str(unit["version"])), is_agents=is_agents)
    for name, minimum in (("oversize_fee", 1), ("tps_fee", 0), ("burn_fee", 1), ("max_aa_responses", 0)):
        if name in unit:
            _check_integer(unit, name, minimum)
    if _check_integer({"max_aa_responses": 0} | unit, "max_aa_responses", 0) > _MAX_AGENT_RESPONSES:
        raise UnitError("invalid_max_aa_responses", f"an agent responds at most {_MAX_AGENT_RESPONSES} times")
    headers = _check_integer(unit, "headers_commission", 1)
    payload = _check_integer(unit, "payload_commission", 1)
    if headers != headers_commission(unit, network):
        raise UnitError("wrong_headers_commission", "headers_commission is not the size of the headers")
    if payload != payload_commission(unit, network):
        raise UnitError("wrong_payload_commission", "payload_commission is not the size of the messages")
    if headers + payload > _MAX_UNIT_SIZE and not is_agents:
        raise UnitError("unit_too_large", f"a unit is at most {_MAX_UNIT_SIZE} bytes")


def _check_message(message: dict[str, JsonValue], *, typed: bool, is_agents: bool) -> None:
    if not isinstance(message.get("app"), str):
        raise UnitError("invalid_message", "app must be a string")
    _check_hash(message, "payload_hash")
    location = message.get("payload_location")
    if not isinstance(location, str) or location not in _PAYLOAD_LOCATIONS:
        raise UnitError("invalid_message", "payload_location must be inline, none or uri")
    if (location == "inline") != ("payload" in message):
        raise UnitError("invalid_message", "a payload must be there if and only if payload_location is inline")
    if "payload" not in message:
        return
    if message_payload_hash(message, typed=typed) != message["payload_hash"]:
        raise UnitError("wrong_payload_hash", "payload_hash is not the hash of the payload")
    if message["app"] == "payment":
        _check_payment(message["payload"], is_agents=is_agents)


def _check_payment(payload: JsonValue, *, is_agents: bool) -> None:
    if not isinstance(payload, dict):
        raise UnitError("invalid_payment", "the payload of a payment must be an object")
    if "asset" in payload and not is_valid_base64(payload["asset"], HASH_CHARACTERS):
        raise UnitError("invalid_payment", "asset must be the hash of a unit")
    inputs = objects_of(payload, "inputs")
    outputs = objects_of(payload, "outputs")
    too_many = len(inputs) > _MAX_INPUTS and not is_agents
    if not inputs or too_many or not 1 <= len(outputs) <= _MAX_OUTPUTS:
        raise UnitError("invalid_payment", f"a payment has 1 to {_MAX_INPUTS} inputs and 1 to {_MAX_OUTPUTS} outputs")
    for coin in inputs:
        _check_input(coin)
    for output in outputs:
        if not is_valid_address(output.get("address")):
            raise UnitError("invalid_payment", "the address of an output is not valid")
        if _check_integer(output, "amount", 1) > MAX_AMOUNT:
            raise UnitError("invalid_payment", f"the amount of an output is at most {MAX_AMOUNT}")


def _check_input(coin: dict[str, JsonValue]) -> None:
    if "type" in coin:
        if not isinstance(coin["type"], str) or coin["type"] not in _INPUT_TYPES:
            raise UnitError("invalid_payment", "the type of an input is not known")
        return
    _check_hash(coin, "unit")
    _check_integer(coin, "message_index", 0)
    _check_integer(coin, "output_index", 0)


def _check_hash(fields: Mapping[str, JsonValue], name: str) -> None:
    if not is_valid_base64(fields.get(name), HASH_CHARACTERS):
        raise UnitError(f"invalid_{name}", f"{name} must be a hash, {HASH_CHARACTERS} characters of base64")


def _check_hashes(fields: Mapping[str, JsonValue], name: str, limit: int) -> None:
    hashes = _array_of(fields, name)
    if len(hashes) > limit or not all(is_valid_base64(value, HASH_CHARACTERS) for value in hashes):
        raise UnitError(f"invalid_{name}", f"{name} must be an array of hashes, at most {limit}")


def _array_of(fields: Mapping[str, JsonValue], name: str) -> list[JsonValue]:
    array = fields.get(name)
    if not isinstance(array, list) or not array:
        raise UnitError(f"invalid_{name}", f"{name} must be a non-empty array")
    return array


def _check_integer(fields: Mapping[str, JsonValue], name: str, minimum: int) -> int:
    number = fields.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < minimum:
        raise UnitError(f"invalid_{name}", f"{name} must be an integer of at least {minimum}")
    return number
