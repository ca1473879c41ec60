"""A receiver on loopback that a payer can talk to, with the faults that receivers and networks have."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shared.obyte.agents import channel_address
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import verify_signed_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from shared.obyte.keys import KeyPair

BOUND_S = 20.0


@dataclass
class Fault:
    """What happens to one request: `acts` tells whether the receiver does what was asked before failing."""

    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    acts: bool = False
    hold: asyncio.Event | None = None
    """Answer only when this is set."""


class Receiver:
    """Credits every package once. `bodies` are the raw requests in order of arrival.

    `faults` and `refusals` come in turn on `create_channel` and `pay`, `readiness` on `is_ready`; then all goes well.
    """

    def __init__(self, key: KeyPair) -> None:
        self.key = key
        self.url = ""
        self.bodies: list[bytes] = []
        self.credited: dict[tuple[str, int, int], int] = {}
        self.claims: dict[str, dict[str, Any]] = {}
        self.faults: deque[Fault | None] = deque()
        self.refusals: deque[dict[str, Any]] = deque()
        self.readiness: deque[dict[str, Any]] = deque()
        self.address_a: str | None = None
        """What `create_channel` answers as our address, to lie."""

    @property
    def commands(self) -> list[str]:
        return [json.loads(body)["command"] for body in self.bodies]

    @property
    def packages(self) -> list[dict[str, Any]]:
        """The signed packages received, one per request."""
        requests = [json.loads(body) for body in self.bodies]
        return [request["params"]["signed_package"] for request in requests if request["command"] == "pay"]

    @property
    def total(self) -> int:
        return sum(self.credited.values())

    async def post(self, request: Request) -> Response:
        body = await request.body()
        self.bodies.append(body)
        if json.loads(body)["command"] == "is_ready":
            return JSONResponse(self.readiness.popleft() if self.readiness else {"response": True})
        fault = self.faults.popleft() if self.faults else None
        if fault is None:
            return JSONResponse(self._act(json.loads(body)))
        answer = self._act(json.loads(body)) if fault.acts else None
        if fault.hold is not None:
            await fault.hold.wait()
            answer = answer or self._act(json.loads(body))
            return JSONResponse(answer)
        content = fault.body if isinstance(fault.body, bytes) else json.dumps(fault.body).encode()
        return Response(content, fault.status, fault.headers)

    def _act(self, request: dict[str, Any]) -> dict[str, Any]:
        if self.refusals:
            return self.refusals.popleft()
        params = request["params"]
        if request["command"] == "create_channel":
            aa_address = channel_address(
                self.key.address,
                *(params[name] for name in ("address", "asset", "timeout", "salt", "version")),
            )
            return {"response": {"address_a": self.address_a or self.key.address, "aa_address": aa_address}}
        package = params["signed_package"]
        said: Any = verify_signed_message(package, DEVNET).payload
        key = (said["aa_address"], said["period"], said["amount_spent"])
        is_duplicate = key in self.credited
        self.credited[key] = said["payment_amount"]
        best = self.claims.get(said["aa_address"])
        if best is None or best["signed_message"]["amount_spent"] < said["amount_spent"]:
            self.claims[said["aa_address"]] = package
        receipt = {"payment_id": 100 + list(self.credited).index(key), "duplicate": is_duplicate}
        return {"response": f"received {said['payment_amount']}", "receipt": receipt}


async def eventually(holds: Callable[[], object]) -> None:
    """Wait for something that announces itself to nobody."""
    async with asyncio.timeout(BOUND_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def listening(receiver: Receiver, port: int = 0) -> AsyncIterator[Receiver]:
    app = Starlette(routes=[Route("/shop/post", receiver.post, methods=["POST"])])
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined,method-assign]
    task = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    receiver.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/shop"
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task
