"""From the agent's proven response units to ledger events (Obyte, channels agent 1.1: what the parties see).

A response unit has the agent as its only author and tells what happened in its first data message; the amounts stand
under the addresses of the parties. Only units proven stable and serial are read here: such a unit cannot be in the
ledger unless all full nodes computed the same one, so whatever it says is true.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.agent.errors import UnreadableResponseError
from shared.channels.ledger import Closed, Closing, LedgerEvent, Opened, Refused
from shared.channels.model import MAX_AMOUNT
from shared.obyte.chash import is_valid_base64
from shared.obyte.coins import BASE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from shared.channels.model import Channel
    from shared.obyte.history import ProvenUnit
    from shared.obyte.serialization import JsonValue

MAX_REASON = 200
_GREAT_NUMBER = re.compile(r"[0-9]+|[0-9](\.[0-9]+)?e\+[0-9]+")
_HASH_CHARACTERS = 44


@dataclass(frozen=True, slots=True)
class Response:
    """One event of a channel, with where on the ledger it is told."""

    event: LedgerEvent
    unit: str
    payload: dict[str, JsonValue] = field(repr=False)
    mci: int
    """As the hub told it, 0 when it did not: good for ordering and for lower bounds, not proven."""
    unit_timestamp_s: int

    @property
    def trigger_unit(self) -> str | None:
        """The unit that made the agent respond; `closed` does not name it."""
        return None if isinstance(self.event, Closed) else self.event.trigger_unit


def read_responses(units: Iterable[ProvenUnit], channel: Channel) -> list[Response]:
    """Return the events of one channel that these units tell, each once, in the order of their numbers.

    Raises UnreadableResponseError.
    """
    found = {}
    for unit in units:
        response = read_response(unit, channel)
        if response is not None:
            found[response.event.event_id] = response
    return [found[event_id] for event_id in sorted(found)]


def read_response(proven: ProvenUnit, channel: Channel) -> Response | None:
    """Return the event that a unit tells; None when it is not a stable unit of the agent or tells nothing.

    The agent's bounces carry no data. Raises UnreadableResponseError.
    """
    unit = proven.unit
    if not proven.is_stable or proven.is_nonserial or _author_addresses(unit) != [channel.aa_address]:
        return None
    payload = first_data(unit)
    if payload is None:
        return None
    timestamp = unit.get("timestamp")
    return Response(
        event=_read_event(payload, unit, channel),
        unit=proven.unit_hash,
        payload=payload,
        mci=proven.mci_hint or 0,
        unit_timestamp_s=timestamp if isinstance(timestamp, int) else 0,
    )


def amount_received(unit: Mapping[str, JsonValue], address: str, asset: str) -> int:
    """Return what the unit pays to an address in one asset, in its smallest unit."""
    return sum(
        amount
        for payload in payments(unit)
        if payload.get("asset", BASE) == asset
        for output in objects(payload.get("outputs"))
        if output.get("address") == address and isinstance(amount := output.get("amount"), int)
    )


def bounce_reason(response: JsonValue) -> str:
    """Return why the agent turned a trigger down: newer agents' hosts answer with an object instead of a text."""
    error = response.get("error") if isinstance(response, dict) else None
    if isinstance(error, dict):
        error = error.get("message")
    text = error if isinstance(error, str) and error else "the agent did not say why"
    return "".join(character if character.isprintable() else " " for character in text[:MAX_REASON])


def first_data(unit: Mapping[str, JsonValue]) -> dict[str, JsonValue] | None:
    """Return the payload of the first data message, which is the only one that agents and parties look at."""
    for message in objects(unit.get("messages")):
        if message.get("app") == "data":
            payload = message.get("payload")
            return payload if isinstance(payload, dict) else None
    return None


def payments(unit: Mapping[str, JsonValue]) -> Iterator[dict[str, JsonValue]]:
    """Yield the payloads of the payment messages."""
    for message in objects(unit.get("messages")):
        payload = message.get("payload")
        if message.get("app") == "payment" and isinstance(payload, dict):
            yield payload


def objects(value: JsonValue) -> list[dict[str, JsonValue]]:
    """Return the objects in an array, none when it is no array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _read_event(payload: dict[str, JsonValue], unit: Mapping[str, JsonValue], channel: Channel) -> LedgerEvent:
    event_id = _positive(payload, "event_id")
    if payload.get("open"):
        return Opened(
            event_id=event_id,
            period=_positive(payload, "period"),
            balance_of_peer=_amount(payload, channel.peer_address),
            balance_of_me=_amount(payload, channel.own_address),
            trigger_unit=_trigger_unit(payload),
        )
    if payload.get("refused"):
        return Refused(event_id=event_id, trigger_unit=_trigger_unit(payload))
    if payload.get("closing"):
        initiator = payload.get("initiated_by")
        if initiator not in (channel.own_address, channel.peer_address):
            raise UnreadableResponseError("initiated_by must be one of the two parties")
        timestamp = unit.get("timestamp")
        return Closing(
            event_id=event_id,
            period=_positive(payload, "period"),
            by_me=initiator == channel.own_address,
            spent_by_peer=_amount(payload, channel.peer_address),
            spent_by_me=_amount(payload, channel.own_address),
            timestamp_s=timestamp if isinstance(timestamp, int) else 0,
            trigger_unit=_trigger_unit(payload),
        )
    if payload.get("closed"):
        return Closed(
            event_id=event_id,
            period=_positive(payload, "period"),
            by_fraud_proof=bool(payload.get("fraud_proof")),
            received=amount_received(unit, channel.own_address, channel.asset),
        )
    raise UnreadableResponseError("the response is none of open, refused, closing and closed")


def _author_addresses(unit: Mapping[str, JsonValue]) -> list[JsonValue]:
    return [author.get("address") for author in objects(unit.get("authors"))]


def _positive(payload: Mapping[str, JsonValue], name: str) -> int:
    value = payload.get(name)
    if type(value) is not int or value < 1:
        raise UnreadableResponseError(f"{name} must be a positive integer")
    return value


def _amount(payload: Mapping[str, JsonValue], address: str) -> int:
    """Read a balance or a claim. Whoever closes may claim any number: more than all money means all money.

    Formulas yield a number beyond 2^53 as a text, from 10^21 on with an exponent.
    """
    value = payload.get(address)
    if isinstance(value, str) and _GREAT_NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise UnreadableResponseError(f"the amount of {address} must be a number of at least 0")
    return int(min(value, MAX_AMOUNT))


def _trigger_unit(payload: Mapping[str, JsonValue]) -> str:
    value = payload.get("trigger_unit")
    if not isinstance(value, str) or not is_valid_base64(value, _HASH_CHARACTERS):
        raise UnreadableResponseError("trigger_unit must be a unit hash")
    return value
