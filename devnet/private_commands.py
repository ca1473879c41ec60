"""Requests that no real hub knows: the faucet, time that passes when told to, and everything that can go wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from devnet.agent import BASE
from devnet.controls import CONTROLS
from devnet.request_fields import QueryError, is_amount, object_of
from shared.obyte.agents import PUBLISHABLE_VERSIONS
from shared.obyte.units import MAX_AMOUNT

if TYPE_CHECKING:
    from collections.abc import Callable

    from devnet.hub import Hub
    from shared.obyte.serialization import JsonValue

MAX_SKIPPED_S = 10**9

PrivateCommand: TypeAlias = "Callable[[Hub, Any], JsonValue]"


def fund(hub: Hub, params: Any) -> JsonValue:
    """`{address, amount, asset?}` -> `{unit}`: send money from the faucet."""
    request = object_of(params, "no params in devnet/fund")
    address, amount, asset = request.get("address"), request.get("amount"), request.get("asset", BASE)
    if amount is None or not is_amount(amount):
        raise QueryError("amount must be a positive integer")
    if not isinstance(address, str) or not isinstance(asset, str):
        raise QueryError("address and asset must be strings")
    return {"unit": hub.ledger.treasury.fund(address, amount, asset).hash}


def issue(hub: Hub, params: Any) -> JsonValue:
    """`{cap?}` -> `{asset}`: make a new asset, all of it in the faucet."""
    cap = params.get("cap", MAX_AMOUNT) if isinstance(params, dict) else MAX_AMOUNT
    if not is_amount(cap) or cap > MAX_AMOUNT:
        raise QueryError(f"cap must be an integer from 1 to {MAX_AMOUNT}")
    return {"asset": hub.ledger.treasury.issue(cap)}


def publish_agent(hub: Hub, params: Any) -> JsonValue:
    """`{version}` -> `{unit}`: publish a channels agent of ours, with which the ledger does not begin."""
    version = object_of(params, "no params in devnet/publish_agent").get("version")
    if version not in PUBLISHABLE_VERSIONS:
        raise QueryError(f"version must be one of {', '.join(sorted(PUBLISHABLE_VERSIONS))}")
    return {"unit": hub.ledger.treasury.publish(str(version)).hash}


def skip_time(hub: Hub, params: Any) -> JsonValue:
    """`{seconds, agents_only?}` -> `{now, agents_now}`: let time pass at once, for agents alone unless told otherwise.

    With `agents_only` false it passes for the whole ledger, and honest clients stop: its units come from their future,
    so they refuse them, histories and all, until their own clocks have caught up.
    """
    request = object_of(params, "no params in devnet/skip_time")
    seconds, agents_only = request.get("seconds"), request.get("agents_only", True)
    if type(seconds) is not int or not 0 <= seconds <= MAX_SKIPPED_S or not isinstance(agents_only, bool):
        raise QueryError(f"seconds must be an integer from 0 to {MAX_SKIPPED_S}, agents_only true or false")
    if agents_only:
        hub.ledger.skip_agent_time(seconds)
    else:
        hub.ledger.skip_time(seconds)
    now_s = hub.ledger.now_s()
    return {"now": now_s, "agents_now": now_s + hub.ledger.state.agents_ahead_s}


def stabilise(hub: Hub, _params: Any) -> JsonValue:
    """No params -> `{last_stable_mci}`: make all that was posted stable and provable now."""
    hub.ledger.settle()
    return {"last_stable_mci": hub.ledger.state.last_stable_mci}


PRIVATE_COMMANDS: dict[str, PrivateCommand] = {
    "devnet/fund": fund,
    "devnet/issue": issue,
    "devnet/publish_agent": publish_agent,
    "devnet/skip_time": skip_time,
    "devnet/stabilise": stabilise,
    **CONTROLS,
}
