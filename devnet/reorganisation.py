"""What may still change about units that are not stable: who wins a conflict, units that vanish, responses made anew.

All of it happens on the real network too, seen from a light client: a hub learns of the rival first, a unit never
gets around, an agent's answer that a hub made early is made again on other parents. Nothing stable is ever touched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from devnet.state import disclosed_definitions, touched_addresses
from shared.obyte.units import headers_commission, unit_hash

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.state import LedgerState


class ReorganisationError(ValueError):
    """What was asked for cannot happen any more, or never could; the text says why."""


def prefer(state: LedgerState, record: UnitRecord) -> None:
    """Let a unit in conflict win: the provider takes no notice of its rivals until the unit is stable.

    Raises ReorganisationError unless neither it nor a rival has an index yet.
    """
    rivals = _rivals(state, record)
    if not rivals:
        raise ReorganisationError("the unit is in conflict with no other one")
    if any(unit.mci is not None for unit in (record, *rivals)):
        raise ReorganisationError("the order of the unit and its rivals is decided already")
    state.shunned.update({rival.hash: record.hash for rival in rivals})


def forget(state: LedgerState, record: UnitRecord) -> list[UnitRecord]:
    """Remove a unit and all that stands on it, as if it had never been; return what was removed.

    Raises ReorganisationError when the main chain includes it.
    """
    doomed = {record.hash: record}
    stack = [record]
    while stack:
        for child in state.dag.children_of(stack.pop()):
            if child.hash not in doomed:
                doomed[child.hash] = child
                stack.append(child)
    if any(unit.mci is not None for unit in doomed.values()):
        raise ReorganisationError("the main chain includes the unit: it stays")
    if any(unit.is_agent for unit in doomed.values()):
        raise ReorganisationError("an agent's unit does not vanish, it can be made anew")
    removed = sorted(doomed.values(), key=lambda unit: -unit.level)
    for unit in removed:
        _remove(state, unit)
    return removed


def recreate(state: LedgerState, record: UnitRecord) -> UnitRecord:
    """Make an agent's answer anew, on newer parents: the same messages in a unit of another hash, which is returned.

    Raises ReorganisationError when it is not an agent's, has an index, or something stands on it.
    """
    if not record.is_agent or record.mci is not None or any(state.dag.children_of(record)):
        raise ReorganisationError("only an agent's newest unit without an index can be made anew")
    parents = _newer_parents(state, record)
    if parents == record.parents:
        raise ReorganisationError("there are no newer parents yet")
    unit: dict[str, Any] = record.unit | {"parent_units": list(parents)}
    unit["headers_commission"] = headers_commission(unit, state.network)
    unit["unit"] = unit_hash(unit, state.network)
    place = state.dag.place_on(parents)
    again = replace(
        record,
        hash=unit["unit"],
        unit=unit,
        parents=parents,
        level=place.level,
        best_parent=place.best_parent,
        witnessed_level=place.witnessed_level,
        provider_count=place.provider_count,
    )
    _remove(state, record)
    state.add(again)
    state.agent_units = [again if unit is record else unit for unit in state.agent_units]
    for response in state.responses_by_agent[record.authors[0]]:
        if response.full["response_unit"] == record.hash:
            response.full.update(response_unit=again.hash, objResponseUnit=again.unit)
            response.row["response_unit"] = again.hash
    return again


def _rivals(state: LedgerState, record: UnitRecord) -> list[UnitRecord]:
    return [
        other
        for author in record.authors
        for other in state.live_units_by_author.get(author, ())
        if not state.dag.includes(other, [record.hash]) and not state.dag.includes(record, [other.hash])
    ]


def _newer_parents(state: LedgerState, record: UnitRecord) -> tuple[str, ...]:
    """Add the main chain unit before the last, and leave out parents that it includes.

    Were it the last one, other units might find no end left to grow from that is no agent's.
    """
    newest = state.dag.main_chain[-2]
    older = [parent for parent in state.dag.parents_of(record) if not state.dag.includes(parent, [newest.hash])]
    if any(state.dag.includes(newest, [parent.hash]) for parent in older):
        return record.parents
    return tuple(sorted({newest.hash, *(parent.hash for parent in older)}))


def _remove(state: LedgerState, record: UnitRecord) -> None:
    if record.sequence != "final-bad":
        state.void(record)
    state.dag.remove(record)
    state.fees.forget(record)
    state.shunned = {loser: winner for loser, winner in state.shunned.items() if record.hash not in (loser, winner)}
    for address in touched_addresses(record):
        state.units_by_address[address].remove(record)
    for address, _ in disclosed_definitions(record.unit):
        others = (other.unit for other in state.units_by_address.get(address, ()))
        if not any(address == told for unit in others for told, _ in disclosed_definitions(unit)):
            state.known_definitions.pop(address, None)
