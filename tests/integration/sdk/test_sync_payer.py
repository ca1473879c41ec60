"""The payer without an event loop. The local ledger runs on the test's loop, so the payer is used in another thread."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from sluice import PayerError, PaymentRefusedError, PaymentUncertainError, SyncPayer
from sluice.home import HomeBusyError
from tests.integration.payer.conftest import MNEMONIC, OPTIONS, PAYER_ADDRESS, world
from tests.integration.payer.support import BOUND_S, Fault

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sluice import SyncPayerChannel
    from tests.integration.payer.conftest import World

__all__ = ["world"]


def opened(world: World, **more: Any) -> AbstractContextManager[SyncPayer]:
    return SyncPayer.open(
        world.home,
        hub_url=world.devnet.url,
        network="devnet",
        mnemonic=MNEMONIC,
        options=OPTIONS,
        clock=world.devnet.ledger.now_s,
        **more,
    )


def open_channel(world: World, payer: SyncPayer) -> SyncPayerChannel:
    channel = payer.open_channel(world.receiver.url, 500_000)
    channel.wait_open(BOUND_S)
    return channel


async def test_a_channel_from_opening_to_settlement(world: World) -> None:
    def program() -> int:
        with opened(world) as payer:
            assert payer.address == PAYER_ADDRESS
            payer.wait_connected(BOUND_S)
            assert payer.balance().stable > 0
            channel = open_channel(world, payer)
            receipt = channel.pay(1_000, message={"order": 1})
            assert (receipt.amount, receipt.response) == (1_000, "received 1000")
            assert payer.resend(receipt.payment_id).duplicate
            assert [payment.state for payment in payer.payments()] == ["accepted"]
            assert payer.channels() == (channel,)
            assert channel.state.spent_by_me == 1_000
            channel.close()
            world.confirm(channel.aa_address)
            return channel.settle(BOUND_S).spent_by_me

    assert await asyncio.to_thread(program) == 1_000


async def test_errors_are_those_of_the_asynchronous_payer(world: World) -> None:
    def program() -> None:
        with opened(world) as payer:
            channel = open_channel(world, payer)
            world.receiver.refusals.append({"error": "no", "code": "not_funded"})
            with pytest.raises(PaymentRefusedError, match="no") as refused:
                channel.pay(1)
            assert refused.value.code == "not_funded"
            world.receiver.faults.extend([Fault(500)] * 3)
            with pytest.raises(PaymentUncertainError) as uncertain:
                payer.pay(world.receiver.url, 1)
            assert payer.resend(uncertain.value.payment_id).amount == 1

    await asyncio.to_thread(program)


async def test_many_threads_may_pay(world: World) -> None:
    def program() -> int:
        with opened(world) as payer, ThreadPoolExecutor(8) as threads:
            channel = open_channel(world, payer)
            list(threads.map(channel.pay, range(1, 41)))
            return channel.state.spent_by_me

    assert await asyncio.to_thread(program) == world.receiver.total == 820


async def test_after_its_block_the_payer_is_closed_and_its_home_and_thread_are_free(world: World) -> None:
    def program() -> None:
        with opened(world) as payer, pytest.raises(HomeBusyError), opened(world):
            pass
        with pytest.raises(PayerError, match="closed"):
            payer.pay("x", 1)
        with opened(world):
            pass

    await asyncio.to_thread(program)
    assert "payer" not in {thread.name for thread in threading.enumerate()}


async def test_a_block_that_fails_leaves_nothing_behind(world: World) -> None:
    def program() -> None:
        with pytest.raises(ZeroDivisionError), opened(world):
            raise ZeroDivisionError
        with opened(world):
            pass

    await asyncio.to_thread(program)
