"""What the ledger answers about agents (Obyte, light client requests)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from devnet.agent import BASE, Trigger
from devnet.execution import dry_run
from devnet.proofs import joint_of
from devnet.request_fields import MAX_LISTED, QueryError, address_of, is_address_list, is_amount, is_hash, object_of
from shared.obyte.chash import is_valid_address
from shared.obyte.errors import ObyteError
from shared.obyte.serialization import JsonValue, json_source

if TYPE_CHECKING:
    from devnet.ledger import Ledger
    from devnet.responses import AgentResponse
    from devnet.state import Agent

MAX_RESPONSES = 100
MAX_AGENTS = 20


def get_aa_balances(ledger: Ledger, params: Any) -> JsonValue:
    """Return what an agent owns by executed triggers."""
    address = address_of(object_of(params, "no params in light/get_aa_balances").get("address"))
    agent = ledger.state.agents.get(address)
    return {"balances": dict(agent.balances) if agent else {}}


def get_aa_state_vars(ledger: Ledger, params: Any) -> JsonValue:
    """Return an agent's state variables, all or those in a range of names."""
    request = object_of(params, "no params in light/get_aa_state_vars")
    address = address_of(request.get("address"))
    low, high = request.get("var_prefix_from", ""), request.get("var_prefix_to", "")
    if "var_prefix" in request:
        low = high = request["var_prefix"]
    limit = request.get("limit", MAX_LISTED)
    if not isinstance(low, str) or not isinstance(high, str):
        raise QueryError("var_prefix must be string")
    if type(limit) is not int or not 1 <= limit <= MAX_LISTED:
        raise QueryError(f"limit must be a positive integer, at most {MAX_LISTED}")
    agent = ledger.state.agents.get(address)
    if agent is None:
        if ledger.state.is_known_agent(address):
            return {}
        raise QueryError("not an AA")
    variables = sorted(agent.state.variables().items())
    last = "\uffff"
    chosen = [(name, value) for name, value in variables if low <= name and (not high or name <= high + last)]
    return dict(chosen[:limit])


def dry_run_aa(ledger: Ledger, params: Any) -> JsonValue:
    """Return what an agent would answer to a trigger, as a list of one response."""
    request = object_of(params, "no params in light/dry_run_aa")
    agent = _agent(ledger, request.get("address"))
    event = _trigger(ledger, object_of(request.get("trigger"), "no trigger"))
    return [dry_run(ledger.state, agent, event)]


def get_aa_responses(ledger: Ledger, params: Any) -> JsonValue:
    """Return up to 100 responses of agents within a range of main chain indexes, newest first unless asked."""
    request = object_of(params, "no params in light/get_aa_responses")
    agents = request.get("aas") or [request.get("aa")]
    if not is_address_list(agents, MAX_AGENTS):
        raise QueryError("aa address not valid, or too many aas")
    low, high = request.get("min_mci", 0), request.get("max_mci", len(ledger.state.dag.main_chain))
    if type(low) is not int or type(high) is not int:
        raise QueryError("min_mci and max_mci must be positive integers")
    order = request.get("order", "DESC")
    if order not in {"ASC", "DESC"}:
        raise QueryError("bad order")
    found = [r for aa in agents for r in ledger.state.responses_by_agent.get(aa, ()) if low <= r.mci <= high]
    found.sort(key=lambda response: response.number, reverse=order == "DESC")
    return [_listed(ledger, response) for response in found[:MAX_RESPONSES]]


def get_aa_response_chain(ledger: Ledger, params: Any) -> JsonValue:
    """Return the responses a trigger caused; agents here never trigger each other, so there is one at most."""
    trigger_unit = object_of(params, "no params in light/get_aa_response_chain").get("trigger_unit")
    if not is_hash(trigger_unit):
        raise QueryError("invalid trigger unit in light/get_aa_response_chain")
    responses = ledger.state.responses_by_trigger.get(str(trigger_unit), ())
    if not responses:
        raise QueryError("no such trigger unit in light/get_aa_response_chain")
    return [_listed(ledger, response) for response in responses]


def _listed(ledger: Ledger, response: AgentResponse) -> JsonValue:
    full = response.full
    listed = {key: full[key] for key in ("mci", "trigger_address", "aa_address", "trigger_unit")}
    listed["bounced"] = int(bool(full["bounced"]))
    listed["response_unit"] = full["response_unit"]
    listed["response"] = full["response"]
    listed["timestamp"] = ledger.state.dag.records[response.trigger_unit].timestamp_s
    sent = ledger.state.dag.records.get(str(full["response_unit"]))
    if sent is not None:
        listed["objResponseUnit"] = joint_of(ledger.state, sent)["unit"]
    return listed


def _trigger(ledger: Ledger, told: dict[str, Any]) -> Trigger:
    outputs = told.get("outputs")
    if not told.keys() <= {"address", "data", "outputs", "max_aa_responses"}:
        raise QueryError("unexpected trigger fields")
    if not is_valid_address(told.get("address")):
        raise QueryError("bad trigger address")
    if told["address"] in ledger.state.agents:
        raise QueryError("trigger address must not be an AA")
    if not isinstance(outputs, dict) or not outputs or not all(map(is_amount, outputs.values())):
        raise QueryError("no trigger outputs, or an invalid output amount")
    if BASE not in outputs:
        raise QueryError("no base payment")
    if any(asset != BASE and asset not in ledger.state.assets for asset in outputs):
        raise QueryError("unknown asset")
    try:
        if told.get("data"):
            json_source(told["data"])
    except ObyteError as error:
        raise QueryError(f"invalid trigger data: {error.text}") from None
    timestamp_s = ledger.state.last_stable().timestamp_s
    return Trigger(told["address"], ledger.network.genesis_unit, outputs, told.get("data"), timestamp_s)


def _agent(ledger: Ledger, address: Any) -> Agent:
    agent = ledger.state.agents.get(address_of(address))
    if agent is None:
        raise QueryError("not an AA")
    return agent
