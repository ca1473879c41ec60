"""What somebody has to know to open a channel with this receiver."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReceiverTerms:
    """The terms. `url` is the base URL of the peer protocol (`POST <url>post`), with its closing slash.

    `receiver`: the payment address that becomes the agent's A. `agent_versions`: the preferred one first; empty while
    no agent is published that we would take. Timeouts of channels in seconds.
    """

    network: str
    receiver: str
    url: str
    agent_versions: tuple[str, ...]
    min_timeout_s: int
    max_timeout_s: int

    def as_json(self) -> dict[str, str | int | list[str]]:
        """Return the JSON object of the wire."""
        return {
            "network": self.network,
            "receiver": self.receiver,
            "url": self.url,
            "agent_versions": list(self.agent_versions),
            "min_timeout_s": self.min_timeout_s,
            "max_timeout_s": self.max_timeout_s,
        }
