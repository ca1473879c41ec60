"""What a payer sends: packages around which a request is put, and many of them quickly for load generators.

The payer stores what it signs before it sends it; load generators, which have nothing to lose, use `OfflineChannel`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shared.channels.paying import create_payment

if TYPE_CHECKING:
    from shared.agent.packages import PaymentSigner, SignedPayment
    from shared.channels.model import Channel


class OfflineChannel:
    """A channel whose state lives in memory only, to make many packages quickly.

    Never for real money: after a crash it would sign the same amounts again. Not for use by several threads.
    """

    def __init__(self, channel: Channel, signer: PaymentSigner) -> None:
        self.channel = channel
        self._signer = signer

    def sign(self, amount: int) -> SignedPayment:
        """Sign one payment more. Raises ChannelError when the channel's rules forbid it."""
        order = create_payment(self.channel, amount)
        self.channel = order.channel
        return self._signer.sign(order)


def pay_request(package: str, message: str | None, *, tag: str, timestamp_ms: int) -> bytes:
    """Return the body of a `pay` request around the package's very bytes (Obyte channels, peer protocol).

    `message` is JSON text. The timestamp is fresh on every sending: receivers refuse old requests, not old packages.
    """
    extra = "" if message is None else f',"message":{message}'
    envelope = f'"tag":{json.dumps(tag)},"timestamp":{timestamp_ms:d}'
    return f'{{"command":"pay","params":{{"signed_package":{package}{extra}}},{envelope}}}'.encode()
