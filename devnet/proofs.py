"""Histories for light clients, with the proof that goes with them (Obyte, light proofs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.units import content_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from devnet.dag import UnitRecord
    from devnet.state import LedgerState
    from shared.obyte.serialization import JsonValue

_KEPT_OF_VOID_UNITS = ("version", "alt", "timestamp", "parent_units", "last_ball", "last_ball_unit", "unit")


def joint_of(state: LedgerState, record: UnitRecord) -> dict[str, JsonValue]:
    """Return a unit as hubs send it: with their own fields, its ball when stable, and stripped when long void."""
    if record.sequence == "final-bad" and record.mci is not None and record.mci < state.min_retrievable_mci():
        unit = _stripped(state, record)
    else:
        unit = dict(record.unit)
    unit["main_chain_index"] = record.mci
    unit["actual_tps_fee"] = record.actual_tps_fee
    joint: dict[str, JsonValue] = {"unit": unit}
    if record.ball is not None:
        joint["ball"] = record.ball
        if record.skiplist_units:
            joint["skiplist_units"] = list(record.skiplist_units)
    return joint


def prove(
    state: LedgerState, records: Iterable[UnitRecord], known_until_mci: int | None = None
) -> dict[str, JsonValue]:
    """Return the history that tells of these units, each proven as far as it can be.

    `known_until_mci` makes it the history that was told when the main chain ended there; the units must not be later.
    """
    ordered = sorted(records, key=_newest_first)
    newest, oldest_mci = _unstable_range(state, known_until_mci)
    newest_last_ball_mci = newest.last_ball_mci
    chain = _BallChain(state, newest_last_ball_mci + 1)
    for record in ordered:
        if record.mci is not None and record.mci <= newest_last_ball_mci:
            chain.reach(record, record.mci)
    history: dict[str, JsonValue] = {
        "unstable_mc_joints": list(_unstable_joints(state.dag.main_chain[oldest_mci : (newest.mci or 0) + 1], state)),
        "witness_change_and_definition_joints": [joint_of(state, state.dag.main_chain[0])],
        "joints": [joint_of(state, record) for record in ordered],
    }
    if chain.balls:
        history["proofchain_balls"] = chain.balls
    told = [response for record in ordered for response in state.responses_by_trigger.get(record.hash, ())]
    responses = [r for r in told if known_until_mci is None or r.mci <= newest_last_ball_mci]
    if responses:
        history["aa_responses"] = [response.row for response in sorted(responses, key=lambda r: r.number)]
    return history


def _newest_first(record: UnitRecord) -> tuple[bool, int, int]:
    """Order as hubs do: newest first, but units that no main chain unit includes yet come last."""
    return (record.mci is None, -(record.mci or 0), -record.level)


def _unstable_range(state: LedgerState, known_until_mci: int | None) -> tuple[UnitRecord, int]:
    """Return the end of the main chain, and the index down from it to which it may be in doubt.

    That reaches to where void units are stripped.
    """
    main_chain = state.dag.main_chain
    if known_until_mci is None:
        return main_chain[-1], state.min_retrievable_mci() + 1
    mci = max(0, min(known_until_mci, len(main_chain) - 1))
    while not main_chain[mci].is_provider:
        mci -= 1
    return main_chain[mci], main_chain[main_chain[mci].last_ball_mci].last_ball_mci + 1


def _unstable_joints(main_chain: Sequence[UnitRecord], state: LedgerState) -> Iterator[JsonValue]:
    """Yield main chain units, newest first, without balls: they are in doubt."""
    for record in reversed(main_chain):
        joint = joint_of(state, record)
        joint.pop("ball", None)
        yield joint


def _stripped(state: LedgerState, record: UnitRecord) -> dict[str, JsonValue]:
    unit = {name: record.unit[name] for name in _KEPT_OF_VOID_UNITS}
    unit["authors"] = [{"address": author} for author in record.authors]
    unit["content_hash"] = content_hash(record.unit, state.network)
    return unit


class _BallChain:
    """Balls from an anchored one down to those asked for, each vouched for by one before it."""

    def __init__(self, state: LedgerState, known_mci: int) -> None:
        self._state = state
        self._known_mci = known_mci
        """The chain has come down to this index; its main chain ball is vouched for already."""
        self.balls: list[JsonValue] = []
        self._told: set[str] = set()

    def reach(self, record: UnitRecord, mci: int) -> None:
        """Extend the chain to a unit; units must come newest first."""
        main_chain = self._state.dag.main_chain
        while self._known_mci > mci:
            self._known_mci = self._next_mci(mci)
            self._add(main_chain[self._known_mci])
        place = main_chain[mci]
        if any(child.hash in self._told for child in self._state.dag.children_of(record)):
            place = record  # a ball told already rests on it
            self._add(record)
        while place is not record:
            parents = [parent for parent in self._state.dag.parents_of(place) if parent.mci == mci]
            place = next(parent for parent in parents if self._state.dag.includes(record, [parent.hash]))
            self._add(place)

    def _next_mci(self, target: int) -> int:
        """Take the longest step down that does not go below the target."""
        steps = [self._known_mci - 1]
        if self.balls:
            current = self._state.dag.main_chain[self._known_mci]
            steps += [self._state.dag.records[link].mci or 0 for link in current.skiplist_units]
        return min(step for step in steps if step >= target)

    def _add(self, record: UnitRecord) -> None:
        if record.hash in self._told:
            return
        self._told.add(record.hash)
        ball: dict[str, JsonValue] = {"unit": record.hash, "ball": record.ball}
        parent_balls: list[str] = sorted(parent.ball for parent in self._state.dag.parents_of(record) if parent.ball)
        link_balls = sorted(str(self._state.dag.records[link].ball) for link in record.skiplist_units)
        if parent_balls:
            ball["parent_balls"] = parent_balls
        if link_balls:
            ball["skiplist_balls"] = link_balls
        if record.sequence == "final-bad":
            ball["is_nonserial"] = True
        self.balls.append(ball)
