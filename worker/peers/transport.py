"""One way to a peer, whatever the wire (Obyte channels, peer protocol)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shared.peers.answers import read_answer
from shared.peers.errors import PeerUnreachableError, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.obyte.serialization import JsonValue

REQUEST_TIMEOUT_S = 10.0
"""How long a peer may take to answer; the reference gives up after as long."""
TAG_BYTES = 30
_DATED = frozenset({"is_ready", "pay"})


class PeerTransport(Protocol):
    """The way to one peer. `url` and `device` tell where it was found, to be kept with a channel; one is None."""

    url: str | None
    device: str | None
    """The device address. A pairing code gives it before anything is sent."""

    async def request(self, command: str, params: Mapping[str, JsonValue]) -> dict[str, Any]:
        """Ask once and return the whole answer, an object with `response`, within `REQUEST_TIMEOUT_S`.

        Raises PeerRefusedError when the peer says no, PeerUnreachableError and PeerTimeoutError when it does not say.
        The same request may be made again: every sending has a tag and a time of its own.
        """
        ...


def envelope_of(
    command: str, params: Mapping[str, JsonValue], *, now_s: float, random_bytes: Callable[[int], bytes]
) -> dict[str, JsonValue]:
    """Return the request as it is sent: with a new tag, and with the time where the receiver looks at it."""
    envelope: dict[str, JsonValue] = {"command": command, "params": dict(params), "tag": random_bytes(TAG_BYTES).hex()}
    if command in _DATED:
        envelope["timestamp"] = int(now_s * 1000)
    return envelope


def checked_answer(found: JsonValue) -> dict[str, Any]:
    """Return an answer that grants the request. Raises PeerRefusedError, PeerUnreachableError `bad_answer`."""
    answer = read_answer(found)
    if answer is None or not isinstance(found, dict):
        raise PeerUnreachableError("bad_answer", "the peer's answer has neither response nor error")
    refused = refusal(answer)
    if refused is not None:
        raise refused
    return found
