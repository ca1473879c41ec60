"""Between the channel's agent and the rules: its proven responses become ledger events, decisions become its data.

Source: the channels agent 1.1 (Obyte). The agent answers every accepted trigger with a unit of its own whose first
data message is read here. Only units proven stable are; whatever such a unit says is true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.channels.closing import Close, Confirm, FraudProof, Trigger
from shared.channels.ledger import Closed, Closing, LedgerEvent, Opened, Refused
from shared.channels.model import MAX_AMOUNT
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.obyte.serialization import JsonValue, parse_js_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.channels.model import Channel
    from shared.obyte.history import ProvenUnit


def events_of(channel: Channel, units: Iterable[ProvenUnit]) -> list[tuple[LedgerEvent, ProvenUnit]]:
    """Return what the agent of the channel tells in these units, each event once, in the order of their numbers."""
    found = {}
    for proven in units:
        event = _event_of(channel, proven)
        if event is not None:
            found[event.event_id] = (event, proven)
    return [found[event_id] for event_id in sorted(found)]


def trigger_data(trigger: Trigger) -> dict[str, JsonValue]:
    """Return the data that tells the agent a decision. It may hold the claim, a secret until it is posted."""
    match trigger:
        case Close(period=period, transferred_from_me=transferred, claim=claim):
            data: dict[str, JsonValue] = {"close": 1, "period": period}
            if transferred:
                data["transferredFromMe"] = transferred
            if claim is not None:
                data["sentByPeer"] = parse_js_json(claim)
        case Confirm(period=period, additional_from_me=additional):
            data = {"confirm": 1, "period": period}
            if additional:
                data["additionalTransferredFromMe"] = additional
        case FraudProof(period=period, claim=claim):
            data = {"fraud_proof": 1, "period": period, "sentByPeer": parse_js_json(claim)}
    return data


def is_closing_by_peer(unit: Mapping[str, JsonValue], channel: Channel) -> bool:
    """Whether the unit, if it becomes stable, has the peer close the channel."""
    authors = _objects(unit.get("authors"))
    is_from_peer = bool(authors) and authors[0].get("address") == channel.peer_address
    data = _first_data(unit)
    is_trigger = amount_paid(unit, channel.aa_address, BASE) >= MIN_AGENT_BYTES
    return is_from_peer and is_trigger and data is not None and "close" in data


def amount_paid(unit: Mapping[str, JsonValue], address: str, asset: str) -> int:
    """Return the sum of a unit's outputs to an address in one asset."""
    total = 0
    for message in _objects(unit.get("messages")):
        payload = message.get("payload")
        if message.get("app") != "payment" or not isinstance(payload, dict) or payload.get("asset", BASE) != asset:
            continue
        for output in _objects(payload.get("outputs")):
            amount = output.get("amount")
            if output.get("address") == address and isinstance(amount, int):
                total += amount
    return total


def _event_of(channel: Channel, proven: ProvenUnit) -> LedgerEvent | None:
    unit = proven.unit
    authors = [author.get("address") for author in _objects(unit.get("authors"))]
    if not proven.is_stable or proven.is_nonserial or authors != [channel.aa_address]:
        return None
    data = _first_data(unit)
    event_id = data.get("event_id") if data is not None else None
    if data is None or not isinstance(event_id, int):
        return None  # the agent turned a trigger down: it tells nothing
    timestamp = unit.get("timestamp")
    if data.get("open"):
        return Opened(
            event_id=event_id,
            period=_amount(data, "period"),
            balance_of_peer=_amount(data, channel.peer_address),
            balance_of_me=_amount(data, channel.own_address),
            trigger_unit=str(data.get("trigger_unit")),
        )
    if data.get("closing"):
        return Closing(
            event_id=event_id,
            period=_amount(data, "period"),
            by_me=data.get("initiated_by") == channel.own_address,
            spent_by_peer=_amount(data, channel.peer_address),
            spent_by_me=_amount(data, channel.own_address),
            timestamp_s=timestamp if isinstance(timestamp, int) else 0,
            trigger_unit=str(data.get("trigger_unit")),
        )
    if data.get("closed"):
        return Closed(
            event_id=event_id,
            period=_amount(data, "period"),
            by_fraud_proof=bool(data.get("fraud_proof")),
            received=amount_paid(unit, channel.own_address, channel.asset),
        )
    return Refused(event_id=event_id, trigger_unit=str(data.get("trigger_unit")))


def _amount(data: Mapping[str, JsonValue], name: str) -> int:
    """Read a number of the agent. A closing party may claim anything, as text too: more than all money is all money."""
    value = data.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(max(0, min(value, MAX_AMOUNT)))


def _first_data(unit: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    for message in _objects(unit.get("messages")):
        if message.get("app") == "data":
            payload = message.get("payload")
            return payload if isinstance(payload, dict) else None
    return None


def _objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
