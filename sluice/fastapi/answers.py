"""`Payments`: makes an application one that is paid. It keeps what was answered to paid requests.

Answers are kept before they are sent: who did not get one repeats the request and gets the same. An answer with a
status of 500 or more is not kept, so that the handler gets another chance; of two that were worked out at once the
first one kept is given to both.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from shared.logs import get_logger
from sluice.fastapi.outcomes import RECEIPT, TOO_LARGE, KeptAnswer, Outcome, problem
from sluice.fastapi.receivers import ReceiverUnavailableError
from sluice.fastapi.sales import Sale
from sluice.terms import encode_receipt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from sluice.fastapi.purchases import Purchase
    from sluice.fastapi.receivers import PackageReceiver

logger = get_logger(__name__)

MAX_HELD_BYTES = 50_000
"""Of a body, while it may still become small enough to be kept."""
_SERVER_ERROR = 500


class Payments:
    """Puts a receiver behind the `PaymentRequired` of an application; it starts and ends with the application.

    Make it when the application is made, before other middleware that changes answers: what is added later is outside,
    and sees answers as they were kept.
    """

    def __init__(self, app: FastAPI, receiver: PackageReceiver) -> None:
        app.add_exception_handler(Outcome, _on_outcome)
        app.add_middleware(SaleMiddleware, receiver=receiver)
        inner = app.router.lifespan_context

        @asynccontextmanager
        async def lifespan(started: FastAPI) -> AsyncIterator[Any]:
            async with receiver, inner(started) as state:
                yield state

        app.router.lifespan_context = lifespan


class SaleMiddleware:
    """Follows every request from its body to its answer."""

    def __init__(self, app: ASGIApp, receiver: PackageReceiver) -> None:
        self._app = app
        self._receiver = receiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sale = Sale(self._receiver, receive)
        sale.enter(scope)
        answering = _Answering(sale, scope, receive, send)
        try:
            await self._app(scope, sale.receive, answering.send)
        except Exception:
            if sale.purchase is not None:
                await answering.fail(sale.purchase)
            raise


class _Answering:
    """The way back of one answer. Answers of requests that bought nothing pass as they are."""

    def __init__(self, sale: Sale, scope: Scope, receive: Receive, send: Send) -> None:
        self._sale = sale
        self._scope = scope
        self._receive = receive
        self._send = send
        self._is_started = False
        self._held: Message | None = None
        self._body = bytearray()

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, or hold it until the whole is known."""
        purchase = self._sale.purchase
        if purchase is None:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._is_started = True
            await self._start({**message, "headers": _with_receipt(message, purchase)})
        elif self._held is not None and message["type"] == "http.response.body":
            await self._hold(self._held, purchase, message)
        else:
            await self._send(message)

    async def fail(self, purchase: Purchase) -> None:
        """Tell who has paid that his request failed, if nothing was told yet. The same request may succeed later."""
        if self._is_started:
            return
        text = "the request was paid for and failed; the same request with the same package tries it again"
        failed = problem(500, "application_failed", text, receipt=purchase.receipt)
        await failed.response(self._scope, self._receive, self._send)

    async def _start(self, message: Message) -> None:
        if self._sale.keeps_answer and message["status"] < _SERVER_ERROR:
            self._held = message
        else:
            await self._send(message)

    async def _hold(self, start: Message, purchase: Purchase, message: Message) -> None:
        self._body += message.get("body", b"")
        if message.get("more_body", False) and len(self._body) <= MAX_HELD_BYTES:
            return
        self._held = None
        kept = await self._keep(start, purchase, is_whole=not message.get("more_body", False))
        if kept is not None:
            await kept.response(purchase.receipt)(self._scope, self._receive, self._send)
            return
        await self._send(start)
        await self._send({**message, "body": bytes(self._body)})

    async def _keep(self, start: Message, purchase: Purchase, *, is_whole: bool) -> KeptAnswer | None:
        """Keep the answer; return another one if that was kept before."""
        headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"])
        answer = KeptAnswer(start["status"], headers, bytes(self._body)).encoded() if is_whole else TOO_LARGE
        try:
            kept = await self._sale.receiver.keep(purchase.payment_id, answer)
        except ReceiverUnavailableError as error:
            # The payer gets his answer all the same; if he loses it, the handler runs once more.
            logger.warning("answer_not_kept", payment_id=purchase.payment_id, reason=str(error))
            return None
        return None if kept == answer else KeptAnswer.decoded(kept)


def _with_receipt(start: Message, purchase: Purchase) -> list[tuple[bytes, bytes]]:
    headers = [*start["headers"], (RECEIPT.encode(), encode_receipt(purchase.receipt).encode())]
    if not any(name.lower() == b"cache-control" for name, _ in headers):
        headers.append((b"cache-control", b"private, no-store"))
    return headers


async def _on_outcome(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Outcome):
        raise error
    return error.response
