"""Units to the agent: what ours say, and what an unstable one of the peer means (Obyte, channels agent 1.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shared.agent.responses import amount_received, first_data, objects, payments
from shared.channels.closing import Close, Confirm, FraudProof, Trigger
from shared.channels.ledger import SeenTrigger
from shared.obyte.addresses import definition_address
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.obyte.errors import ObyteError
from shared.obyte.serialization import parse_js_json

MAX_BYTES_FOR_ANSWER = 10_000_000
_SHORT_OF_BYTES = re.compile(r"not enough funds for ([0-9]{1,12}) bytes")

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shared.channels.model import Channel
    from shared.obyte.serialization import JsonValue


def trigger_data(trigger: Trigger) -> dict[str, JsonValue]:
    """Return the `data` payload that tells the agent what we want. It holds the claim: never log it.

    Exactly `bytes_to_send` must go with it: a byte more and a base channel's agent takes it for a deposit.
    """
    match trigger:
        case Close():
            data: dict[str, JsonValue] = {"close": 1, "period": trigger.period}
            if trigger.transferred_from_me:
                data["transferredFromMe"] = trigger.transferred_from_me
            if trigger.claim is not None:
                data["sentByPeer"] = parse_js_json(trigger.claim)
        case Confirm():
            data = {"confirm": 1, "period": trigger.period}
            if trigger.additional_from_me:
                data["additionalTransferredFromMe"] = trigger.additional_from_me
        case FraudProof():
            data = {"fraud_proof": 1, "period": trigger.period, "sentByPeer": parse_js_json(trigger.claim)}
    return data


def bytes_to_send(channel: Channel, trigger: Trigger, bounces: Iterable[str | None]) -> int:
    """Return how many bytes must go with a trigger; `bounces`: why earlier ones for the same end were returned.

    The agent pays for its answer with its own bytes, and what ends a channel spends every coin it has. A peer can fill
    the agent of a channel in another asset with thousands of tiny coins: then the bytes run out, and neither a
    confirmation nor a fraud proof goes through until somebody brings more. What a proof brings comes back with it, what
    a confirmation brings goes to whoever has more in the channel. The reason is the hub's word: hence the limit.
    """
    if channel.asset == BASE or isinstance(trigger, Close):
        return MIN_AGENT_BYTES
    needed = [int(match[1]) for reason in bounces if (match := _SHORT_OF_BYTES.search(reason or ""))]
    return min(max([MIN_AGENT_BYTES, *needed]), MAX_BYTES_FOR_ANSWER)


def read_peer_trigger(unit: Mapping[str, JsonValue], channel: Channel) -> SeenTrigger | None:
    """Reduce a unit of the peer to what decides its meaning for the channel; None when it has none.

    The agent takes the first author for the sender. Signatures are to be checked by the caller.
    """
    authors = objects(unit.get("authors"))
    if not authors or authors[0].get("address") != channel.peer_address:
        return None
    bytes_to_agent = amount_received(unit, channel.aa_address, BASE)
    publishes = _publishes(unit, channel.aa_address)
    if bytes_to_agent < MIN_AGENT_BYTES and not publishes:
        return None
    data = first_data(unit)
    paid = {output.get("address") for payload in payments(unit) for output in objects(payload.get("outputs"))}
    return SeenTrigger(
        bytes_to_agent=bytes_to_agent,
        asset_to_agent=amount_received(unit, channel.aa_address, channel.asset),
        has_data=any(message.get("app") == "data" for message in objects(unit.get("messages"))),
        # Whatever value `close` has: the agent's idea of truth need not be ours.
        closes=data is not None and "close" in data and bytes_to_agent >= MIN_AGENT_BYTES,
        publishes_definition=publishes,
        pays_others=not paid <= {channel.aa_address, *(author.get("address") for author in authors)},
    )


def touched_addresses(unit: Mapping[str, JsonValue]) -> set[str]:
    """Return the addresses that a unit is from, pays to or defines; the unit may be any object."""
    found = [author.get("address") for author in objects(unit.get("authors"))]
    for message in objects(unit.get("messages")):
        payload = message.get("payload")
        if isinstance(payload, dict):
            if message.get("app") == "definition":
                found.append(payload.get("address"))
            found += [output.get("address") for output in objects(payload.get("outputs"))]
    return {address for address in found if isinstance(address, str)}


def _publishes(unit: Mapping[str, JsonValue], aa_address: str) -> bool:
    for message in objects(unit.get("messages")):
        payload = message.get("payload")
        if message.get("app") == "definition" and isinstance(payload, dict) and payload.get("address") == aa_address:
            try:
                if definition_address(payload.get("definition")) == aa_address:
                    return True
            except ObyteError:
                continue
    return False
