"""What the order providers vouch for in a light proof: anchors, definitions, time (ocore `witness_proof.js`).

The unstable main chain comes newest first. Once a majority of the pinned list has signed among the units read so far,
the last ball of that unit and of all older ones is vouched for. Definition joints tell by which definitions the list's
signatures are checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte import units
from shared.obyte.addresses import definition_address
from shared.obyte.chash import is_valid_address
from shared.obyte.definitions import check_authentifiers
from shared.obyte.errors import HistoryProofError, ObyteError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue


def read_mc_joints(
    joints: Sequence[dict[str, JsonValue]], witnesses: frozenset[str], network: Network
) -> tuple[set[str], list[dict[str, JsonValue]], int]:
    """Return the anchored balls, the units signed by witnesses (newest first) and the newest timestamp."""
    if not joints:
        raise HistoryProofError("no_proof", "unstable_mc_joints must not be empty")
    found: set[str] = set()
    anchors: set[str] = set()
    witnessed = []
    expected: Sequence[JsonValue] | None = None
    for joint in joints:
        if "ball" in joint:
            raise HistoryProofError("mc_joint_has_ball", "an unstable main chain joint must not have a ball")
        unit = _with_valid_hash(joint, network, "mc_joint_invalid")
        if expected is not None and unit["unit"] not in expected:
            raise HistoryProofError("mc_chain_broken", "an unstable main chain unit is no parent of the newer one")
        parents = unit.get("parent_units")
        expected = parents if isinstance(parents, list) else []
        signers = witnesses.intersection(str(author.get("address")) for author in _authors(unit))
        if signers:
            found |= signers
            witnessed.append(unit)
        last_ball, last_ball_unit = unit.get("last_ball"), unit.get("last_ball_unit")
        if not isinstance(last_ball, str) or not isinstance(last_ball_unit, str):
            raise HistoryProofError("mc_joint_invalid", "an unstable main chain unit must have a last ball")
        if len(found) >= network.majority:
            anchors.add(last_ball)
    if not anchors:
        raise HistoryProofError("not_enough_witnesses", f"fewer than {network.majority} witnesses in the proof")
    newest = units.strip_hub_fields(unit_of(joints[0], "mc_joint_invalid")).get("timestamp")
    return anchors, witnessed, newest if isinstance(newest, int) else 0


def proven_time(witnessed: Sequence[Mapping[str, JsonValue]], witnesses: frozenset[str], network: Network) -> int:
    """Return the time at or after which a majority of the order providers has signed units."""
    latest: dict[str, int] = {}
    for unit in witnessed:
        timestamp = unit.get("timestamp")
        if type(timestamp) is int:
            for address in witnesses.intersection(str(author.get("address")) for author in _authors(unit)):
                latest[address] = max(timestamp, latest.get(address, 0))
    times = sorted(latest.values(), reverse=True)
    return times[network.majority - 1] if len(times) >= network.majority else 0


def read_definition_joint(
    joint: Mapping[str, JsonValue], witnesses: frozenset[str], network: Network
) -> dict[str, JsonValue]:
    """Return the unit of a joint that tells of an order provider's definition. Raises HistoryProofError."""
    if not isinstance(joint.get("ball"), str):
        raise HistoryProofError("definition_joint_without_ball", "a witness definition joint must have a ball")
    unit = _with_valid_hash(joint, network, "definition_joint_invalid")
    for message in _messages(unit):
        if message.get("payload_location") == "inline" and not _has_right_payload_hash(message, unit, network):
            raise HistoryProofError("definition_joint_invalid", "a payload hash of a witness definition joint is wrong")
    if not witnesses.intersection(str(author.get("address")) for author in _authors(unit)):
        raise HistoryProofError(
            "definition_joint_not_by_witness", "a definition joint has no witness among its authors"
        )
    return unit


class WitnessDefinitions:
    """By which definition each witness signs, as units in chronological order tell."""

    def __init__(self, witnesses: Sequence[str], network: Network) -> None:
        self._network = network
        self._chash = {address: address for address in witnesses}
        self._definitions: dict[str, JsonValue] = {}

    def learn(self, unit: dict[str, JsonValue]) -> None:
        """Take a stable unit of a witness that discloses a definition or changes to another one."""
        has_news = self.check(unit)
        authors = _authors(unit)
        for message in _messages(unit):
            payload = message.get("payload")
            if message.get("app") != "address_definition_change" or not isinstance(payload, dict):
                continue
            address = payload.get("address", authors[0].get("address") if len(authors) == 1 else None)
            chash = payload.get("definition_chash")
            is_by_author = any(author.get("address") == address for author in authors)
            if isinstance(address, str) and address in self._chash and is_by_author and is_valid_address(chash):
                self._chash[address] = str(chash)
                has_news = True
        if not has_news:
            raise HistoryProofError(
                "definition_joint_without_news", "a definition joint must have a definition or a change of a witness"
            )

    def check(self, unit: dict[str, JsonValue]) -> bool:
        """Check the signatures of the witnesses among the authors; tell whether one disclosed a definition."""
        discloses = False
        digest = units.unit_hash_to_sign(unit, self._network)
        for author in _authors(unit):
            address = str(author.get("address"))
            chash = self._chash.get(address)
            if chash is None:
                continue
            if "definition" in author:
                if _address_of(author["definition"]) != chash:
                    raise HistoryProofError("witness_definition_wrong", f"{address} signed by a definition not its own")
                self._definitions[chash] = author["definition"]
                discloses = True
            definition = self._definitions.get(chash)
            if definition is None:
                raise HistoryProofError("witness_definition_unknown", f"the definition of witness {address} is missing")
            self._check_signatures(author, definition, digest)
        return discloses

    def _check_signatures(self, author: Mapping[str, JsonValue], definition: JsonValue, digest: bytes) -> None:
        authentifiers = author.get("authentifiers")
        try:
            check_authentifiers(definition, authentifiers if isinstance(authentifiers, dict) else {}, digest)
        except ObyteError as error:
            raise HistoryProofError("witness_signature_wrong", f"a witness's signatures are wrong: {error}") from error


def _with_valid_hash(joint: Mapping[str, JsonValue], network: Network, code: str) -> dict[str, JsonValue]:
    """Return the unit of a joint of the proof: whole (a stripped one has nothing that was signed), hash right."""
    unit = units.strip_hub_fields(unit_of(joint, code))
    try:
        is_right = "content_hash" not in unit and units.unit_hash(unit, network) == unit.get("unit")
    except ObyteError:
        is_right = False
    if not is_right:
        raise HistoryProofError(code, "a unit of the proof is incomplete or its hash is wrong")
    return unit


def _has_right_payload_hash(message: Mapping[str, JsonValue], unit: Mapping[str, JsonValue], network: Network) -> bool:
    typed = network.hashes_typed(str(unit.get("version")))
    try:
        return units.message_payload_hash(message, typed=typed) == message.get("payload_hash")
    except ObyteError:
        return False


def _address_of(definition: JsonValue) -> str | None:
    try:
        return definition_address(definition)
    except ObyteError:
        return None


def unit_of(joint: Mapping[str, JsonValue], code: str) -> dict[str, JsonValue]:
    """Return the unit of a joint. Raises HistoryProofError with `code` when there is none."""
    unit = joint.get("unit")
    if not isinstance(unit, dict):
        raise HistoryProofError(code, "a joint must have a unit")
    return unit


def _authors(unit: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    return _dicts(unit.get("authors"))


def _messages(unit: Mapping[str, JsonValue]) -> list[dict[str, JsonValue]]:
    return _dicts(unit.get("messages"))


def _dicts(values: JsonValue) -> list[dict[str, JsonValue]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
