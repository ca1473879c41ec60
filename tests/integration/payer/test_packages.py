"""Packages that their caller brings to the peer himself, and getting back in step with a peer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.channels.errors import InsufficientFundsError
from shared.peers.answers import ChannelView
from sluice.payer import LedgerError, PayerError
from tests.integration.payer.support import BOUND_S

if TYPE_CHECKING:
    from tests.integration.payer.conftest import World


async def test_a_package_is_on_record_before_it_is_handed_out(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        package = await payer.create_package(channel.aa_address, 700)
        signed = json.loads(package.package)["signed_message"]
        assert (
            (signed["payment_amount"], signed["amount_spent"]) == (package.amount, package.amount_spent) == (700, 700)
        )
        assert package.package not in repr(package)
        assert channel.state.spent_by_me == 700
    assert "pay" not in world.receiver.commands
    async with world.payer() as payer:
        [payment] = await payer.payments()
        assert (payment.id, payment.state) == (package.payment_id, "signed")
        assert (await payer.resend(package.payment_id)).amount == 700


async def test_what_the_peer_said_is_noted(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        first, second = [await payer.create_package(channel.aa_address, 1) for _ in range(2)]
        await payer.note(first.payment_id, accepted=True)
        await payer.note(second.payment_id, accepted=False, code="not_funded")
        assert [payment.state for payment in await payer.payments()] == ["accepted", "refused"]
        await payer.note(first.payment_id, accepted=False, code="late")
        assert [payment.state for payment in await payer.payments()] == ["accepted", "refused"]


async def test_no_package_is_made_of_more_than_there_is(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        with pytest.raises(InsufficientFundsError):
            await payer.create_package(channel.aa_address, 500_001)
        assert channel.state.spent_by_me == 0


async def test_a_higher_record_of_the_peer_is_taken_over_within_the_limit(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(100)
        view = ChannelView(period=1, amount_spent=1_100, credit=0, status="open")
        with pytest.raises(PayerError, match="1000 more") as error:
            await payer.resynchronise(channel.aa_address, view, at_most=999)
        assert (error.value.code, channel.state.spent_by_me) == ("out_of_step", 100)
        assert await payer.resynchronise(channel.aa_address, view, at_most=1_000) == 1_000
        assert channel.state.spent_by_me == 1_100
        assert await payer.resynchronise(channel.aa_address, view, at_most=1_000) == 0
        assert (await channel.pay(1)).amount_spent == 1_101


async def test_no_more_than_the_channel_has_is_ever_given_in_to_a_peer(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        view = ChannelView(period=1, amount_spent=500_001, credit=0, status="open")
        with pytest.raises(PayerError, match="more than we have"):
            await payer.resynchronise(channel.aa_address, view, at_most=10**9)
        later = replace(view, period=2, amount_spent=5)
        assert await payer.resynchronise(channel.aa_address, later, at_most=10**9) == 0
        assert channel.state.spent_by_me == 0


async def test_a_deposit_is_waited_for(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        with pytest.raises(LedgerError, match=r"within 0\.01 s"):
            await payer.wait_spendable(channel.aa_address, 500_001, 0.01)
        await channel.deposit(20_000)
        assert (await payer.wait_spendable(channel.aa_address, 510_000, BOUND_S)).deposited_by_me > 500_000
