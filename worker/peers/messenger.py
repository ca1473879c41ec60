"""The way to a peer by encrypted device messages (Obyte channels, peer protocol over the messenger)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from worker.peers.transport import REQUEST_TIMEOUT_S, checked_answer, envelope_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shared.obyte.pairing import PairingCode
    from shared.obyte.serialization import JsonValue


class Asker(Protocol):
    """Whoever exchanges messages with devices."""

    async def ask(
        self, device: str, envelope: Mapping[str, JsonValue], *, invitation: PairingCode | None, timeout_s: float
    ) -> JsonValue:
        """Send a request to a device, paired with first if need be, and return what that device answers.

        Raises PeerUnreachableError, PeerTimeoutError.
        """
        ...


class MessengerTransport:
    """Sends requests to one device."""

    def __init__(
        self,
        asker: Asker,
        device: str,
        *,
        invitation: PairingCode | None,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.url: str | None = None
        self.device: str | None = device
        self._asker = asker
        self._address = device
        self._invitation = invitation
        self._clock = clock
        self._random_bytes = random_bytes

    async def request(self, command: str, params: Mapping[str, JsonValue]) -> dict[str, Any]:
        """See `PeerTransport`."""
        envelope = envelope_of(command, params, now_s=self._clock(), random_bytes=self._random_bytes)
        answer = await self._asker.ask(
            self._address, envelope, invitation=self._invitation, timeout_s=REQUEST_TIMEOUT_S
        )
        return checked_answer(answer)
