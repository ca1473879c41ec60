"""An honest unit to damage: it discloses its definition and pays its author."""

from __future__ import annotations

from typing import Any

from shared.obyte.errors import ObyteError
from shared.obyte.keys import KeyPair
from shared.obyte.networks import LIVENET
from shared.obyte.units import (
    headers_commission,
    message_payload_hash,
    payload_commission,
    unit_hash,
    unit_hash_to_sign,
)

KEY = KeyPair(b"\x11" * 32)
OTHER = KeyPair(b"\x22" * 32)
ADDRESS = KEY.address
HASH = "oj8yEksX9Ubq7lLc+p6F2uyHUuynugeVq4+ikT67X6E="
NOW_S = 1_724_800_000


def payment() -> dict[str, Any]:
    return {
        "inputs": [{"unit": HASH, "message_index": 0, "output_index": 0}],
        "outputs": [{"address": ADDRESS, "amount": 1000}],
    }


def new_unit() -> dict[str, Any]:
    unit: dict[str, Any] = {
        "version": "4.0",
        "alt": "1",
        "timestamp": NOW_S,
        "messages": [{"app": "payment", "payload_location": "inline", "payload": payment()}],
        "authors": [{"address": ADDRESS, "definition": KEY.definition, "authentifiers": {"r": "-" * 88}}],
        "parent_units": [HASH],
        "last_ball": HASH,
        "last_ball_unit": HASH,
        "tps_fee": 0,
    }
    unit = sealed(unit)
    unit["authors"][0]["authentifiers"] = {"r": KEY.sign(unit_hash_to_sign(unit, LIVENET))}
    return sealed(unit)


def sealed(unit: dict[str, Any]) -> dict[str, Any]:
    """Make hashes and commissions those of the content, as far as it has any: only the fault in question remains."""
    try:
        messages = [_with_payload_hash(message) for message in unit["messages"]] if unit.get("messages") else []
        unit = unit | ({"messages": messages} if messages else {})
        unit["headers_commission"] = headers_commission(unit, LIVENET)
        unit["payload_commission"] = payload_commission(unit, LIVENET)
    except (ObyteError, TypeError, AttributeError):
        pass
    try:
        return unit | {"unit": unit_hash(unit, LIVENET)}
    except ObyteError:
        return unit | {"unit": HASH}


def _with_payload_hash(message: dict[str, Any]) -> dict[str, Any]:
    return message if "payload_hash" in message else message | {"payload_hash": message_payload_hash(message)}
