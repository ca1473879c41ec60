"""The paying transport for `httpx.Client`: the asynchronous one, on the loop of a `SyncPayer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from sluice.httpx.paying import PayingTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sluice.httpx.budget import Budget, Spending
    from sluice.payer import SyncPayer
    from sluice.payer.peers import RetryPolicy


class SyncPayingTransport(httpx.BaseTransport):
    """As PayingTransport; `inner` is an asynchronous transport."""

    def __init__(
        self,
        payer: SyncPayer,
        budget: Budget,
        *,
        inner: httpx.AsyncBaseTransport | None = None,
        retry: RetryPolicy | None = None,
    ) -> None:
        self._payer = payer
        self._paying = payer.run(_made(payer, budget, inner, retry))

    @property
    def spending(self) -> Spending:
        """What was spent so far."""
        return self._paying.spending

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and pay for its answer if that is asked for."""
        request.read()
        response = self._payer.run(self._paying.handle_async_request(request))
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_Stream(self._payer, response),
            extensions=response.extensions,
        )

    def close(self) -> None:
        """Close the connections; the payer stays open."""
        self._payer.run(self._paying.aclose())


class _Stream(httpx.SyncByteStream):
    """The bytes of an answer, brought over from the payer's loop piece by piece."""

    def __init__(self, payer: SyncPayer, response: httpx.Response) -> None:
        self._payer = payer
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        parts = _raw(self._response)
        while (part := self._payer.run(_next(parts))) is not None:
            yield part

    def close(self) -> None:
        """Give the connection back."""
        self._payer.run(self._response.aclose())


async def _made(
    payer: SyncPayer, budget: Budget, inner: httpx.AsyncBaseTransport | None, retry: RetryPolicy | None
) -> PayingTransport:
    return PayingTransport(payer.payer, budget, inner=inner, retry=retry)


async def _raw(response: httpx.Response) -> AsyncIterator[bytes]:
    if not isinstance(response.stream, httpx.AsyncByteStream):
        return
    async for part in response.stream:
        yield part


async def _next(parts: AsyncIterator[bytes]) -> bytes | None:
    return await anext(parts, None)
