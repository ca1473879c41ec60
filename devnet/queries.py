"""What the ledger answers to light clients (Obyte, light client requests).

One function per command, all of them reading only. They take the ledger and the request's `params` as they came and
return the answer, or raise QueryError with the text of an error answer.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from devnet.agent import BASE
from devnet.fees import MAX_AA_RESPONSES
from devnet.parents import offer_parents
from devnet.proofs import joint_of, prove
from devnet.request_fields import MAX_LISTED, QueryError, address_of, is_address_list, is_hash, list_of, object_of
from shared.obyte.chash import is_valid_address

if TYPE_CHECKING:
    from devnet.dag import UnitRecord
    from devnet.ledger import Ledger
    from shared.obyte.serialization import JsonValue

MAX_BALANCE_ADDRESSES = 100
MAX_FROM_ADDRESSES = 16
MAX_OUTPUT_ADDRESSES = 200
HISTORY_TOO_LARGE = "your history is too large, consider switching to a full client"
_COIN_ROOM_BYTES = 2_000
"""What the reference adds to an amount to be picked, for the fees of the unit that will spend it."""
_BALANCE_FIELDS = ("stable", "pending", "stable_outputs_count", "pending_outputs_count", "total")


def get_witnesses(ledger: Ledger, _params: Any) -> JsonValue:
    """Return the order providers, sorted: the trust anchor of light clients."""
    return sorted(ledger.state.votes.op_list)


def get_last_mci(ledger: Ledger, _params: Any) -> JsonValue:
    """Return the index of the newest main chain unit."""
    return len(ledger.state.dag.main_chain) - 1


def get_last_stable_unit_props(ledger: Ledger, _params: Any) -> JsonValue:
    """Return hash, index and timestamp of the newest stable main chain unit."""
    record = ledger.state.last_stable()
    return {"unit": record.hash, "main_chain_index": record.mci, "timestamp": record.timestamp_s}


def get_system_vars(ledger: Ledger, _params: Any) -> JsonValue:
    """Return the system variables with their history."""
    return ledger.state.votes.as_json()


def get_joint(ledger: Ledger, params: Any) -> JsonValue:
    """Return a joint, without ball while the ledger might still be asked to prove it."""
    if not isinstance(params, str) or not params:
        raise QueryError("unit must be a string")
    record = ledger.state.dag.records.get(params)
    if record is None:
        return {"joint_not_found": params}
    joint = joint_of(ledger.state, record)
    if record.mci is not None and record.mci > ledger.state.min_retrievable_mci():
        joint.pop("ball", None)
        joint.pop("skiplist_units", None)
    return {"joint": joint}


def get_history(ledger: Ledger, params: Any, known_until_mci: int | None = None) -> JsonValue:
    """Return all units of addresses, and units asked for by hash, with their proof; `{}` when there are none.

    `known_until_mci` makes it the answer of a hub that knows no later main chain unit, nor what came with those.
    """
    request = object_of(params, "no history request")
    addresses = list_of(request, "addresses", is_valid_address)
    requested = list_of(request, "requested_joints", is_hash)
    if addresses is None and requested is None:
        raise QueryError("neither addresses nor joints requested")
    witnesses = request.get("witnesses")
    if not isinstance(witnesses, list) or len(witnesses) != ledger.network.order_provider_count:
        raise QueryError("wrong number of witnesses")
    known = set(list_of(request, "known_stable_units", is_hash) or ())
    min_mci = request.get("min_mci") or 0
    if type(min_mci) is not int or min_mci < 0:
        raise QueryError("min_mci should be non negative integer")
    found = {
        record.hash: record
        for record in _units_of(ledger, addresses or (), requested or (), min_mci)
        if record.hash not in known
        and (record.sequence == "good" or record.is_stable)
        and (known_until_mci is None or (record.mci is not None and record.mci <= known_until_mci))
    }
    if len(found) > MAX_LISTED:
        raise QueryError(HISTORY_TOO_LARGE)
    if not found:
        return {}
    if ledger.provider_address not in witnesses:
        raise QueryError("your witness list might be too much off, too few witness authored units")
    return prove(ledger.state, found.values(), known_until_mci)


def get_parents(ledger: Ledger, params: Any) -> JsonValue:
    """Return where a unit should attach now and what the network charges for its arrival."""
    request = object_of(params, "no params in get_parents_and_last_ball_and_witness_list_unit")
    witnesses = request.get("witnesses", list(ledger.state.votes.op_list))
    if not isinstance(witnesses, list) or len(witnesses) != ledger.network.order_provider_count:
        raise QueryError("wrong number of witnesses")
    if not all(map(is_valid_address, witnesses)):
        raise QueryError("bad witness addresses")
    responses = request.get("max_aa_responses") or 0
    if type(responses) is not int or not 0 <= responses <= MAX_AA_RESPONSES:
        raise QueryError("bad max_aa_responses")
    senders, paid = request.get("from_addresses"), request.get("output_addresses")
    if not is_address_list(senders, MAX_FROM_ADDRESSES):
        raise QueryError("bad from addresses")
    if not is_address_list(paid, MAX_OUTPUT_ADDRESSES):
        raise QueryError("bad output addresses")
    return offer_parents(ledger.state, ledger.now_s(), senders, paid, responses).as_json()


def get_definition(ledger: Ledger, params: Any) -> JsonValue:
    """Return the definition of an address or agent, also one that is not stable yet; null when unknown."""
    address, state = address_of(params), ledger.state
    agent = state.agents.get(address)
    if agent is not None:
        return agent.definition
    return state.known_definitions.get(address)


def get_definition_for_address(ledger: Ledger, params: Any) -> JsonValue:
    """Return the definition in force for an address and whether it is stable."""
    address = address_of(object_of(params, "no params").get("address"))
    stable = ledger.state.definitions.get(address)
    definition = stable[0] if stable else ledger.state.known_definitions.get(address)
    if definition is None:
        return {"definition_chash": address, "is_stable": True}
    return {"definition_chash": address, "definition": definition, "is_stable": stable is not None}


def get_definition_chash(_ledger: Ledger, params: Any) -> JsonValue:
    """Return the hash of the definition in force: definitions never change on this ledger."""
    return address_of(object_of(params, "no params in light/get_definition_chash").get("address"))


def get_balances(ledger: Ledger, params: Any) -> JsonValue:
    """Return stable and pending sums of unspent outputs by address and asset."""
    if not isinstance(params, list) or not params:
        raise QueryError("addresses must be non-empty array")
    if len(params) > MAX_BALANCE_ADDRESSES:
        raise QueryError("too many addresses")
    balances = {address: _balance(ledger, address) for address in map(address_of, params)}
    return {address: balance for address, balance in balances.items() if balance}


def pick_divisible_coins(ledger: Ledger, params: Any) -> JsonValue:
    """Return coins of addresses worth an amount and some room for fees, largest first; none when there are too few."""
    request = object_of(params, "no params in light/pick_divisible_coins_for_amount")
    addresses, amount = request.get("addresses"), request.get("amount")
    last_ball_mci, asset = request.get("last_ball_mci"), request.get("asset") or BASE
    if not is_address_list(addresses, MAX_FROM_ADDRESSES):
        raise QueryError("some addresses are not valid")
    if type(amount) is not int or amount < 1 or type(last_ball_mci) is not int:
        raise QueryError("amount or last_ball_mci is not valid")
    policy = request.get("spend_unconfirmed") or "own"
    if policy not in {"none", "own", "all"}:
        raise QueryError("spend_unconfirmed is not valid")
    records = ledger.state.dag.records
    coins = [
        coin
        for address in addresses
        for coin in ledger.state.outputs.unspent(address)
        if coin.asset == asset and _may_spend(records[coin.outpoint.unit], policy, addresses, last_ball_mci)
    ]
    needed = amount + (_COIN_ROOM_BYTES if asset == BASE else 0)
    picked: list[JsonValue] = []
    total = 0
    for coin in sorted(coins, key=lambda coin: -coin.amount):
        place = coin.outpoint
        picked.append({"input": {**asdict(place)}})
        total += coin.amount
        if total > needed:
            return {"inputs_with_proofs": picked, "total_amount": total}
    return {"inputs_with_proofs": [], "total_amount": 0}


def _units_of(
    ledger: Ledger, addresses: list[str] | tuple[()], requested: list[str] | tuple[()], min_mci: int
) -> list[UnitRecord]:
    state = ledger.state
    found = [
        record
        for address in addresses
        for record in state.units_by_address.get(address, ())
        if record.mci is None or record.mci >= min_mci
    ]
    triggers = {r.trigger_unit for address in addresses for r in state.responses_by_agent.get(address, ())}
    found += [record for record in map(state.dag.records.__getitem__, triggers) if (record.mci or 0) >= min_mci]
    return found + [state.dag.records[unit] for unit in requested if unit in state.dag.records]


def _balance(ledger: Ledger, address: str) -> dict[str, JsonValue]:
    sums: dict[str, dict[str, int]] = {}
    for coin in ledger.state.outputs.unspent(address):
        record = ledger.state.dag.records[coin.outpoint.unit]
        if record.sequence != "good":
            continue
        for asset in (BASE, coin.asset):
            sums.setdefault(asset, dict.fromkeys(_BALANCE_FIELDS, 0))
        kind = "stable" if record.is_stable else "pending"
        sums[coin.asset][kind] += coin.amount
        sums[coin.asset][f"{kind}_outputs_count"] += 1
        sums[coin.asset]["total"] += coin.amount
    return {asset: dict(balance) for asset, balance in sums.items()}


def _may_spend(record: UnitRecord, policy: str, addresses: list[str], last_ball_mci: int) -> bool:
    if record.sequence != "good":
        return False
    is_settled = record.is_stable and record.mci is not None and record.mci <= last_ball_mci
    is_own = not set(record.authors).isdisjoint(addresses)
    return is_settled or policy == "all" or (policy == "own" and is_own)
