"""The stack of a consumer: asks wallets for invoices and payments, and waits for their answers.

| in the libraries                            | here                                                              |
|---------------------------------------------|-------------------------------------------------------------------|
| `request_invoice`, `requestInvoice`         | `connection.request_invoice`, or `await connection.invoice`       |
| `request_pay`, `requestPay`                 | `connection.request_pay`, or `await connection.pay`               |
| `oninvoice`, `onpreimage`                   | `on(InvoiceReceived, ...)`, also `PaymentProven`, `IncomingPayment` |
| `onerror`                                   | `on(RequestFailed, ...)`                                          |
| `onproviderinfo`                            | `on(ProviderKnown, ...)`; `connection.provider`                   |
| the current nexus and seed                  | `connection.session`, `connection.seed`                           |

A description of an invoice, which the libraries take and drop, is not asked for: no message can carry one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from shared.moneysocket.errors import MoneysocketError
from shared.moneysocket.events import (
    InvoiceReceived,
    PaymentProven,
    ProviderKnown,
    RequestFailed,
    RequestInDoubt,
    RequestTimedOut,
)
from shared.moneysocket.session import ConsumerSession
from shared.moneysocket.stacks.connection import Connection
from shared.moneysocket.stacks.stack import Stack

if TYPE_CHECKING:
    from shared.moneysocket.events import Event
    from shared.moneysocket.replay import ReplayGuard
    from shared.moneysocket.seeds import SharedSeed
    from shared.moneysocket.session import Options


class RequestError(MoneysocketError):
    """A request without the answer it asked for.

    Codes: `request_failed` (the provider says so, and why), `timed_out`, `in_doubt` (the connection went first). After
    the last two a payment may still happen: pay the same invoice again, never another one for the same thing.
    """


class ConsumerConnection(Connection[ConsumerSession]):
    """A consumer's connection."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.provider: ProviderKnown | None = None
        """Who provides, and its balance, as told last."""
        self._waiting: dict[str, asyncio.Future[Any]] = {}

    def request_invoice(self, msats: int, request_uuid: str | None = None) -> str:
        """Ask for an invoice; the answer comes as `InvoiceReceived` with the uuid that is returned.

        Raises ProtocolError `not_announced`, `bad_order`, `too_many_open`, `duplicate_request`.
        """
        asked = self.usable().request_invoice(msats, self._clock(), request_uuid)
        self.pump()
        return asked

    def request_pay(self, bolt11: str, payment_hash: str | None = None, request_uuid: str | None = None) -> str:
        """Have an invoice paid; the proof comes as `PaymentProven` with the uuid that is returned.

        With the invoice's `payment_hash` only the right preimage is taken as proof. Raises as `request_invoice`.
        """
        asked = self.usable().request_pay(bolt11, self._clock(), payment_hash, request_uuid)
        self.pump()
        return asked

    async def invoice(self, msats: int, request_uuid: str | None = None) -> str:
        """Ask for an invoice over `msats` and return it; check its amount. Raises also RequestError."""
        answer = self._answer(self.usable().request_invoice(msats, self._clock(), request_uuid))
        return str((await answer).bolt11)

    async def pay(self, bolt11: str, payment_hash: str | None = None, request_uuid: str | None = None) -> PaymentProven:
        """Have an invoice paid and return the proof. Raises also RequestError.

        A proof that comes after the time-out is reported as `PaymentProven` with `is_late`.
        """
        proof: PaymentProven = await self._answer(
            self.usable().request_pay(bolt11, self._clock(), payment_hash, request_uuid)
        )
        return proof

    def take_note(self, event: Event) -> None:
        """For the stack: wake whoever waits for this answer."""
        match event:
            case ProviderKnown():
                self.provider = event
            case InvoiceReceived(request_uuid=uuid) | PaymentProven(request_uuid=uuid):
                if answer := self._waiting.pop(uuid, None):
                    answer.set_result(event)
            case RequestFailed(request_uuid=str(uuid), text=text):
                self._fail(uuid, "request_failed", text)
            case RequestTimedOut(request_uuid=uuid, name=name):
                self._fail(uuid, "timed_out", f"no answer to {name} came in time")
            case RequestInDoubt(request_uuid=uuid, name=name):
                self._fail(uuid, "in_doubt", f"the connection went before {name} was answered")
            case _:
                pass
        super().take_note(event)

    async def _answer(self, asked: str) -> Any:
        answer = self._waiting[asked] = asyncio.get_running_loop().create_future()
        try:
            self.pump()
            return await answer
        finally:
            self._waiting.pop(asked, None)

    def _fail(self, asked: str, code: str, text: str) -> None:
        if answer := self._waiting.pop(asked, None):
            answer.set_exception(RequestError(code, text))


class ConsumerStack(Stack[ConsumerConnection]):
    """Any number of wallets, dialled or dialling."""

    def _connection(self, seed: SharedSeed, guard: ReplayGuard) -> ConsumerConnection:
        return ConsumerConnection(seed, guard, self.wires.clock)

    def _session(self, connection: ConsumerConnection, options: Options) -> ConsumerSession:
        return ConsumerSession(connection.seed, **options)

    def _notice(self, connection: ConsumerConnection, event: Event) -> None:
        """Nothing: whoever waits has been woken."""
