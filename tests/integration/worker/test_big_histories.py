"""Histories of more units than a hub tells at once; here that is a handful."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet import agent_queries, queries
from shared.channels.model import Status
from shared.obyte import hub_requests
from shared.obyte.composing import Output
from shared.store import alarms
from shared.store.alarms import AlarmKind
from tests.integration.worker.support import OWN_KEY, eventually
from worker import big_histories

if TYPE_CHECKING:
    from tests.integration.worker.support import World
    from worker.wallet import Wallet

LIMIT = 8


@pytest.fixture(autouse=True)
def _small_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_LISTED", LIMIT)
    monkeypatch.setattr(big_histories, "GOOD_ANSWER", LIMIT // 2)
    monkeypatch.setattr(big_histories, "MAX_KNOWN_UNITS", LIMIT)
    monkeypatch.setattr(big_histories, "CHUNK", 3)
    for module in (agent_queries, big_histories, hub_requests):
        monkeypatch.setattr(module, "MAX_RESPONSES", 4)


def wallet_of(runtime: Any) -> Wallet:
    wallet: Wallet = runtime._vault.wallet
    return wallet


async def alarms_of(world: World, kind: AlarmKind) -> list[str]:
    async with world.database.connection() as conn:
        return [alarm.subject for alarm in await alarms.active(conn) if alarm.kind is kind]


async def test_a_channel_with_a_long_past_is_read_event_by_event(world: World) -> None:
    peer = await world.stranger()
    peer.deposit(100_000, publish=True)
    for number in range(12):
        await world.devnet.stabilise()
        peer.deposit(20_000 + number)
    await world.devnet.stabilise()
    async with world.running():
        await world.add_channel(peer)
        channel = await world.until(peer, lambda channel: channel.last_event_id == 13, "at its last event")
        peer.deposit(50_000)
        await world.until(peer, lambda channel: channel.last_event_id == 14, "at the next event")
        command = await world.until_done(await world.order_close(peer))
        assert command.error is None
    assert channel.deposited_by_peer == 100_000 + sum(20_000 + number for number in range(12))
    assert [event.event_id for event in await world.events(peer)][:14] == list(range(1, 15))
    assert await alarms_of(world, AlarmKind.HISTORY_TOO_LARGE) == []


async def test_what_the_list_of_responses_leaves_out_is_a_gap(world: World, caplog: pytest.LogCaptureFixture) -> None:
    honest = await world.devnet.add_hub()
    peer = await world.stranger()
    peer.deposit(100_000, publish=True)
    for number in range(9):
        await world.devnet.stabilise()
        peer.deposit(20_000 + number)
    await world.devnet.stabilise()
    world.devnet.faults.lie("light/get_aa_responses", lambda answer: answer[1:], times=None)
    async with world.running(hub_url=f"{world.devnet.url},{honest.url}"):
        await world.add_channel(peer)
        await world.until(peer, lambda channel: channel.last_event_id == 10, "at its last event")
    said = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    assert {"hub_withholds"} == {event["reason"] for event in said if event.get("kind") == "hub_lies"}


async def test_an_event_that_was_invented_in_the_list_is_none(world: World) -> None:
    peer = await world.stranger()
    peer.deposit(100_000, publish=True)
    for number in range(9):
        await world.devnet.stabilise()
        peer.deposit(20_000 + number)
    await world.devnet.stabilise()
    genesis = world.devnet.ledger.network.genesis_unit

    def add_another(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [answer[0] | {"response_unit": genesis}, *answer[1:]] if answer else answer

    world.devnet.faults.lie("light/get_aa_responses", add_another)
    async with world.running():
        await world.add_channel(peer)
        await world.until(peer, lambda channel: channel.last_event_id == 10, "at its last event")
    assert [event.event_id for event in await world.events(peer)] == list(range(1, 11))


@pytest.mark.parametrize("payments", [6, 11, 40])
async def test_an_imported_wallet_with_a_long_past_finds_its_coins(world: World, payments: int) -> None:
    giver = await world.stranger(9)
    for number in range(payments):
        giver.post([Output(OWN_KEY.address, 30_000 + number)])
        await world.devnet.stabilise()
    for _ in range(3):
        world.own.post([Output(giver.address, 10_000)])
        await world.devnet.stabilise()
    async with world.running() as runtime:
        await eventually(world.is_awake, "a heartbeat")
        wallet = wallet_of(runtime)

        async def has_most() -> bool:
            return wallet.coins.balance().stable >= world.own.balance() * 9 // 10

        await eventually(has_most, "most of the money")
        real = {coin.outpoint for coin in world.own.coins()}
        assert {coin.outpoint for coin in wallet.coins.coins()} <= real
        peer = await world.peer()
        await world.open(peer)
        command = await world.until_done(await world.order_close(peer))
        assert command.error is None


async def test_a_hub_that_invents_coins_only_gets_proven_ones_counted(world: World) -> None:
    giver = await world.stranger(9)
    for number in range(40):
        giver.post([Output(OWN_KEY.address, 30_000 + number)])
        await world.devnet.stabilise()
    told = []

    def invented(answer: Any) -> Any:
        told.append(answer)
        return {address: {"base": {"stable": 10**12}} for address in answer}

    world.devnet.faults.lie("light/get_balances", invented, times=None)
    async with world.running() as runtime:
        await eventually(world.is_awake, "a heartbeat")
        coins = wallet_of(runtime).coins
        assert 0 < coins.balance().stable <= world.own.balance()

        async def is_alarmed() -> bool:
            return await alarms_of(world, AlarmKind.HISTORY_TOO_LARGE) == [OWN_KEY.address]

        await eventually(is_alarmed, "an alarm")
        told.clear()

        async def is_later() -> bool:
            return len(told) > 1

        await eventually(is_later, "another round")
        assert await is_alarmed()
        assert coins.balance().stable < world.own.balance()
        world.devnet.faults.clear()
        world.devnet.drop_connections()

        async def is_quiet() -> bool:
            return await alarms_of(world, AlarmKind.HISTORY_TOO_LARGE) == []

        await eventually(is_quiet, "no alarm")
        assert coins.balance().stable == world.own.balance()


async def test_a_channel_that_cannot_be_read_at_all_is_a_reason_for_alarm_and_holds_up_no_other(world: World) -> None:
    async with world.running():
        peer = await world.peer(1)
        await world.open(peer)
        world.devnet.pause()
        flooding = await world.peer(2)
        for number in range(LIMIT + 2):
            flooding.deposit(20_000 + number, publish=not number)

        async def is_alarmed() -> bool:
            return await alarms_of(world, AlarmKind.HISTORY_TOO_LARGE) == [flooding.channel]

        await eventually(is_alarmed, "an alarm")
        world.devnet.resume()
        peer.close(admits=0)
        await world.until(peer, lambda channel: channel.status is Status.CLOSED, "closed")
        await world.until(flooding, lambda channel: channel.last_event_id == LIMIT + 2, "at its last event")

        async def is_quiet() -> bool:
            return await alarms_of(world, AlarmKind.HISTORY_TOO_LARGE) == []

        await eventually(is_quiet, "no alarm")
