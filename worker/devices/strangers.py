"""Telling devices that believe to be paired with us that they are not (Obyte, device messages; ocore `wallet.js`).

The JavaScript library pairs once with a device, and notes it before the pairing was accepted: after a code that was
used up, or after we have forgotten it, it asks for channels and never pairs again, whatever code it is given. Being
told `removed_paired_device` it drops us, and the next code pairs anew.

A stranger may have many names, so all of them together are told little: no flood of theirs becomes one of ours.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.logs import get_logger
from shared.obyte.errors import DeviceMessageError, HubError
from shared.obyte.pairing import is_valid_hub
from worker.devices.inbox import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.obyte.device_messages import DeviceMessage
    from worker.devices.courier import Courier

logger = get_logger(__name__)

REMOVED = "removed_paired_device"
ONCE_IN_S = 3_600.0
"""A device is told once in this time."""
AT_ONCE = 20
PER_S = 0.1
"""How many devices are told, all in all. With `ONCE_IN_S` it bounds how many have to be remembered."""
TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Stranger:
    """Where a device that we are not paired with is written to: nothing but what its signed message says."""

    device_address: str
    pubkey: str
    hub: str


def asks_for_channel(message: DeviceMessage) -> bool:
    """Whether a message is the request that pairing comes before; whoever asks for less may just be out of date."""
    return isinstance(message.body, dict) and message.body.get("command") == "create_channel"


class Strangers:
    """Tells each device once in a while, one after the other: a hub that does not answer holds up one message."""

    def __init__(self, courier: Courier, *, monotonic: Callable[[], float]) -> None:
        self._courier = courier
        self._monotonic = monotonic
        self._rate = RateLimit(AT_ONCE, PER_S, monotonic)
        self._told_at_s: OrderedDict[str, float] = OrderedDict()
        self._is_telling = False

    async def tell(self, message: DeviceMessage) -> None:
        """Let the sender know, if it is its turn. Never fails: a stranger who is not told asks again."""
        hub = message.device_hub
        if not is_valid_hub(hub) or self._is_telling or not self._is_due(message.sender):
            return
        self._is_telling = True
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._courier.send(Stranger(message.sender, message.sender_pubkey, str(hub)), REMOVED, "removed")
        except (HubError, DeviceMessageError, TimeoutError) as error:
            logger.info("stranger_not_told", device=message.sender, reason=str(error))
        else:
            logger.info("stranger_told", device=message.sender)
        finally:
            self._is_telling = False

    def is_none(self, device: str) -> None:
        """Take note that a device was paired with: if it is forgotten later it is told anew."""
        self._told_at_s.pop(device, None)

    def _is_due(self, device: str) -> bool:
        now_s = self._monotonic()
        while self._told_at_s and next(iter(self._told_at_s.values())) <= now_s - ONCE_IN_S:
            self._told_at_s.popitem(last=False)
        if device in self._told_at_s or not self._rate.allows(""):
            return False
        self._told_at_s[device] = now_s
        return True
