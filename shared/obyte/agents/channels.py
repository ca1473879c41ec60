"""One channel: an instance of a base agent with its own parameters (Obyte, channels agent)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.agents.base import CHANNELS_BASE_AA
from shared.obyte.errors import AddressError

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue

MIN_AGENT_BYTES = 10_000
"""Bytes a unit must pay an agent to be answered at all: the agent's bounce fee."""


def channel_definition(
    address_a: str, address_b: str, asset: str, timeout_s: int, salt: str | None, version: str = "1.1"
) -> list[JsonValue]:
    """Return the definition of the channel between two payment addresses.

    A is the peer that was asked to open the channel, B the one that asked. `asset` is `base` or the 44-character
    hash of the unit that issued the asset. A channel without salt has no such parameter: null would have no hash.
    Raises `AddressError` (`unknown_agent_version`).
    """
    if version not in CHANNELS_BASE_AA:
        raise AddressError("unknown_agent_version", f"no channels agent of version {version!r} is known")
    params: dict[str, JsonValue] = {
        "addressA": address_a,
        "addressB": address_b,
        "asset": asset,
        "timeout": timeout_s,
    }
    if salt is not None:
        params["salt"] = salt
    return ["autonomous agent", {"base_aa": CHANNELS_BASE_AA[version], "params": params}]


def channel_address(
    address_a: str, address_b: str, asset: str, timeout_s: int, salt: str | None, version: str = "1.1"
) -> str:
    """Return the address of that channel. Raises `AddressError`, and `SerializationError` for values without a hash."""
    return definition_address(channel_definition(address_a, address_b, asset, timeout_s, salt, version))
