"""Whether a unit may join the ledger: every rule a full node holds a posted unit to (Obyte, ocore `validation.js`).

Texts follow the reference where a poster acts on them (`known`, `unknown parents`, double spends, last ball, fees).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from devnet.dag import Sequence, UnitRecord
from devnet.fees import MAX_AA_RESPONSES, fee_shares
from devnet.outputs import outputs_of
from devnet.payloads import check_messages
from devnet.payments import Surroundings
from devnet.state import LedgerState, RejectedError
from shared.obyte.addresses import is_agent_definition
from shared.obyte.chash import is_valid_address
from shared.obyte.errors import UnitError
from shared.obyte.units import check_unit, oversize_fee, verify_author_signatures

if TYPE_CHECKING:
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue

_RECIPIENT_FIELDS = {"address", "earned_headers_commission_share"}
_ALL = 100


@dataclass(frozen=True, slots=True)
class Admitted:
    """A unit that may be added, and the units that its conflict with them makes undecided."""

    record: UnitRecord
    disputed: tuple[UnitRecord, ...]


def admit(state: LedgerState, joint: JsonValue, now_s: float) -> Admitted:
    """Check a joint `{unit}` against the ledger. Raises RejectedError."""
    return _Admission(state, _read_joint(state, joint, now_s)).run()


def unit_hash_of(joint: JsonValue) -> str:
    """Return the hash a joint claims for its unit. Raises RejectedError."""
    unit = joint.get("unit") if isinstance(joint, dict) else None
    claimed = unit.get("unit") if isinstance(unit, dict) else None
    if not isinstance(claimed, str) or not claimed:
        raise RejectedError("no unit", is_final=False)
    return claimed


def _read_joint(state: LedgerState, joint: JsonValue, now_s: float) -> dict[str, Any]:
    if not isinstance(joint, dict) or joint.keys() != {"unit"}:
        raise RejectedError("unknown fields in unit-joint", is_final=False)
    _check_version(state.network, joint["unit"])
    try:
        unit: dict[str, Any] = check_unit(joint["unit"], state.network, now_s=now_s)
    except UnitError as error:
        # Not final: a stranger may have spoilt what the unit's hash does not cover, such as a payload.
        raise RejectedError(error.text, is_final=False) from None
    if "content_hash" in unit:
        raise RejectedError("content_hash allowed only in finished ball", is_final=False)
    if "parent_units" not in unit:
        raise RejectedError("there is a genesis already")
    if unit.keys() & {"witnesses", "witness_list_unit"}:
        raise RejectedError("should have no per-unit witnesses since version 4.0")
    if "tps_fee" not in unit:
        raise RejectedError("no tps_fee field")
    return unit


def _check_version(network: Network, unit: Any) -> None:
    version = unit.get("version") if isinstance(unit, dict) else None
    if isinstance(version, str) and version in network.versions and version != network.version:
        raise RejectedError("version is too old", is_final=False)


class _Admission:
    def __init__(self, state: LedgerState, unit: dict[str, Any]) -> None:
        self._state = state
        self._dag = state.dag
        self._unit = unit
        self._authors = tuple(author["address"] for author in unit["authors"])
        self._parents = tuple(unit["parent_units"])

    def run(self) -> Admitted:
        self._check_parents()
        last_ball = self._check_last_ball()
        self._check_oversize_fee(last_ball)
        triggered = self._count_triggered_agents(last_ball)
        self._check_tps_fee(last_ball, triggered)
        self._check_authors(last_ball)
        conflicts = self._state.conflicts_of(self._authors, self._parents)
        around = Surroundings(self._state, self._unit, self._authors, self._parents, last_ball.mci or 0)
        inherited = check_messages(around)
        record = self._record(last_ball, triggered, _worst(inherited, conflicts))
        disputed = tuple(conflict for conflict in conflicts if not conflict.is_stable)
        return Admitted(record, disputed if record.sequence == "temp-bad" else ())

    def _record(self, last_ball: UnitRecord, triggered: int, sequence: Sequence) -> UnitRecord:
        is_provider = self._authors[0] in self._state.votes.op_list
        place = self._dag.place_on(self._parents, is_provider=is_provider)
        return UnitRecord(
            hash=self._unit["unit"],
            unit=self._unit,
            authors=self._authors,
            parents=self._parents,
            level=place.level,
            best_parent=place.best_parent,
            witnessed_level=place.witnessed_level,
            provider_count=place.provider_count,
            timestamp_s=self._unit["timestamp"],
            last_ball_mci=last_ball.mci or 0,
            is_provider=is_provider,
            triggered_agents=triggered,
            sequence=sequence,
        )

    def _check_parents(self) -> None:
        records = self._dag.records
        if list(self._parents) != sorted(set(self._parents)):
            raise RejectedError("parent units not ordered")
        if not all(parent in records for parent in self._parents):
            raise RejectedError("unknown parents", is_final=False)
        parents = [records[parent] for parent in self._parents]
        if any(self._unit["timestamp"] < parent.timestamp_s for parent in parents):
            raise RejectedError("timestamp decreased from parent")
        for parent in parents:
            others = [other for other in self._parents if other != parent.hash]
            if self._dag.includes(parent, others):
                raise RejectedError(f"parent unit {parent.hash} is related to one of the other parent units")
        authors = [author for parent in parents for author in parent.authors]
        if len(authors) != len(set(authors)):
            raise RejectedError("some addresses found more than once in parents")
        if all(parent.is_agent for parent in parents):
            raise RejectedError("non-AA unit should have at least one non-AA parent")

    def _check_last_ball(self) -> UnitRecord:
        last_ball, unit_hash = self._unit["last_ball"], self._unit["last_ball_unit"]
        record = self._dag.records.get(unit_hash)
        if record is None:
            raise RejectedError(f"last ball unit {unit_hash} not found", is_final=False)
        if not record.is_on_main_chain:
            raise RejectedError(f"last ball {last_ball} is not on MC", is_final=False)
        if not record.is_stable or not self._dag.is_stable_in_view_of(record, self._parents):
            raise RejectedError(
                f"last ball unit {unit_hash} is not stable in view of your parents {self._parents}", is_final=False
            )
        if record.ball != last_ball:
            raise RejectedError(f"last_ball {last_ball} and last_ball_unit {unit_hash} do not match")
        if record.mci is None or any(self._dag.records[p].last_ball_mci > record.mci for p in self._parents):
            raise RejectedError("last ball mci must not retreat")
        return record

    def _check_oversize_fee(self, last_ball: UnitRecord) -> None:
        size = self._unit["headers_commission"] + self._unit["payload_commission"]
        expected = oversize_fee(size, self._state.votes.at(last_ball.mci or 0).threshold_size)
        found = self._unit.get("oversize_fee", 0)
        if found != expected:
            raise RejectedError(f"oversize_fee mismatch: expected {expected}, found {found}", is_final=False)

    def _count_triggered_agents(self, last_ball: UnitRecord) -> int:
        agents = self._state.agents
        counts: dict[str, dict[str, int]] = {}
        for output in outputs_of(self._unit["unit"], self._unit):
            agent = agents.get(output.address)
            if agent is not None and agent.defined_mci <= (last_ball.mci or 0):
                by_asset = counts.setdefault(output.address, {})
                by_asset[output.asset] = by_asset.get(output.asset, 0) + 1
        if len(counts) > 1:
            raise RejectedError(f"more than 1 primary AA trigger ({len(counts)})")
        if any(count > 1 for by_asset in counts.values() for count in by_asset.values()):
            raise RejectedError("more than 1 output to the same AA for one asset")
        if "max_aa_responses" in self._unit:
            if not counts:
                raise RejectedError("no outputs to AAs, max_aa_responses should not be there")
            if self._unit["max_aa_responses"] == 0:
                raise RejectedError("max_aa_responses=0 is not allowed")
        return len(counts)

    def _check_tps_fee(self, last_ball: UnitRecord, triggered: int) -> None:
        self._check_recipients()
        responses = self._unit.get("max_aa_responses", MAX_AA_RESPONSES)
        fees = self._state.fees
        required = fees.required(self._parents, last_ball, self._unit["timestamp"], triggered, responses)
        for address, share in fee_shares(self._unit).items():
            balance = fees.balance(address, last_ball.mci or 0)
            paid = self._unit["tps_fee"]
            if balance * _ALL + paid * share < required * share:
                raise RejectedError(
                    f"tps_fee {paid} + tps fees balance {balance} less than required {required} for address {address}"
                )

    def _check_recipients(self) -> None:
        recipients = self._unit.get("earned_headers_commission_recipients")
        if recipients is None:
            if len(self._authors) > 1:
                raise RejectedError("must specify earned_headers_commission_recipients when more than 1 author")
            return
        if not isinstance(recipients, list) or not all(map(_is_recipient, recipients)):
            raise RejectedError("earned_headers_commission_recipients must be addresses with positive shares")
        addresses = [recipient["address"] for recipient in recipients]
        if addresses != sorted(set(addresses)):
            raise RejectedError("recipient list must be sorted by address")
        if sum(recipient["earned_headers_commission_share"] for recipient in recipients) != _ALL:
            raise RejectedError("sum of earned_headers_commission_share is not 100")

    def _check_authors(self, last_ball: UnitRecord) -> None:
        definitions = {}
        for author in self._unit["authors"]:
            address = author["address"]
            if address in self._state.agents:
                raise RejectedError("will not validate unit signed by AA", is_final=False)
            known = self._state.definition_before(address, last_ball.mci or 0)
            if known is not None:
                if "definition" in author:
                    raise RejectedError(f"duplicate definition of address {address}")
                definitions[address] = known
            elif "definition" not in author:
                raise RejectedError(f"definition bound to address {address} not found before last ball")
            elif is_agent_definition(author["definition"]):
                raise RejectedError("AA cannot be defined in authors")
        try:
            verify_author_signatures(self._unit, definitions, self._state.network)
        except UnitError as error:
            raise RejectedError(f"authentifier verification failed: {error.text}") from None


def _worst(inherited: Sequence, conflicts: list[UnitRecord]) -> Sequence:
    if inherited == "final-bad" or any(conflict.is_stable for conflict in conflicts):
        return "final-bad"
    return "temp-bad" if conflicts else inherited


def _is_recipient(recipient: Any) -> bool:
    return (
        isinstance(recipient, dict)
        and recipient.keys() == _RECIPIENT_FIELDS
        and is_valid_address(recipient["address"])
        and type(recipient["earned_headers_commission_share"]) is int
        and recipient["earned_headers_commission_share"] > 0
    )
