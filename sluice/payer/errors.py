"""What can go wrong for a payer. Hub, unit and keystore errors keep their own kinds (`shared.obyte.errors`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared.peers.answers import ChannelView


class PayerError(Exception):
    """Base of the payer's errors; `code` is stable, the message is for people and holds no package, seed or key."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class WalletError(PayerError):
    """The payer's home cannot be used; codes: `another_wallet`, `another_network`, `no_wallet`, `newer_store`."""


class UnknownChannelError(PayerError):
    """There is no such channel; code `unknown_channel`."""


class ChannelOpeningError(PayerError):
    """A channel was not opened, and no money has left for it nor ever will.

    Codes: `invalid_url`, `invalid_deposit`, `invalid_asset`, `invalid_timeout`, `invalid_salt`, `salt_in_use`,
    `peer_unreachable`, `peer_refused`, `invalid_peer_answer`, `another_receiver`, `agent_not_published`,
    `funding_refused`.
    """


class PeerUnreachableError(PayerError):
    """The peer gave no usable answer; codes: `peer_unreachable`, `peer_timeout`, `peer_unavailable`, `bad_answer`.

    Whether it has acted on the request is unknown.
    """


class LedgerError(PayerError):
    """A unit could not be brought to the ledger.

    Codes: `not_connected` (no hub in time), `unit_refused`, `double_spend`, `bounced`, `withdrawn`, `timeout`.
    """

    @property
    def is_outcome_unknown(self) -> bool:
        """Whether what was waited for may still come."""
        return self.code == "timeout"


class PaymentRefusedError(PayerError):
    """The peer answered that it does not take a payment.

    `code` is the peer's (`refused` when it gave none), `text` its reason, `view` its view of the channel if it told.
    The peer still holds the signed package, so the amount stays counted as spent; `payment_id` can be resent.
    """

    def __init__(self, code: str, text: str, view: ChannelView | None = None, *, payment_id: int) -> None:
        super().__init__(code, f"the peer refused payment {payment_id}: {text}")
        self.text = text
        self.view = view
        self.payment_id = payment_id


class PaymentUncertainError(PayerError):
    """Nobody knows whether the peer took a payment: `resend(payment_id)` repeats the identical package, safely.

    The codes are those of PeerUnreachableError. The amount stays counted as spent.
    """

    is_outcome_unknown = True

    def __init__(self, code: str, reason: str, *, payment_id: int) -> None:
        super().__init__(code, f"payment {payment_id} may or may not have arrived: {reason}")
        self.payment_id = payment_id
