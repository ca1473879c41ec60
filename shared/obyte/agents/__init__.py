"""Autonomous agents that hold payment channels: versions, definitions and addresses (Obyte, channels agent)."""

from shared.obyte.agents.base import (
    AGENT_VERSIONS,
    CHANNELS_BASE_AA,
    PUBLISHABLE_VERSIONS,
    base_definition,
    publication_message,
)
from shared.obyte.agents.channels import MIN_AGENT_BYTES, channel_address, channel_definition

__all__ = [
    "AGENT_VERSIONS",
    "CHANNELS_BASE_AA",
    "MIN_AGENT_BYTES",
    "PUBLISHABLE_VERSIONS",
    "base_definition",
    "channel_address",
    "channel_definition",
    "publication_message",
]
