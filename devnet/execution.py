"""Executes triggers when they become stable: agent, response unit, books and the response that hubs tell of."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from devnet.agent import BASE, BOUNCE_FEE_BYTES, Message, Response, Trigger, bounce, trigger
from devnet.composer import DUST_BYTES, CannotSendError, Coins, ResponseUnit, compose_response
from devnet.dag import UnitRecord
from devnet.outputs import LedgerOutput, outputs_of
from devnet.packages import package_verifier
from devnet.responses import AgentResponse, Outcome, full_response, remembered
from shared.obyte.coins import Outpoint

if TYPE_CHECKING:
    from devnet.state import Agent, LedgerState
    from shared.obyte.serialization import JsonValue


def execute_triggers(state: LedgerState, mci: int, now_s: float) -> list[AgentResponse]:
    """Execute all triggers of a newly stable index, in order of (level, hash), and return the responses."""
    responses: list[AgentResponse] = []
    for record in state.dag.by_mci[mci]:
        if record.sequence != "good" or record.is_agent:
            continue
        paid = {output.address for output in outputs_of(record.hash, record.unit)}
        addresses = sorted(paid & state.agents.keys())
        responses += [_execute(state, record, state.agents[address], mci, now_s) for address in addresses]
    return responses


def dry_run(state: LedgerState, agent: Agent, event: Trigger) -> dict[str, JsonValue]:
    """Return the response an imagined trigger would get now, its coins lying on the last stable unit."""
    main_chain_unit = state.last_stable()
    messages: Any = main_chain_unit.unit["messages"]
    imagined = [
        LedgerOutput(Outpoint(main_chain_unit.hash, len(messages) + index, 0), agent.params.address, asset, amount)
        for index, (asset, amount) in enumerate(event.outputs.items())
    ]
    coins = _coins(state, agent.params.address, state.last_stable_mci)
    imagined_coins = Coins((*coins.stable, *imagined), coins.from_agents)
    mci = state.last_stable_mci
    outcome = _decide(state, agent, event, imagined_coins, mci, (main_chain_unit.hash,))
    full = full_response(agent.params.address, agent.state, event, outcome, mci)
    if event.outputs.get(BASE, 0) >= BOUNCE_FEE_BYTES:
        full["logs"] = []  # of the formulas evaluated: the agent's log nothing, and below its fee none is reached
    return full


def trigger_of(record: UnitRecord, agent_address: str, timestamp_s: int) -> Trigger:
    """Read what a unit brings to an agent."""
    outputs: dict[str, int] = {}
    for output in outputs_of(record.hash, record.unit):
        if output.address == agent_address:
            outputs[output.asset] = outputs.get(output.asset, 0) + output.amount
    messages: Any = record.unit["messages"]
    data = next((message["payload"] for message in messages if message["app"] == "data"), None)
    return Trigger(record.authors[0], record.hash, outputs, data, timestamp_s)


def _execute(state: LedgerState, record: UnitRecord, agent: Agent, mci: int, now_s: float) -> AgentResponse:
    address = agent.params.address
    main_chain_unit = state.dag.main_chain[mci]
    event = trigger_of(record, address, main_chain_unit.timestamp_s + state.agents_ahead_s)
    coins, parents = _coins(state, address, mci), _parents(state, main_chain_unit)
    outcome = _decide(state, agent, event, coins, mci, parents, is_second=record.response_count > 0)
    full = full_response(address, agent.state, event, outcome, mci)
    full["allBalances"] = {address: dict(outcome.balances)}
    agent.state = outcome.response.state
    agent.balances = outcome.balances
    record.response_count += 1
    if outcome.sent:
        _add(state, outcome.sent, main_chain_unit)
    response = remembered(state.response_count, full, mci, now_s)
    state.remember(response)
    return response


def _decide(
    state: LedgerState,
    agent: Agent,
    event: Trigger,
    coins: Coins,
    mci: int,
    parents: tuple[str, ...],
    *,
    is_second: bool = False,
) -> Outcome:
    """Let the agent answer, and make it a bounce when it cannot pay for its answer or another one was triggered."""
    received = dict(agent.balances)
    for asset, amount in event.outputs.items():
        received[asset] = received.get(asset, 0) + amount
    verify = package_verifier(state.network, state.definition_at_unit)
    response = trigger(agent.state, agent.params, event, verify, state.agents.__contains__)
    error = response.error
    if is_second and isinstance(error, dict | None):
        error = "a second primary trigger from the same unit is not allowed"
    if error is None:
        try:
            return _send(state, agent, response, coins, received, mci, parents)
        except CannotSendError as failure:
            error = failure.message
    turned_down = bounce(agent.state, event, error)
    try:
        return _send(state, agent, turned_down, coins, received, mci, parents)
    except CannotSendError as failure:
        silent = replace(turned_down, messages=(), error=f"{_text(error)}, then {failure.message}")
        return Outcome(silent, None, received)


def _send(
    state: LedgerState,
    agent: Agent,
    response: Response,
    coins: Coins,
    received: dict[str, int],
    mci: int,
    parents: tuple[str, ...],
) -> Outcome:
    _refuse_secondary_triggers(state, agent, response.messages)
    sent = None
    if response.messages:
        sent = compose_response(
            state.network,
            agent.params.address,
            response.messages,
            coins,
            main_chain_unit=state.dag.main_chain[mci],
            parents=parents,
            storage_size=agent.state.storage_size(),
        )
    balances = _balances_after(received, agent.params.address, sent)
    size = response.state.storage_size()
    if not response.bounced and balances.get(BASE, 0) < size and size > DUST_BYTES:
        raise CannotSendError(f"byte balance {balances.get(BASE, 0)} would drop below new storage size {size}")
    return Outcome(response, sent, balances)


def _refuse_secondary_triggers(state: LedgerState, agent: Agent, messages: tuple[Message, ...]) -> None:
    for message in messages:
        for output in getattr(message, "outputs", ()):
            if output.address in state.agents and output.address != agent.params.address:
                # Agents here take nothing from other agents, and what one agent refuses fails the other one's answer.
                raise CannotSendError("one of secondary AAs bounced with error: ")


def _balances_after(received: dict[str, int], address: str, sent: ResponseUnit | None) -> dict[str, int]:
    balances = dict(received)
    if sent is None:
        return balances
    for coin in sent.spent:
        balances[coin.asset] = balances.get(coin.asset, 0) - coin.amount
    for output in outputs_of("", sent.unit):
        if output.address == address:
            balances[output.asset] = balances.get(output.asset, 0) + output.amount
    return balances


def _coins(state: LedgerState, address: str, mci: int) -> Coins:
    stable, from_agents = [], []
    for coin in state.outputs.unspent(address):
        record = state.dag.records[coin.outpoint.unit]
        if record.sequence != "good":
            continue
        if record.mci is not None and record.mci <= mci:
            stable.append((record.mci, coin.outpoint.unit, coin.outpoint.output_index, coin))
        elif record.is_agent:
            from_agents.append((record.level, coin.outpoint.unit, coin.outpoint.output_index, coin))
    stable.sort(key=lambda entry: entry[:3])
    from_agents.sort(key=lambda entry: entry[:3])
    return Coins([entry[3] for entry in stable], [entry[3] for entry in from_agents])


def _parents(state: LedgerState, main_chain_unit: UnitRecord) -> tuple[str, ...]:
    """Grow from the newest response if that is not below the main chain unit, and so keep responses in one chain."""
    if not state.agent_units:
        return (main_chain_unit.hash,)
    newest = state.agent_units[-1]
    if state.dag.includes(main_chain_unit, [newest.hash]):
        return (newest.hash,)
    if state.dag.includes(newest, [main_chain_unit.hash]):
        return (main_chain_unit.hash,)
    return tuple(sorted((newest.hash, main_chain_unit.hash)))


def _add(state: LedgerState, sent: ResponseUnit, main_chain_unit: UnitRecord) -> None:
    unit: dict[str, Any] = sent.unit
    parents = tuple(unit["parent_units"])
    place = state.dag.place_on(parents)
    record = UnitRecord(
        hash=unit["unit"],
        unit=unit,
        authors=(unit["authors"][0]["address"],),
        parents=parents,
        level=place.level,
        best_parent=place.best_parent,
        witnessed_level=place.witnessed_level,
        provider_count=place.provider_count,
        timestamp_s=unit["timestamp"],
        last_ball_mci=main_chain_unit.last_ball_mci,
        is_agent=True,
    )
    state.add(record)
    state.agent_units.append(record)


def _text(error: JsonValue) -> str:
    return str(error["message"]) if isinstance(error, dict) else str(error)
