"""A script of calls that was written for the reference runs against a receiver of several processes as it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.asyncio.client import connect

from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import verify_signed_message
from shared.settings import Settings, environment
from tests.integration.front.rpc_support import Socket
from tests.integration.payer.support import Receiver, listening
from tests.integration.worker.conftest import world
from tests.integration.worker.support import OWN_KEY
from tests.running import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.worker.support import World

__all__ = ["world"]

START_S = 30
GIVEN_BACK = 10_000
"""The bytes that came with our closing: the agent pays them out with our share."""


@contextlib.asynccontextmanager
async def running_front(database_url: str, home: Path) -> AsyncIterator[int]:
    """`sluice front --rpc-port` with two serving processes; yields the port on loopback."""
    port, rpc_port = free_ports(2)
    settings = Settings(database_url=database_url, port=port, home=home, log_format="json")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    words = [sys.executable, "-m", "sluice.cli", "front", "--workers", "2", "--rpc-port", str(rpc_port)]
    with (home / "front.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            words, env=inherited | environment(settings), stdout=log, stderr=log
        )
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success:
                        break
                await asyncio.sleep(0.05)
        yield rpc_port
    finally:
        process.terminate()
        assert await asyncio.to_thread(process.wait, START_S) == 0


class Script:
    """What the reference's users write: curl's POST, and a WebSocket for the events."""

    def __init__(self, port: int, ws: Socket) -> None:
        self.port = port
        self.ws = ws

    async def post(self, method: str, *params: Any) -> Any:
        return await asyncio.to_thread(self._post, method, params)

    def _post(self, method: str, params: Any) -> Any:
        data = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}", data=data)
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - http, a line above
            assert response.status == 200
            answer = json.load(response)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == 1
        return answer

    async def run(self, world: World, peer_url: str) -> None:
        """Open, pay, deposit, refill, be paid and close."""
        aa_address: str = (await self.post("createNewChannel", peer_url, 1e6, {"salt": True}))["result"]
        [amount, unit] = await self.ws.event("my_deposit_became_stable")
        assert amount == 1_000_000
        assert len(unit) == 44
        assert (await self.post("getBalancesAndStatus", aa_address))["result"] == {
            "status": "open",
            "amount_deposited_by_me": 1_000_000,
            "amount_deposited_by_peer": 0,
            "amount_spent_by_me": 0,
            "amount_spent_by_peer": 0,
            "free_amount": 1_000_000,
            "my_deposits": 0,
        }
        paid = await self.ws.call("sendMessageAndPay", aa_address, {"order": 7}, 7_000)
        assert paid == {"jsonrpc": "2.0", "result": "received 7000", "error": None, "id": paid["id"]}
        too_much = await self.ws.call("sendMessageAndPay", aa_address, "hi", 9e9)
        assert too_much["error"] == "AA not funded enough"
        assert too_much["result"] is None

        [package, peer, com_layer] = (await self.post("createPaymentPackage", 500, aa_address))["result"]
        said: Any = verify_signed_message(package, DEVNET, expected_signer=OWN_KEY.address).payload
        assert (said["payment_amount"], said["amount_spent"]) == (500, 7_500)
        assert (peer, com_layer) == (f"{peer_url}/", "http")

        unit = (await self.post("deposit", aa_address, 50_000))["result"]
        assert await self.ws.event("my_deposit_became_stable") == [1_050_000, unit]
        assert (await self.post("setAutoRefill", aa_address, 60_000, 2_000_000))["result"] == []
        assert await self.ws.event("channel_refilled") == [aa_address, 60_000]
        assert (await self.post("setAutoRefill", aa_address, 0, 0))["result"] == []
        assert (await self.post("getChannelsForPeer", peer_url))["result"] == [aa_address]

        payer = await world.peer()
        payer.deposit(400_000, publish=True)
        assert (await self.ws.event("peer_deposit_became_stable"))[0] == 400_000
        verified = await self.post("verifyPaymentPackage", payer.package(3_000))
        assert verified.get("result") == [3_000, "base", payer.channel], verified
        assert await self.ws.event("payment_received") == [3_000, "base", None, payer.channel]
        again = await self.post("verifyPaymentPackage", payer.last_package)
        assert again["error"]["code"] == -32603
        assert again["error"]["message"] == "Payment amount is over your available credit."

        assert (await self.post("close", payer.channel))["result"] == []
        payer.trigger({"confirm": 1, "period": 1})
        assert await self.ws.event("channel_closed") == [payer.channel, 3_000 + GIVEN_BACK]
        assert (await self.post("close", payer.channel))["error"]["message"] == (
            "Cannot close channel while it is not confirmed open"
        )


@pytest.mark.slow
async def test_a_script_for_the_reference(world: World, tmp_path: Path) -> None:
    async with (
        listening(Receiver(KeyPair(bytes([42]) * 32))) as receiver,
        world.running(),
        running_front(world.database_url, tmp_path) as port,
        connect(f"ws://127.0.0.1:{port}", proxy=None) as websocket,
        connect(f"ws://127.0.0.1:{port}/", proxy=None) as other,
    ):
        script = Script(port, Socket(websocket))
        await script.run(world, receiver.url)
        assert (await Socket(other).event("my_deposit_became_stable"))[0] == 1_000_000, "each client hears each event"
    assert receiver.total == 7_000
