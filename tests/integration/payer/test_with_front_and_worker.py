"""The payer against the real receiver: a front and a worker on one database, on the local ledger."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx

from devnet.server import Devnet
from front.app import create_app
from shared.channels.model import Status
from shared.settings import Settings
from shared.store.database import Database, Role
from sluice.payer import Payer
from tests.integration.payer.conftest import FUNDS, MNEMONIC, OPTIONS, PAYER_ADDRESS
from tests.integration.payer.support import BOUND_S
from tests.integration.worker.support import World as House

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE_BYTES = 10_000
FEES = 6_000
"""More than the fees of the units of one period together, the agent's among them."""


async def test_a_channel_with_the_real_receiver_pays_out_to_the_unit(database_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        database = await Database.connect(database_url, role=Role.WORKER)
        stack.push_async_callback(database.close)
        devnet = await stack.enter_async_context(Devnet(port=0, stabilise_after_s=0.05))
        house = House(devnet, database, database_url)
        stack.push_async_callback(house.bus.close)
        house.fund(house.own)
        devnet.ledger.treasury.fund(PAYER_ADDRESS, FUNDS)
        devnet.ledger.settle()
        app = create_app(Settings(database_url=database_url))
        async with (
            house.running(),
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http,
            Payer.open(
                tmp_path / "payer",
                hub_url=devnet.url,
                network="devnet",
                mnemonic=MNEMONIC,
                options=OPTIONS,
                http=http,
                clock=devnet.ledger.now_s,
            ) as payer,
        ):
            channel = await payer.open_channel("http://front/", 1_000_000)
            await channel.wait_open(BOUND_S)
            first = await channel.pay(1_000, message={"order": 1})  # waits until the worker has seen the deposit
            receipts = await asyncio.gather(*(channel.pay(amount) for amount in range(1, 21)))
            assert (first.response, first.duplicate) == ("received payment for 1000 base", False)
            again = await payer.resend(first.payment_id)
            assert again.duplicate
            assert again.receiver_payment_id == first.receiver_payment_id
            paid = 1_000 + sum(receipt.amount for receipt in receipts)
            assert channel.state.spent_by_me == paid

            world_before = house.own.balance()
            await channel.close()
            summary = await channel.settle(BOUND_S)  # the worker confirms our honest closing
            assert channel.state.status is Status.CLOSED
            assert 0 <= 1_000_000 - paid + MESSAGE_BYTES - summary.received < FEES
            confirming_cost = world_before + paid + MESSAGE_BYTES - house.own.balance()
            assert MESSAGE_BYTES < confirming_cost < MESSAGE_BYTES + FEES
            late = await payer.resend(receipts[-1].payment_id)
            assert (late.duplicate, late.response) == (True, receipts[-1].response)
