"""Signing payments: CPU only, no hub, no disk.

The payer stores what it signs before it sends it; load generators, which have nothing to lose, use `OfflineChannel`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.channels.paying import PaymentOrder, create_payment
from shared.obyte.signed_messages import sign_message

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from shared.obyte.keys import KeyPair
    from shared.obyte.networks import Network
    from shared.obyte.serialization import JsonValue


@dataclass(frozen=True, slots=True)
class SignedPayment:
    """One signed package as JSON text, and what it says. Amounts in the asset's smallest unit.

    The text is a bearer secret: with agent 1.1 whoever holds it may be able to cash it.
    """

    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    package: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ChannelTerms:
    """What makes a channel this one, as packages announce it to a receiver that may not know it yet."""

    payer_address: str
    asset: str
    timeout_s: int
    version: str
    salt: str | None

    def as_json(self) -> dict[str, JsonValue]:
        """Return the `channel_parameters` of a package; never a URL: receivers must not be sent to strangers."""
        parameters: dict[str, JsonValue] = {
            "address": self.payer_address,
            "asset": self.asset,
            "timeout": self.timeout_s,
            "version": self.version,
        }
        if self.salt is not None:
            parameters["salt"] = self.salt
        return parameters


@dataclass(frozen=True, slots=True)
class PaymentSigner:
    """Signs packages with the key of the payer's address, for one network."""

    key: KeyPair = field(repr=False)
    network: Network

    def sign(self, order: PaymentOrder, announce: ChannelTerms | None = None) -> SignedPayment:
        """Sign what was ordered; `announce` while the peer is not known to know the channel."""
        message: dict[str, JsonValue] = {
            "payment_amount": order.payment_amount,
            "amount_spent": order.amount_spent,
            "period": order.period,
            "aa_address": order.channel.aa_address,
        }
        if announce is not None:
            message["channel_parameters"] = announce.as_json()
        package = json.dumps(sign_message(message, self.key, self.network), separators=(",", ":"))
        return SignedPayment(order.channel.aa_address, order.period, order.payment_amount, order.amount_spent, package)


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
