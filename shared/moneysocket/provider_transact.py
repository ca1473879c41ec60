"""Transactions, seen by the provider: requests are reported, answers are orders.

| what comes                         | is dealt with                                                        |
|------------------------------------|----------------------------------------------------------------------|
| RequestInvoice                     | `InvoiceWanted`                                                      |
| RequestPay                         | `PaymentWanted`                                                      |
| either, with too many open already | NotifyError                                                          |
| RequestInvoice over too much       | NotifyError                                                          |
| either, unanswered for too long    | `RequestExpired`; an answer may still be sent                        |
| the same uuid again                | does not come here: the replay guard has refused it                  |

The texts of the errors sent from here are constant: they tell nothing of the account.
"""

from __future__ import annotations

from typing import ClassVar

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import InvoiceWanted, PaymentWanted, RequestExpired
from shared.moneysocket.messages import (
    Message,
    NotifyError,
    NotifyInvoice,
    NotifyPreimage,
    Request,
    RequestInvoice,
    RequestPay,
)
from shared.moneysocket.nexus import Nexus

TOO_MANY = "too many open requests"
TOO_MUCH = "amount too large"
_PREIMAGE_DIGITS = 64


class ProviderTransactNexus(Nexus):
    """The layer that makes and pays invoices."""

    LAYER: ClassVar[str] = "PROVIDER_TRANSACT"

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    def notify_invoice(self, bolt11: str, reference: str | None) -> None:
        """Order: send an invoice. Raises ProtocolError `bad_order`."""
        if not bolt11.startswith("lnbc"):
            raise ProtocolError("bad_order", "an invoice begins with lnbc")
        self.link.notify(NotifyInvoice, reference, bolt11=bolt11)
        self._answered(reference)

    def notify_preimage(self, preimage: str, reference: str | None) -> None:
        """Order: send the proof of a payment, without reference for one that came in.

        Raises ProtocolError `bad_order`.
        """
        if len(preimage) != _PREIMAGE_DIGITS or not set(preimage) <= set("0123456789abcdef"):
            raise ProtocolError("bad_order", f"a preimage has {_PREIMAGE_DIGITS} lower-case hexadecimal digits")
        self.link.notify(NotifyPreimage, reference, preimage=preimage)
        self._answered(reference)

    def notify_error(self, text: str, reference: str | None) -> None:
        """Order: send an error, for people."""
        self.link.notify(NotifyError, reference, error_msg=text[: self.link.limits.max_error_chars])
        self._answered(reference)

    def on_message(self, message: Message) -> None:
        """Report a request."""
        if isinstance(message, RequestInvoice):
            if message.msats > self.link.limits.max_msats:
                self.link.notify(NotifyError, message.request_uuid, error_msg=TOO_MUCH)
            elif self._opens(message):
                self.link.emit(InvoiceWanted(message.request_uuid, message.msats))
        elif isinstance(message, RequestPay):
            if self._opens(message):
                self.link.emit(PaymentWanted(message.request_uuid, message.bolt11))
        else:
            self.link.pass_up(message)

    def on_timer(self, name: str) -> None:
        """A request was not answered; the timers bear the uuids of requests."""
        self.link.emit(RequestExpired(name, self._open.pop(name)))

    def _opens(self, message: Request) -> bool:
        if len(self._open) >= self.link.limits.max_open_requests:
            self.link.notify(NotifyError, message.request_uuid, error_msg=TOO_MANY)
            return False
        self._open[message.request_uuid] = message.NAME
        self.link.set_timer(message.request_uuid, self.link.limits.request_s)
        return True

    def _answered(self, reference: str | None) -> None:
        if reference is not None and self._open.pop(reference, None) is not None:
            self.link.cancel_timer(reference)
