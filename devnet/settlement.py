"""What happens when a main chain index becomes stable: conflicts end, balls are made, news takes effect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devnet.outputs import outputs_of
from devnet.payloads import read_agent_definition
from devnet.state import Agent, Asset, LedgerState
from shared.obyte.hashing import ball_hash

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devnet.dag import UnitRecord


def stabilise(state: LedgerState, mci: int) -> None:
    """Settle the units of the next main chain index."""
    units = state.dag.by_mci[mci]
    for record in units:
        record.is_stable = True
    for record in sorted(units, key=lambda record: record.hash):
        if record.sequence == "temp-bad":
            _decide(state, record)
    skiplist = [state.dag.main_chain[earlier] for earlier in skiplist_mcis(mci)]
    for record in units:
        links = skiplist if record.is_on_main_chain else []
        record.skiplist_units = tuple(sorted(link.hash for link in links))
        parent_balls = [parent.ball for parent in state.dag.parents_of(record) if parent.ball]
        link_balls = [link.ball for link in links if link.ball]
        record.ball = ball_hash(record.hash, parent_balls, link_balls, record.sequence == "final-bad")
    state.last_stable_mci = mci
    for record in units:
        if record.sequence == "good":
            _publish(state, record, mci)


def skiplist_mcis(mci: int) -> Iterator[int]:
    """Yield the indexes a main chain unit links to besides its parents: one step of every power of ten it ends in."""
    step = 10
    while mci and mci % step == 0:
        yield mci - step
        step *= 10


def _decide(state: LedgerState, record: UnitRecord) -> None:
    """Let a unit in conflict win unless one it conflicts with has won already."""
    rivals = (
        rival
        for author in record.authors
        for rival in state.live_units_by_author[author]
        if rival.is_stable and rival.sequence == "good"
    )
    lost = any(_unrelated(state, record, rival) for rival in rivals)
    if lost:
        _void(state, record)
    else:
        record.sequence = "good"
        state.end_disputes(record)


def _unrelated(state: LedgerState, left: UnitRecord, right: UnitRecord) -> bool:
    return not state.dag.includes(left, [right.hash]) and not state.dag.includes(right, [left.hash])


def _void(state: LedgerState, record: UnitRecord) -> None:
    """Void a unit and, before it, every unit that lives on its money."""
    for output in outputs_of(record.hash, record.unit):
        for spender in state.outputs.spenders(output.outpoint):
            if state.dag.records[spender].sequence != "final-bad":
                _void(state, state.dag.records[spender])
    state.void(record)


def _publish(state: LedgerState, record: UnitRecord, mci: int) -> None:
    unit: dict[str, Any] = record.unit
    for author in unit["authors"]:
        if "definition" in author:
            state.definitions.setdefault(author["address"], (author["definition"], mci))
    for message in unit["messages"]:
        if message["app"] == "asset":
            state.assets[record.hash] = Asset(message["payload"]["cap"], record.authors[0], mci)
        elif message["app"] == "definition":
            _publish_agent(state, record.hash, message["payload"], mci)


def _publish_agent(state: LedgerState, unit_hash: str, payload: dict[str, Any], mci: int) -> None:
    params = read_agent_definition(payload)
    if params.address not in state.agents:
        agent = Agent(params, payload["definition"], unit_hash, mci)
        # What was paid before there was an agent triggered nothing, but belongs to it.
        for output in state.outputs.unspent(params.address):
            payer = state.dag.records[output.outpoint.unit]
            if payer.sequence == "good" and payer.mci is not None and payer.mci < mci:
                agent.balances[output.asset] = agent.balances.get(output.asset, 0) + output.amount
        state.agents[params.address] = agent
