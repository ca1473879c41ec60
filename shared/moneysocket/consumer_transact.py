"""Transactions, seen by the consumer: every answer is matched to a request of this connection.

| what comes                               | the request is open       | it timed out or failed | it is not ours |
|------------------------------------------|---------------------------|------------------------|----------------|
| NotifyInvoice to RequestInvoice          | `InvoiceReceived`         | the same, `is_late`    | handed up      |
| NotifyPreimage to RequestPay             | `PaymentProven`           | the same, `is_late`    | handed up      |
| NotifyPreimage that the hash contradicts | refused `wrong_preimage`  | the same               |                |
| NotifyError                              | `RequestFailed`           | the same, `is_late`    | handed up      |
| another answer than was asked for        | refused `wrong_answer`    | the same               |                |
| NotifyPreimage without reference         | `IncomingPayment`         |                        |                |
| NotifyError without reference            | `RequestFailed`           |                        |                |

What is refused changes nothing. A request that timed out or failed is remembered, a bounded number of them: a node may
pay after its provider has given up, and the proof of that must not be lost.

A provider with several connections for one account tells all of them, so answers to others come by as a matter of
course. When the connection goes, what is open is reported as `RequestInDoubt`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import ClassVar

from shared.moneysocket.errors import ProtocolError
from shared.moneysocket.events import (
    IncomingPayment,
    InvoiceReceived,
    PaymentProven,
    RequestFailed,
    RequestInDoubt,
    RequestTimedOut,
)
from shared.moneysocket.messages import (
    Message,
    Notification,
    NotifyError,
    NotifyInvoice,
    NotifyPreimage,
    RequestInvoice,
    RequestPay,
)
from shared.moneysocket.nexus import Nexus

_HASH = re.compile("[0-9a-f]{64}")
_ANSWERED_BY: dict[type[Message], type[Message]] = {NotifyInvoice: RequestInvoice, NotifyPreimage: RequestPay}


@dataclass(frozen=True, slots=True)
class _Open:
    kind: type[Message]
    msats: int = 0
    payment_hash: str | None = None


class ConsumerTransactNexus(Nexus):
    """The layer that asks for invoices and payments."""

    LAYER: ClassVar[str] = "CONSUMER_TRANSACT"

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._given_up: dict[str, _Open] = {}

    def request_invoice(self, msats: int, request_uuid: str | None = None) -> str:
        """Order: ask for an invoice over `msats`. Returns the request's uuid.

        Raises ProtocolError `bad_order`, `too_many_open`, `duplicate_request`.
        """
        if not 0 < msats <= self.link.limits.max_msats:
            raise ProtocolError("bad_order", f"an invoice is over 1 to {self.link.limits.max_msats} millisatoshi")
        self._check(request_uuid)
        asked = self.link.request(RequestInvoice, request_uuid, msats=msats)
        return self._opened(asked.request_uuid, _Open(RequestInvoice, msats=msats))

    def request_pay(self, bolt11: str, payment_hash: str | None = None, request_uuid: str | None = None) -> str:
        """Order: have an invoice paid. Returns the request's uuid.

        With the `payment_hash` of the invoice (64 lower-case digits) no other preimage is taken as proof.
        Raises ProtocolError `bad_order`, `too_many_open`, `duplicate_request`.
        """
        if not bolt11.startswith("lnbc"):
            raise ProtocolError("bad_order", "an invoice begins with lnbc")
        if payment_hash is not None and not _HASH.fullmatch(payment_hash):
            raise ProtocolError("bad_order", "a payment hash has 64 lower-case hexadecimal digits")
        self._check(request_uuid)
        asked = self.link.request(RequestPay, request_uuid, bolt11=bolt11)
        return self._opened(asked.request_uuid, _Open(RequestPay, payment_hash=payment_hash))

    def on_message(self, message: Message) -> None:
        """Match an answer."""
        if isinstance(message, NotifyPreimage) and message.request_reference_uuid is None:
            self.link.emit(IncomingPayment(_hash(message.preimage), message.preimage))
        elif isinstance(message, NotifyError) and message.request_reference_uuid is None:
            self.link.emit(RequestFailed(None, self._cut(message.error_msg)))
        elif isinstance(message, NotifyInvoice | NotifyPreimage | NotifyError):
            self._match(message)
        else:
            self.link.pass_up(message)

    def on_timer(self, name: str) -> None:
        """A request has waited too long; the timers bear the uuids of requests."""
        request = self._open.pop(name)
        self._give_up(name, request)
        self.link.emit(RequestTimedOut(name, request.kind.NAME))

    def on_closed(self) -> None:
        """Whatever is open stays in doubt."""
        for request_uuid, request in self._open.items():
            self.link.emit(RequestInDoubt(request_uuid, request.kind.NAME))
        self._open.clear()

    def _check(self, request_uuid: str | None) -> None:
        if len(self._open) >= self.link.limits.max_open_requests:
            raise ProtocolError("too_many_open", f"{len(self._open)} requests wait for their answers")
        if request_uuid in self._open or request_uuid in self._given_up:
            raise ProtocolError("duplicate_request", "a request with this uuid was sent before")

    def _opened(self, request_uuid: str, request: _Open) -> str:
        self._open[request_uuid] = request
        self.link.set_timer(request_uuid, self.link.limits.request_s)
        return request_uuid

    def _match(self, message: Notification) -> None:
        reference = message.request_reference_uuid or ""
        is_late = reference in self._given_up
        request = self._given_up[reference] if is_late else self._open.get(reference)
        if request is None:
            self.link.pass_up(message)
            return
        if _ANSWERED_BY.get(type(message), request.kind) is not request.kind:
            self.link.refuse("wrong_answer", f"{message.NAME} does not answer {request.kind.NAME}")
            return
        if isinstance(message, NotifyPreimage):
            if request.payment_hash is not None and _hash(message.preimage) != request.payment_hash:
                self.link.refuse("wrong_preimage", "the preimage does not match the payment hash of the invoice")
                return
            is_verified = request.payment_hash is not None
            self.link.emit(PaymentProven(reference, message.preimage, is_verified, is_late))
        elif isinstance(message, NotifyInvoice):
            self.link.emit(InvoiceReceived(reference, message.bolt11, request.msats, is_late))
        elif isinstance(message, NotifyError):
            self.link.emit(RequestFailed(reference, self._cut(message.error_msg), is_late))
        (self._given_up if is_late else self._open).pop(reference)
        self.link.cancel_timer(reference)
        if isinstance(message, NotifyError):
            self._give_up(reference, request)

    def _give_up(self, request_uuid: str, request: _Open) -> None:
        self._given_up[request_uuid] = request
        if len(self._given_up) > self.link.limits.max_remembered_requests:
            del self._given_up[next(iter(self._given_up))]

    def _cut(self, text: str) -> str:
        return text[: self.link.limits.max_error_chars]


def _hash(preimage: str) -> str:
    return hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
