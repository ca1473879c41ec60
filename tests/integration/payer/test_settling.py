"""Closing a channel from the payer's side, by either party, with and without trouble."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.errors import NotClosableError, NotPayableError
from shared.channels.model import Status
from shared.obyte.composing import Output, data_message
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message
from sluice.payer import store as payer_store
from sluice.payer.book import ChannelBook
from sluice.payer.errors import LedgerError, PayerError
from sluice.payer.posting import UnitPoster
from tests.integration.payer.conftest import FUNDS, OPTIONS
from tests.integration.payer.support import BOUND_S, eventually

if TYPE_CHECKING:
    from shared.obyte.history import ProvenUnit
    from sluice.payer import PayerChannel
    from tests.integration.payer.conftest import World

RESPONSE_FEES = 5_000
"""More than the agent's responses of a period cost together; the party that gets more bears them."""


def close_by_peer(world: World, channel: PayerChannel, **claims: Any) -> None:
    data = {"close": 1, "period": channel.state.current_period, **claims}
    unit = world.peer.compose([Output(channel.aa_address, 10_000)], [data_message(data)], max_aa_responses=1)
    world.devnet.ledger.post(unit)


async def test_our_closing_is_confirmed_by_us_when_the_timeout_has_passed(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(6_000)
        await channel.close()
        settling = asyncio.create_task(channel.settle(BOUND_S))
        await eventually(lambda: channel.state.status is Status.CLOSING_BY_ME)
        assert len(world.triggers(channel.aa_address)) == 2
        world.devnet.skip_time(channel.state.timeout_s + 1)
        settling.cancel()  # it sleeps by our clock, which the test has moved
        await asyncio.gather(settling, return_exceptions=True)
        summary = await channel.settle(BOUND_S)
        assert not summary.by_fraud_proof
        assert 500_000 + 10_000 - 6_000 - RESPONSE_FEES < summary.received < 500_000 + 2 * 10_000 - 6_000
        spent = FUNDS - (await payer.balance()).total
        assert 6_000 < spent < 6_000 + 2 * 10_000 + RESPONSE_FEES  # with the fees of three units of ours
    world.devnet.ledger.settle()
    assert len(world.triggers(channel.aa_address)) == 3


async def test_an_honest_closing_of_the_peer_is_confirmed_at_once(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(6_000)
        close_by_peer(world, channel, sentByPeer=world.receiver.claims[channel.aa_address])
        summary = await channel.settle(BOUND_S)
        assert (summary.spent_by_me, summary.period) == (6_000, 1)
        assert 500_000 - 6_000 - RESPONSE_FEES < summary.received < 500_000 + 2 * 10_000 - 6_000


async def test_a_payment_that_never_reached_the_peer_comes_back_when_the_peer_closes(world: World) -> None:
    async with world.payer(hub_url=world.devnet.url) as payer:
        channel = await world.open_channel(payer)
        await channel.pay(6_000)
        claim = world.receiver.claims[channel.aa_address]
        await channel.pay(100_000)
        close_by_peer(world, channel, sentByPeer=claim)
        summary = await channel.settle(BOUND_S)
        assert summary.spent_by_me == 106_000
        assert summary.received > 500_000 - 6_000 - RESPONSE_FEES


async def test_a_peer_that_hides_what_it_owes_us_loses_the_channel(world: World) -> None:
    """The payer holds the peer's package over 50 000; the peer closes as if it had never signed."""
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        world.devnet.ledger.post(world.peer.compose([Output(channel.aa_address, 200_000)]))
        await eventually(lambda: channel.state.deposited_by_peer == 200_000)
        terms = {"payment_amount": 50_000, "amount_spent": 50_000, "period": 1, "aa_address": channel.aa_address}
        claim = json.dumps(sign_message(terms, world.peer.key, DEVNET))

        def receive(_: Any, stored: Any) -> Any:
            return replace(stored, state=replace(stored.state, spent_by_peer=50_000, claim=claim)), None

        await payer._book.change(channel.aa_address, receive)
        close_by_peer(world, channel, transferredFromMe=0)
        summary = await channel.settle(BOUND_S)
        assert summary.by_fraud_proof
        assert summary.received > 700_000 - RESPONSE_FEES


async def test_after_the_order_to_close_nothing_more_is_signed(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(10)
        results = await asyncio.gather(
            channel.pay(10), channel.close(), channel.pay(10), channel.pay(10), return_exceptions=True
        )
        assert any(isinstance(result, NotPayableError) for result in results)
        await eventually(lambda: channel.state.status is Status.CLOSING_BY_ME)
        closing = world.triggers(channel.aa_address)[1]
        claimed = next(message["payload"] for message in closing["messages"] if message["app"] == "data")
        assert claimed == {"close": 1, "period": 1, "transferredFromMe": channel.state.spent_by_me}
        with pytest.raises(NotPayableError):
            await channel.pay(1)


async def test_closing_twice_posts_one_unit(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await asyncio.gather(channel.close(), channel.close())
        await channel.close()
    assert len(world.triggers(channel.aa_address)) == 2


async def test_a_channel_that_is_not_open_cannot_be_closed(world: World) -> None:
    async with world.payer() as payer:
        world.devnet.pause()
        channel = await payer.open_channel(world.receiver.url, 500_000)
        with pytest.raises(NotClosableError):
            await channel.close()
        with pytest.raises(PayerError) as refused:
            await channel.settle(BOUND_S)
        assert refused.value.code == "not_open"
        world.devnet.resume()


@pytest.mark.parametrize("line", [(ChannelBook, "change"), (UnitPoster, "_compose"), (UnitPoster, "_post")])
async def test_a_closing_survives_a_crash_and_is_posted_once(
    world: World, monkeypatch: pytest.MonkeyPatch, line: tuple[type, str]
) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(6_000)
        original = getattr(*line)
        with monkeypatch.context() as patched:
            crashed = asyncio.Event()

            async def crash(*args: Any, **named: Any) -> Any:
                if line[1] == "change":
                    await original(*args, **named)
                crashed.set()
                await asyncio.Event().wait()

            patched.setattr(*line, crash)
            closing = asyncio.create_task(channel.close())
            async with asyncio.timeout(BOUND_S):
                await crashed.wait()
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            await payer._opener._poster.close()
    async with world.payer() as payer:
        channel = payer.channel(channel.aa_address)
        settling = asyncio.create_task(channel.settle(BOUND_S))
        await eventually(lambda: channel.state.status is Status.CLOSING_BY_ME)
        world.confirm(channel.aa_address)
        assert (await settling).spent_by_me == 6_000
    assert len(world.triggers(channel.aa_address)) == 2


async def test_a_confirmation_that_came_too_early_is_repeated_later_and_not_at_once(world: World) -> None:
    ahead_s = 100  # our clock, before the agent's
    careful = replace(OPTIONS, confirm_margin_s=60)
    async with world.payer(options=careful, clock=lambda: world.devnet.ledger.now_s() + ahead_s) as payer:
        channel = await world.open_channel(payer)
        await channel.close()
        await eventually(lambda: channel.state.status is Status.CLOSING_BY_ME)
        world.devnet.skip_time(1_000 + 60 - ahead_s + 2)
        with pytest.raises(LedgerError):
            await channel.settle(0.5)
        [*_, early] = await payer._settler._store.run(lambda db: payer_store.journal(db, channel.aa_address))
        assert (early.purpose, early.state, early.reason) == ("confirm", "bounced", "too early")
        world.devnet.skip_time(60)
        assert (await channel.settle(BOUND_S)).received > 0
    assert len(world.triggers(channel.aa_address)) == 4


async def test_a_channel_can_be_opened_again_after_its_end(world: World) -> None:
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        await channel.pay(6_000)
        close_by_peer(world, channel, sentByPeer=world.receiver.claims[channel.aa_address])
        await channel.settle(BOUND_S)
        await channel.deposit(300_000)
        state = await channel.wait_open(BOUND_S)
        assert (state.period, state.deposited_by_me, state.spent_by_me) == (2, 300_000, 0)
        assert (await channel.pay(5)).amount_spent == 5
        with pytest.raises(LedgerError) as waited:
            await channel.settle(0.05)
        assert waited.value.code == "timeout"


async def test_what_the_hub_withholds_is_read_again(world: World) -> None:
    """Events come in the order of their numbers: with one missing, none after it is believed, until all are there."""
    async with world.payer() as payer:
        channel = await world.open_channel(payer)
        original = payer._wallet._apply_events
        withheld = asyncio.Event()

        async def forgetful(stored: Any, proven: Any) -> None:
            if not withheld.is_set() and stored.state.last_event_id == 1:
                proven = [unit for unit in proven if not _tells(unit.unit, 2)]
                if any(unit.is_stable and _tells(unit.unit, 3) for unit in proven):
                    withheld.set()
            await original(stored, proven)

        payer._wallet._apply_events = forgetful  # type: ignore[method-assign]
        await channel.deposit(20_000)
        await eventually(lambda: len(world.triggers(channel.aa_address)) == 2)
        await payer.balance()
        world.devnet.ledger.settle()
        await channel.deposit(30_000)
        async with asyncio.timeout(BOUND_S):
            await withheld.wait()
        await payer.balance()
        await eventually(lambda: channel.state.deposited_by_me == 550_000)


async def test_a_response_that_cannot_be_read_stops_its_channel_and_no_other(world: World) -> None:
    async with world.payer() as payer:
        channel, other = await world.open_channel(payer), await world.open_channel(payer)
        before = channel.state
        original = payer._wallet._apply_events
        met = 0

        async def garbled(stored: Any, proven: Any) -> None:
            nonlocal met
            if stored.state.aa_address == channel.aa_address:
                proven = [_garbled(unit, before.peer_address) if _tells(unit.unit, 2) else unit for unit in proven]
                met += any(unit.is_stable and _tells(unit.unit, 2) for unit in proven)
            await original(stored, proven)

        payer._wallet._apply_events = garbled  # type: ignore[method-assign]
        for amount in (20_000, 30_000):
            await channel.deposit(amount)
            await other.deposit(amount)
            world.devnet.ledger.settle()
            await payer.balance()
        await eventually(lambda: met and other.state.last_event_id == 3)
        await payer.balance()
        assert other.state.deposited_by_me == 550_000
        assert channel.state == before


def _garbled(unit: ProvenUnit, address: str) -> ProvenUnit:
    messages = [
        {**message, "payload": {**message["payload"], address: "much"}} if message["app"] == "data" else message
        for message in unit.unit["messages"]
    ]
    return replace(unit, unit={**unit.unit, "messages": messages})


def _tells(unit: dict[str, Any], event_id: int) -> bool:
    return any(
        message["app"] == "data" and message["payload"].get("event_id") == event_id for message in unit["messages"]
    )
