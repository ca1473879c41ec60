"""The forms in which hubs tell of an agent's response (Obyte, `light/aa_response` and `aa_responses` of histories)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devnet.agent import AgentState, Response, Trigger
    from devnet.composer import ResponseUnit
    from shared.obyte.serialization import JsonValue


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trigger does to an agent; `balances` are those after it."""

    response: Response
    sent: ResponseUnit | None
    balances: dict[str, int]


@dataclass(frozen=True, slots=True)
class AgentResponse:
    """What came of a trigger: the object form that is pushed, and the entry in histories made from it.

    `number` counts all responses of the ledger in the order they were made.
    """

    number: int
    trigger_unit: str
    aa_address: str
    mci: int
    full: dict[str, JsonValue] = field(repr=False)
    row: dict[str, JsonValue] = field(repr=False)


def full_response(address: str, before: AgentState, event: Trigger, outcome: Outcome, mci: int) -> dict[str, JsonValue]:
    """Return the object form: everything there is to know, none of it proven."""
    sent, response = outcome.sent, outcome.response
    full: dict[str, JsonValue] = {
        "mci": mci,
        "timestamp": event.timestamp_s,
        "trigger_address": event.address,
        "trigger_initial_address": event.address,
        "trigger_unit": event.unit,
        "trigger_initial_unit": event.unit,
        "aa_address": address,
        "bounced": response.bounced,
        "response_unit": sent.unit["unit"] if sent else None,
        "objResponseUnit": sent.unit if sent else None,
        "response": {"error": response.error} if response.bounced else {},
        "balances": dict(outcome.balances),
    }
    if not response.bounced:
        full["updatedStateVars"] = {address: _assigned(before, response.state)}
    return full


def remembered(number: int, full: dict[str, JsonValue], mci: int, now_s: float) -> AgentResponse:
    """Return a response as the ledger keeps it."""
    row = {key: full[key] for key in ("mci", "trigger_address", "aa_address", "trigger_unit")}
    row["bounced"] = int(bool(full["bounced"]))
    if full["response_unit"] is not None:
        row["response_unit"] = full["response_unit"]
    row["response"] = json.dumps(full["response"], separators=(",", ":"))
    row["timestamp"] = full["timestamp"]
    row["creation_date"] = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return AgentResponse(number, str(full["trigger_unit"]), str(full["aa_address"]), mci, full, row)


def _assigned(before: AgentState, after: AgentState) -> dict[str, JsonValue]:
    """Tell which variables a response assigned, as far as that changed anything."""
    old, new = before.variables(), after.variables()
    told: dict[str, JsonValue] = {}
    for name in {**old, **new}:
        value, previous = new.get(name), old.get(name)
        if value == previous:
            continue
        if previous is None and name.startswith("balance"):
            previous = 0  # the one kind of variable that is added to without looking whether it exists
        change: dict[str, JsonValue] = {"value": False if value is None else value}
        if previous is not None:
            change["old_value"] = previous
        if isinstance(value, int) and isinstance(previous, int):
            change["delta"] = value - previous
        told[name] = change
    return told
