"""Signing payment packages: CPU only, no hub, no disk (Obyte channels, payment packages).

Whoever pays for real stores what is signed before it is sent: the payer's SDK and the worker do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.obyte.signed_messages import sign_message

if TYPE_CHECKING:
    from shared.channels.paying import PaymentOrder
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
