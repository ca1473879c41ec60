"""The base agents that channels are instances of, by version.

    version  published by                  a party that closes first can rob the other one
    -------  ----------------------------  ---------------------------------------------------------
    1.1      its authors, on every public  yes; so can any stranger who sees a fraud proof on its way
             network
    1.2      anyone, once per network:     no; all else is as in 1.1
             `sluice wallet publish-agent`

`channels_1_2.oscript` is the source of 1.2, to be read; `channels_1_2.json` is the same as the definition that goes
onto the ledger, and its hash is the address. The address is pinned: a definition changed by a byte is another agent.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.composing import definition_message
from shared.obyte.errors import AddressError

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue

CHANNELS_BASE_AA = {
    "1.1": "4IRUGAUUCAQ6QRQLG4SNOLOE6VW2STWZ",
    "1.2": "C24K6PTZXVJ2JBQ3MRR7E7AXHKKGIBDA",
}
"""Address of the base agent that every channel of a version is an instance of; the same on every network."""

AGENT_VERSIONS = ("1.2", "1.1")
"""Every version that is known here, the one to prefer first."""

PUBLISHABLE_VERSIONS = frozenset({"1.2"})
"""Versions whose definition is ours to publish."""


@cache
def _definition_text(version: str) -> str:
    return (files("shared.obyte.agents") / f"channels_{version.replace('.', '_')}.json").read_text("utf-8")


def base_definition(version: str) -> list[JsonValue]:
    """Return the definition of one of `PUBLISHABLE_VERSIONS`, as it goes onto the ledger.

    Raises `AddressError`: `unknown_agent_version`, or `wrong_definition` if this is not the agent whose address is
    pinned, because the file was changed or damaged.
    """
    if version not in PUBLISHABLE_VERSIONS:
        raise AddressError("unknown_agent_version", f"there is no definition of version {version!r} here to publish")
    definition: list[JsonValue] = json.loads(_definition_text(version))
    if definition_address(definition) != CHANNELS_BASE_AA[version]:
        raise AddressError("wrong_definition", f"the definition of version {version} is not the one that is pinned")
    return definition


def publication_message(version: str) -> dict[str, JsonValue]:
    """Return the message that publishes a base agent with the unit it is put into. Raises `AddressError`."""
    return definition_message(CHANNELS_BASE_AA[version], base_definition(version))
