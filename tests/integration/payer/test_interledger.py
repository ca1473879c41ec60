from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from shared.interledger.btp_plugin import Surroundings
from shared.interledger.plugin.errors import MoneyNotSentError
from shared.obyte.networks import network_named
from sluice.interledger import ChannelPlugin, ChannelTakes, ClaimBook, PayerPays

if TYPE_CHECKING:
    from shared.channels.model import Channel
    from tests.integration.payer.conftest import World

NETWORK = network_named("devnet")


def seen_by_the_peer(channel: Channel) -> Channel:
    return replace(
        channel,
        own_address=channel.peer_address,
        peer_address=channel.own_address,
        deposited_by_peer=channel.deposited_by_me,
        deposited_by_me=0,
        spent_by_me=0,
        spent_by_peer=0,
        credit=0,
    )


async def test_a_payer_pays_over_btp_from_a_channel_of_its_wallet(world: World) -> None:
    told: list[int] = []

    async def take(amount: int) -> None:
        told.append(amount)

    async with world.payer() as payer, ClaimBook(world.home.with_name("claims.db")) as book:
        channel = await world.open_channel(payer)
        state = seen_by_the_peer(channel.state)

        async def channel_of(aa_address: str) -> Channel | None:
            return state if aa_address == state.aa_address else None

        payee = ChannelPlugin(
            {"listener": {"port": 0, "secret": "shh"}, "waitForPeer": False},
            takes=ChannelTakes(book, NETWORK, channel_of),
        )
        payee.register_money_handler(take)
        pays = PayerPays(payer, channel.aa_address, NETWORK)
        async with payee:
            server = f"btp+ws://:shh@127.0.0.1:{payee.port}"
            async with ChannelPlugin({"server": server}, pays=pays, surroundings=Surroundings()) as plugin:
                await plugin.send_money(700)
                await plugin.send_money("300")
                with pytest.raises(MoneyNotSentError):
                    await plugin.send_money(500_000)
            assert told == [700, 300]
            assert [payment.state for payment in await payer.payments()] == ["accepted", "accepted"]
            newest = await pays.newest()
            assert newest == await book.newest_taken(channel.aa_address)
            assert channel.state.spent_by_me == 1_000
