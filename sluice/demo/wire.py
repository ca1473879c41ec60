"""The wire between the demo's payer and the fronts: a balancer of a few lines that also sees what passes."""

from __future__ import annotations

from collections import Counter
from itertools import cycle
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Sequence


class Balancer(httpx.AsyncBaseTransport):
    """Sends every request to the next front. `requests` counts them by front, `last_body` is the last one's."""

    def __init__(self, front_urls: Sequence[str]) -> None:
        self.requests: Counter[str] = Counter()
        self.last_body = b""
        self._fronts = cycle([httpx.URL(url) for url in front_urls])
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=100))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass the request on, to the next front's own address."""
        front = next(self._fronts)
        request.url = request.url.copy_with(host=front.host, port=front.port)
        request.headers["host"] = front.netloc.decode("ascii")
        self.requests[str(front)] += 1
        self.last_body = await request.aread()
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
