"""Light proofs: what a hub's history answer really proves (Obyte, light client; ocore `witness_proof.js`).

Trust: a majority of the pinned order providers (the witness list W) is honest. The hub is not trusted at all.

    unstable_mc_joints            newest first, each a parent of the one before. Once a majority of W has signed
                                  among those read so far, the last ball of that joint and of all older ones is
                                  vouched for: an anchor
    witness_change_and_…_joints   the definitions by which the signatures of W are checked
    proofchain_balls              from the anchors down: each ball is the hash of a unit and the balls it rests on
    joints                        a joint whose unit is in the ball chain is stable; nonserial there means void.
                                  Any other joint is unstable, whatever fields it carries

An agent's unit proven stable was computed alike by all full nodes, so its whole content is true. `aa_responses` are
never proven: hints of what will come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.obyte import units
from shared.obyte.chash import is_valid_address, is_valid_base64
from shared.obyte.errors import HistoryProofError, ObyteError
from shared.obyte.hashing import ball_hash
from shared.obyte.serialization import JsonValue, parse_js_json
from shared.obyte.witness_proof import WitnessDefinitions, proven_time, read_definition_joint, read_mc_joints, unit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shared.obyte.networks import Network

MAX_JOINTS = 2_000
MAX_PROOF_ITEMS = 100_000
"""More than this in one list of the proof is no history but an attack; the frame limit is reached long before."""
CLOCK_TOLERANCE_S = 25
"""On top of what the network allows units to be ahead of time: our own clock may be late."""
HASH_CHARACTERS = 44


@dataclass(frozen=True, slots=True)
class ProvenUnit:
    """A unit that passed all checks, without the fields hubs add. Stable only if proven; nonserial means void."""

    unit: dict[str, JsonValue] = field(repr=False)
    is_stable: bool
    is_nonserial: bool = False
    ball: str | None = None
    """From the ball chain, never from the joint."""
    mci_hint: int | None = None
    """Main chain index as the hub told it: not proven, good for ordering and for `min_mci`."""

    @property
    def unit_hash(self) -> str:
        """The unit's hash."""
        return str(self.unit["unit"])


@dataclass(frozen=True, slots=True)
class AgentResponseHint:
    """What the hub says an agent answered to a trigger among the units. Not proven."""

    mci: int
    aa_address: str
    trigger_address: str
    trigger_unit: str
    bounced: bool
    response_unit: str | None
    response: JsonValue = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProvenHistory:
    """A history that holds: units in the hub's order (newest first), and the hints."""

    units: tuple[ProvenUnit, ...] = ()
    aa_responses: tuple[AgentResponseHint, ...] = ()
    proof_timestamp_s: int | None = None
    """Timestamp of the newest unstable main chain unit of the proof; None when nothing was found. Anybody's word."""
    proven_time_s: int | None = None
    """The latest time that a majority of the order providers has vouched for; None when nothing was found.

    An honest one among them has signed a unit at or after it, so it has passed, whatever our own clock says. An old but
    valid proof can be served again: compare this with the clock and with the last one seen.
    """


def prove_history(
    response: JsonValue,
    witnesses: Sequence[str],
    network: Network,
    *,
    now_s: float,
    max_age_s: float | None = None,
    not_before_s: float | None = None,
    ahead_s: float = CLOCK_TOLERANCE_S,
) -> ProvenHistory:
    """Check a `light/get_history` answer against the pinned witness list.

    `{}` means that nothing was found: an empty history. A proof whose proven time is more than `max_age_s` ago, or
    before `not_before_s`, is refused as `stale_proof`. What is proven stable may be from the future of our clock:
    the network has judged it by better ones. Other units may be `ahead_s` further ahead than the network allows.

    Raises HistoryProofError. Codes: `bad_response`, `too_large`, `no_proof`, `mc_joint_has_ball`, `mc_chain_broken`,
    `mc_joint_invalid`, `not_enough_witnesses`, `definition_joint_without_ball`, `definition_joint_invalid`,
    `definition_joint_not_by_witness`, `definition_joint_without_news`, `witness_definition_wrong`,
    `witness_definition_unknown`, `witness_signature_wrong`, `wrong_ball`, `ball_not_known`, `no_joints`,
    `joint_invalid`, `agent_response_invalid`, `stale_proof`.
    """
    if not isinstance(response, dict):
        raise HistoryProofError("bad_response", "a history must be an object")
    if not response:
        return ProvenHistory()
    mc_units = _objects(response, "unstable_mc_joints", MAX_PROOF_ITEMS)
    definition_joints = _objects(response, "witness_change_and_definition_joints", MAX_PROOF_ITEMS)
    balls = _objects(response, "proofchain_balls", MAX_PROOF_ITEMS)
    joints = _objects(response, "joints", MAX_JOINTS)
    hints = _objects(response, "aa_responses", MAX_PROOF_ITEMS)
    if not joints:
        raise HistoryProofError("no_joints", "a history that found something must have joints")

    anchors, witnessed, newest_s = read_mc_joints(mc_units, frozenset(witnesses), network)
    definitions = WitnessDefinitions(witnesses, network)
    for joint in definition_joints:
        definitions.learn(read_definition_joint(joint, frozenset(witnesses), network))
    for unit in reversed(witnessed):
        definitions.check(unit)
    proven_time_s = proven_time(witnessed, frozenset(witnesses), network)
    _check_age(proven_time_s, None if max_age_s is None else now_s - max_age_s, not_before_s)
    stable = _read_balls(balls, anchors, network)

    proven: dict[str, ProvenUnit] = {}
    for joint in joints:
        is_in_chain = str(unit_of(joint, "joint_invalid").get("unit")) in stable
        unit = _read_joint(joint, network, None if is_in_chain else now_s + ahead_s)
        unit_hash = str(unit["unit"])
        ball, is_nonserial = stable.get(unit_hash, (None, False))
        if "content_hash" in unit and not is_nonserial:
            if ball is not None:
                raise HistoryProofError("joint_invalid", "a joint is stripped of its content, but it is not void")
            continue  # said to be void, not proven yet: nothing can be learned from it
        proven.setdefault(unit_hash, ProvenUnit(unit, ball is not None, is_nonserial, ball, _mci_hint(joint)))
    return ProvenHistory(
        units=tuple(proven.values()),
        aa_responses=tuple(_read_agent_response(hint, proven) for hint in hints),
        proof_timestamp_s=newest_s,
        proven_time_s=proven_time_s,
    )


def _check_age(proven_time_s: int, *oldest_allowed_s: float | None) -> None:
    for oldest_s in oldest_allowed_s:
        if oldest_s is not None and proven_time_s < oldest_s:
            raise HistoryProofError(
                "stale_proof", f"the order providers' units are {oldest_s - proven_time_s:.0f} s too old"
            )


def _read_balls(
    balls: Sequence[Mapping[str, JsonValue]], anchors: set[str], network: Network
) -> dict[str, tuple[str, bool]]:
    """Walk the ball chain from the anchors; return by unit hash its ball and whether it is nonserial."""
    known = set(anchors)
    stable: dict[str, tuple[str, bool]] = {}
    for element in balls:
        unit_hash, ball = element.get("unit"), element.get("ball")
        parents, skiplist = _hashes(element, "parent_balls"), _hashes(element, "skiplist_balls")
        is_nonserial = bool(element.get("is_nonserial"))
        if not _is_hash(unit_hash) or ball != ball_hash(str(unit_hash), parents, skiplist, is_nonserial=is_nonserial):
            raise HistoryProofError("wrong_ball", "a ball of the proof chain is not the hash of its content")
        if ball not in known:
            raise HistoryProofError("ball_not_known", "a ball of the proof chain hangs on nothing proven before")
        if not parents and unit_hash != network.genesis_unit:
            raise HistoryProofError("wrong_ball", "only the genesis ball has no parents")
        known.update(parents, skiplist)
        stable[str(unit_hash)] = (str(ball), is_nonserial)
    return stable


def _read_joint(joint: dict[str, JsonValue], network: Network, now_s: float | None) -> dict[str, JsonValue]:
    try:
        return units.check_joint(joint, network, now_s=now_s)
    except ObyteError as error:
        raise HistoryProofError("joint_invalid", f"a joint is invalid ({error.code}): {error}") from error


def _read_agent_response(hint: Mapping[str, JsonValue], proven: Mapping[str, ProvenUnit]) -> AgentResponseHint:
    mci, bounced, response_unit = hint.get("mci"), hint.get("bounced"), hint.get("response_unit")
    text = hint.get("response")
    addresses = (hint.get("aa_address"), hint.get("trigger_address"))
    trigger_unit = hint.get("trigger_unit")
    try:
        response = parse_js_json(text) if isinstance(text, str) else None
    except ObyteError:
        response = None
    rules = {
        "mci must be a positive integer": type(mci) is int and mci > 0,
        "addresses must be valid": all(map(is_valid_address, addresses)),
        "bounced must be 0 or 1": type(bounced) is int and bounced in {0, 1},
        "response_unit must be a hash": response_unit is None or _is_hash(response_unit),
        "response must be JSON text": response is not None,
        "trigger_unit must be among the joints": isinstance(trigger_unit, str) and trigger_unit in proven,
    }
    for rule, is_kept in rules.items():
        if not is_kept:
            raise HistoryProofError("agent_response_invalid", f"aa_responses: {rule}")
    return AgentResponseHint(
        mci=mci if isinstance(mci, int) else 0,
        aa_address=str(addresses[0]),
        trigger_address=str(addresses[1]),
        trigger_unit=str(trigger_unit),
        bounced=bool(bounced),
        response_unit=None if response_unit is None else str(response_unit),
        response=response,
    )


def _objects(response: Mapping[str, JsonValue], name: str, limit: int) -> list[dict[str, JsonValue]]:
    values = response.get(name, [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise HistoryProofError("bad_response", f"{name} must be an array of objects")
    if len(values) > limit:
        raise HistoryProofError("too_large", f"{name} must not have more than {limit} elements")
    return values


def _hashes(element: Mapping[str, JsonValue], name: str) -> list[str]:
    values = element.get(name, [])
    if not isinstance(values, list) or len(values) > MAX_PROOF_ITEMS or not all(map(_is_hash, values)):
        raise HistoryProofError("wrong_ball", f"{name} must be an array of balls")
    return [str(value) for value in values]


def _is_hash(value: JsonValue) -> bool:
    return isinstance(value, str) and is_valid_base64(value, HASH_CHARACTERS)


def _mci_hint(joint: Mapping[str, JsonValue]) -> int | None:
    mci = unit_of(joint, "joint_invalid").get("main_chain_index")
    return mci if type(mci) is int and mci >= 0 else None
