"""One request on its way through the application: its body's digest, and what it turned out to have bought."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from sluice.fastapi.outcomes import problem

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from starlette.requests import Request
    from starlette.types import Message, Receive

    from sluice.fastapi.purchases import Purchase
    from sluice.fastapi.receivers import PackageReceiver

MAX_BODY_BYTES = 1_048_576
"""Of a paid request: it is read whole before it is paid for."""
_SCOPE_KEY = "sluice.sale"


class Sale:
    """What the application knows of one request. `purchase` is None until it is paid for."""

    def __init__(self, receiver: PackageReceiver, receive: Receive) -> None:
        self.receiver = receiver
        self.purchase: Purchase | None = None
        self.keeps_answer = False
        self._receive = receive
        self._digest = hashlib.sha256()
        self._size = 0
        self._is_whole = False

    def enter(self, scope: MutableMapping[str, Any]) -> None:
        """Let the dependency find it."""
        scope[_SCOPE_KEY] = self

    async def receive(self) -> Message:
        """Receive for the application, and see what its body is."""
        message = await self._receive()
        if message["type"] == "http.request" and not self._is_whole:
            chunk = message.get("body", b"")
            self._size += len(chunk)
            self._digest.update(chunk)
            self._is_whole = not message.get("more_body", False)
        return message

    async def body_digest(self, request: Request) -> str:
        """Read the body to its end, if nobody has, and return its digest. Raises an Outcome when it is too large."""
        if not self._is_whole:
            chunks = []
            async for chunk in request.stream():
                chunks.append(chunk)
                self._check_size()
            request._body = b"".join(chunks)  # noqa: SLF001 - where the framework itself puts it for later readers
        self._check_size()
        return self._digest.hexdigest()

    def sold(self, purchase: Purchase, *, keep_answer: bool) -> None:
        """Note that the request is paid for. Raises RuntimeError if it was already: one package buys one answer."""
        if self.purchase is not None:
            raise RuntimeError("a route may depend on one PaymentRequired only")
        self.purchase = purchase
        self.keeps_answer = keep_answer

    def _check_size(self) -> None:
        if self._size > MAX_BODY_BYTES:
            text = f"the body of a paid request must not be larger than {MAX_BODY_BYTES} bytes"
            raise problem(413, "body_too_large", text)


def sale_of(scope: MutableMapping[str, Any]) -> Sale:
    """Return the request's sale. Raises RuntimeError when the application has no `Payments`."""
    sale: Sale | None = scope.get(_SCOPE_KEY)
    if sale is None:
        raise RuntimeError("the application takes no payments: Payments(app, receiver) is missing")
    return sale
