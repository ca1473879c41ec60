"""Asking other devices: send a request, wait for the answer of the device that was asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shared.obyte.errors import DeviceMessageError, HubError
from shared.obyte.hub_errors import HubClosedError, HubTimeoutError
from shared.peers.errors import PeerTimeoutError, PeerUnreachableError
from shared.store import correspondents
from shared.store.errors import LeaseLostError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.obyte.pairing import PairingCode
    from shared.obyte.serialization import JsonValue
    from shared.store.correspondents import Correspondent
    from worker.devices.courier import Courier
    from worker.devices.pairing import Pairings
    from worker.devices.pending import PendingRequests
    from worker.guard import Guard

OBJECT = "object"
_NEVER_CONNECTED = frozenset({"unreachable", "insecure_url", "not_connected"})


class Asking:
    """Our side of requests that we make. `logged_in`: set while answers can reach us."""

    def __init__(
        self, guard: Guard, logged_in: asyncio.Event, pairings: Pairings, courier: Courier, pending: PendingRequests
    ) -> None:
        self._guard = guard
        self._logged_in = logged_in
        self._pairings = pairings
        self._courier = courier
        self._pending = pending

    async def ask(
        self, device: str, envelope: Mapping[str, JsonValue], *, invitation: PairingCode | None, timeout_s: float
    ) -> JsonValue:
        """Send a request to a device and return its answer. Raises PeerUnreachableError, PeerTimeoutError."""
        is_sent = False
        try:
            async with asyncio.timeout(timeout_s):
                await self._logged_in.wait()
                to = await self._correspondent(device, invitation)
                with self._pending.expect(device, str(envelope["tag"])) as answer:
                    is_sent = True
                    await self._courier.send(to, OBJECT, dict(envelope))
                    return await answer
        except TimeoutError:
            text = "the peer's device did not answer in time" if is_sent else "no way to the peer's device in time"
            raise PeerTimeoutError("peer_timeout", text, may_have_acted=is_sent) from None
        except (HubError, DeviceMessageError) as error:
            text = f"no message can be left for the peer's device: {error}"
            is_unsure = is_sent and _may_be_delivered(error)
            raise PeerUnreachableError("peer_unreachable", text, may_have_acted=is_unsure) from error
        except LeaseLostError:
            raise
        except StoreError as error:
            text = "the database is not available now"
            raise PeerUnreachableError("peer_unreachable", text, may_have_acted=is_sent) from error

    async def _correspondent(self, device: str, invitation: PairingCode | None) -> Correspondent:
        if invitation is not None:
            return await self._pairings.join(invitation)
        async with self._guard.reading() as conn:
            known = await correspondents.find(conn, device)
        if known is None:
            text = f"we are not paired with the device {device}: use its pairing code"
            raise PeerUnreachableError("not_paired", text, may_have_acted=False)
        return known


def _may_be_delivered(error: HubError | DeviceMessageError) -> bool:
    """Whether the message may lie at the hub although the hub has not said so."""
    if isinstance(error, HubClosedError):
        return error.code not in _NEVER_CONNECTED
    return isinstance(error, HubTimeoutError)
