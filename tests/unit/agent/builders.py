"""Units as an agent and a peer write them; every default is the ordinary case."""

from __future__ import annotations

from typing import Any

from shared.channels.model import Channel
from shared.obyte.agents import channel_address, channel_definition
from shared.obyte.history import ProvenUnit
from shared.obyte.keys import KeyPair

MY_KEY = KeyPair(bytes([1]) * 32)
PEER_KEY = KeyPair(bytes([2]) * 32)
ME = MY_KEY.address
PEER = PEER_KEY.address
STRANGER = KeyPair(bytes([3]) * 32).address
DEFINITION = channel_definition(ME, PEER, "base", 1_000, "salt")
AGENT = channel_address(ME, PEER, "base", 1_000, "salt")
ASSET = "A" * 43 + "="
TRIGGER_UNIT = "T" * 42 + "A="
LEDGER_TIME = 1_700_000_000


def unit_hash(number: int) -> str:
    return f"{number:0>42}A="


def new_channel(**changes: Any) -> Channel:
    return Channel(
        **{"aa_address": AGENT, "own_address": ME, "peer_address": PEER, "asset": "base", "timeout_s": 1_000} | changes
    )


def payment(*outputs: tuple[str, int], asset: str | None = None) -> dict[str, Any]:
    payload: dict[str, Any] = {"inputs": [], "outputs": [{"address": to, "amount": amount} for to, amount in outputs]}
    if asset is not None:
        payload["asset"] = asset
    return {"app": "payment", "payload": payload}


def data(payload: dict[str, Any]) -> dict[str, Any]:
    return {"app": "data", "payload": payload}


def unit_of(author: str, *messages: dict[str, Any], number: int = 1) -> dict[str, Any]:
    return {
        "unit": unit_hash(number),
        "authors": [{"address": author}],
        "timestamp": LEDGER_TIME + number,
        "messages": list(messages),
    }


def response(
    payload: dict[str, Any],
    *messages: dict[str, Any],
    number: int = 1,
    author: str = AGENT,
    is_stable: bool = True,
    is_nonserial: bool = False,
) -> ProvenUnit:
    unit = unit_of(author, data(payload), *messages, number=number)
    return ProvenUnit(unit, is_stable=is_stable, is_nonserial=is_nonserial, mci_hint=100 + number)


def opened(event_id: int = 1, by_peer: int = 50_000, *, by_me: int = 0, period: int = 1) -> dict[str, Any]:
    head = {"open": 1, "period": period, "event_id": event_id, "trigger_unit": TRIGGER_UNIT}
    return {**head, ME: by_me, PEER: by_peer}


def closing(event_id: int = 2, by: str = PEER, *, spent_by_peer: Any = 0, spent_by_me: Any = 0) -> dict[str, Any]:
    head = {"closing": 1, "period": 1, "initiated_by": by, "event_id": event_id, "trigger_unit": TRIGGER_UNIT}
    return {**head, ME: spent_by_me, PEER: spent_by_peer}


def closed(event_id: int = 3, **more: int) -> dict[str, Any]:
    return {"closed": 1, "period": 1, "event_id": event_id, **more}
