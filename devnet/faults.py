"""Faults of one hub, for tests of those who talk to it.

Faults of answers are ordered by command and happen in the order they were ordered, each once unless told otherwise.
Conditions last until they are taken back. Nothing here touches the ledger: other hubs of it stay honest.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from devnet.events import AgentResponded, LedgerEvent, UnitAdded, UnitsDisputed, UnitsProvable

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.dag import UnitRecord
    from shared.obyte.serialization import JsonValue

Lie: TypeAlias = "Callable[[Any], Any]"
"""Makes a false answer of the true one, which it may change."""

GET_PARENTS = "light/get_parents_and_last_ball_and_witness_list_unit"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with the answer after a request was carried out."""

    drops_connection: bool = False
    loses_answer: bool = False
    denial: str | None = None
    """Answered as an error instead of the true answer."""
    delay_s: float = 0.0
    lie: Lie | None = None


@dataclass(slots=True)
class Dying:
    """Connections that die after some more frames of the hub, the last one sent whole or broken off half way."""

    frames: int
    mid_frame: bool
    connections: int


NO_FAULT = Fault()
_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Ordered(Generic[_Value]):
    value: _Value
    left: int | None


class Faults:
    """What to do wrong with the next requests, and what is wrong all the time.

    `times` is how often a fault happens, None for ever. The attributes are conditions:

    * `hidden`: units the hub acts as if it had never heard of: in news, histories, `get_joint` and agents' responses;
    * `muted`: subjects of news it never sends, such as `joint` or `light/have_updates`;
    * `knows_until_mci`: its histories end with this main chain unit, and it tells no news, as if it were cut off;
    * `answer_delay_s`: every answer comes that much later;
    * `is_silent`: it says nothing at all any more; `ignores_heartbeats`: it does not answer those;
    * `clock_offset_s`: its clock is wrong when it dates parents and when it judges units;
    * `quoted_tps_fee`: asked for parents, it names this fee whatever the true one is;
    * `claimed_vars`: values by subject of system variables that it claims were voted, such as `op_list`; clients are
      told when they ask, or by `Hub.repeat_system_vars`;
    * `greeting`: frames, of any content, that it adds when a client connects.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Be an honest hub, as at first."""
        self._refusals: dict[str, deque[_Ordered[str]]] = defaultdict(deque)
        self._faults: dict[str, deque[_Ordered[Fault]]] = defaultdict(deque)
        self.dying: Dying | None = None
        self.hidden: set[str] = set()
        self.muted: set[str] = set()
        self.knows_until_mci: int | None = None
        self.answer_delay_s = 0.0
        self.is_silent = False
        self.ignores_heartbeats = False
        self.clock_offset_s = 0.0
        self.quoted_tps_fee: int | None = None
        self.claimed_vars: dict[str, JsonValue] = {}
        self.greeting: tuple[str | bytes, ...] = ()

    def refuse(self, command: str, text: str, *, times: int | None = 1) -> None:
        """Answer the next such request with an error and carry out nothing."""
        self._refusals[command].append(_Ordered(text, times))

    def lose_answer(self, command: str, *, times: int | None = 1) -> None:
        """Carry out the next such request, and answer nothing."""
        self._order(command, Fault(loses_answer=True), times)

    def deny(self, command: str, text: str, *, times: int | None = 1) -> None:
        """Carry out the next such request, and answer with an error as if nothing had been done."""
        self._order(command, Fault(denial=text), times)

    def drop_connection_after(self, command: str, *, times: int | None = 1) -> None:
        """Carry out the next such request, and cut the connection instead of answering."""
        self._order(command, Fault(drops_connection=True), times)

    def delay_answer(self, command: str, delay_s: float, *, times: int | None = 1) -> None:
        """Carry out the next such request, and answer later."""
        self._order(command, Fault(delay_s=delay_s), times)

    def lie(self, command: str, lie: Lie, *, times: int | None = 1) -> None:
        """Answer the next such request falsely; `devnet.lies` has the lies worth telling."""
        self._order(command, Fault(lie=lie), times)

    def kill_connections(self, frames: int, *, mid_frame: bool = False, connections: int = 1) -> None:
        """Let the next connections to which the hub sends `frames` more frames die of the one after.

        With `mid_frame` half of that frame still gets through.
        """
        self.dying = Dying(frames, mid_frame, connections)

    def refusal(self, command: str) -> str | None:
        """Take the refusal ordered for a request, if any."""
        return _take(self._refusals.get(command))

    def after_serving(self, command: str) -> Fault:
        """Take the fault ordered for an answer, if any."""
        fault = _take(self._faults.get(command)) or NO_FAULT
        return replace(fault, delay_s=fault.delay_s + self.answer_delay_s) if self.answer_delay_s else fault

    def distorted(self, command: str, answer: JsonValue) -> JsonValue:
        """Return what the conditions make of an answer."""
        if command == GET_PARENTS and isinstance(answer, dict):
            timestamp: Any = answer["timestamp"]
            answer = {**answer, "timestamp": timestamp + int(self.clock_offset_s)}
            if self.quoted_tps_fee is not None:
                answer["tps_fee"] = self.quoted_tps_fee
        if command == "get_system_vars":
            return self.claimed(answer)
        return _without(command, answer, self.hidden) if self.hidden else answer

    def claimed(self, system_vars: JsonValue) -> JsonValue:
        """Return system variables with the votes that the hub claims there were."""
        if not isinstance(system_vars, dict):
            return system_vars
        told: dict[str, Any] = dict(system_vars)
        for subject, value in self.claimed_vars.items():
            told[subject] = [{"vote_count_mci": 0, "value": value, "is_emergency": 0}, *told[subject]]
        return told

    def perceived(self, event: LedgerEvent) -> LedgerEvent | None:
        """Return what the hub hears of an event, None for nothing."""
        if self.knows_until_mci is not None:
            return None
        match event:
            case UnitAdded(record, _) if record.hash in self.hidden:
                return None
            case AgentResponded(response) if {response.trigger_unit, response.full["response_unit"]} & self.hidden:
                return None
            case UnitsDisputed(records):
                seen = self._seen(records)
                return UnitsDisputed(seen) if seen else None
            case UnitsProvable(records):
                seen = self._seen(records)
                return UnitsProvable(seen) if seen else None
        return event

    def _seen(self, records: tuple[UnitRecord, ...]) -> tuple[UnitRecord, ...]:
        return tuple(record for record in records if record.hash not in self.hidden)

    def _order(self, command: str, fault: Fault, times: int | None) -> None:
        self._faults[command].append(_Ordered(fault, times))


def _without(command: str, answer: Any, hidden: set[str]) -> JsonValue:
    if command == "get_joint" and "joint" in answer and answer["joint"]["unit"]["unit"] in hidden:
        return {"joint_not_found": answer["joint"]["unit"]["unit"]}
    if command == "light/get_history" and "joints" in answer:
        joints = [joint for joint in answer["joints"] if joint["unit"]["unit"] not in hidden]
        responses = _unhidden(answer.get("aa_responses", ()), hidden)
        told = {key: value for key, value in answer.items() if key != "aa_responses"} | {"joints": joints}
        if not joints:
            return {}
        return told | {"aa_responses": responses} if responses else told
    if command in {"light/get_aa_responses", "light/get_aa_response_chain"}:
        return _unhidden(answer, hidden)
    return answer  # type: ignore[no-any-return] # as it came


def _unhidden(responses: Any, hidden: set[str]) -> list[JsonValue]:
    return [r for r in responses if r["trigger_unit"] not in hidden and r.get("response_unit") not in hidden]


def _take(ordered: deque[_Ordered[_Value]] | None) -> _Value | None:
    if not ordered:
        return None
    first = ordered[0]
    if first.left is not None:
        first.left -= 1
        if not first.left:
            ordered.popleft()
    return first.value
