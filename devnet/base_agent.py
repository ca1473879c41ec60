"""The channels agent 1.1, which is on every real network.

`channels_1_1.json` is its definition as its authors have published it; their licence lies beside it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from shared.obyte.addresses import definition_address
from shared.obyte.composing import definition_message

if TYPE_CHECKING:
    from shared.obyte.serialization import JsonValue


def reference_agent_message() -> dict[str, JsonValue]:
    """Return the message that publishes it with the unit it is put into."""
    definition: JsonValue = json.loads((files("devnet") / "channels_1_1.json").read_text("utf-8"))
    return definition_message(definition_address(definition), definition)
