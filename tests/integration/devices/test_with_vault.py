"""The whole worker: channels are asked for and paid on by messages, funded and settled on the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devnet.server import Devnet
from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.pairing import PairingCode
from shared.settings import Settings
from shared.store import contacts, correspondents
from shared.store.database import Database, Role
from tests.integration.devices.support import OWN_DEVICE, Phone, eventually
from tests.integration.worker.support import OWN_KEY, World
from worker.devices.messenger import Device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    database = await Database.connect(database_url, role=Role.WORKER)
    async with Devnet(port=0, stabilise_after_s=0.05) as devnet:
        world = World(devnet, database, database_url)
        world.fund(world.own)
        yield world
        await world.bus.close()
    await database.close()


def device_of(world: World) -> Device:
    settings = Settings(database_url=world.database_url, hub_url=world.devnet.url, pairing_secret="everybody")
    return Device(OWN_DEVICE, settings, world.database, retry_first_s=0.05, retry_longest_s=0.2)


async def log_in(world: World, phone: Phone) -> None:
    """Pair the telephone with the worker, once that is a device."""
    relay: Any = world.devnet.hub.relay

    async def is_there() -> bool:
        found = relay._devices.get(OWN_DEVICE.device_address)
        return found is not None and found.temporary_key is not None

    await eventually(is_there, "the worker's device")
    await phone.pair("everybody", reverse_pairing_secret="x")
    await phone.next("pairing")


async def test_a_channel_lives_on_messages_and_ends_on_the_ledger(world: World) -> None:
    peer = await world.stranger()
    terms = {"address": peer.address, "timeout": 1_000, "asset": "base", "version": "1.1", "salt": peer.salt}
    async with world.running(device=device_of(world)), Phone(world.devnet) as phone:
        await log_in(world, phone)
        created = await phone.ask("create_channel", terms)
        assert created["response"] == {"address_a": OWN_KEY.address, "aa_address": peer.channel}
        await world.open(peer, deposit=200_000)
        assert (await phone.ask("is_ready", {"aa_address": peer.channel}))["response"] is True
        for amount in (1_000, 500):
            answer = await phone.ask("pay", {"signed_package": peer.package(amount)})
            assert answer["receipt"]["amount"] == amount
        closed = await world.until_done(await world.order_close(peer))
        assert closed.error is None
        await world.until(peer, lambda channel: channel.status == "closing_initiated_by_me", "closing")
        refused = await phone.ask("pay", {"signed_package": peer.package(1)})
        assert refused["code"] == "channel_closing"


async def test_a_channel_of_ours_is_opened_with_a_pairing_code_and_paid_on_over_messages(world: World) -> None:
    receiver = KeyPair(bytes([90]) * 32)
    async with world.running(device=device_of(world)), Phone(world.devnet) as phone:
        code = str(PairingCode(phone.key.pubkey_b64, phone.hub, "phone-secret"))
        await eventually(world.is_awake, "a heartbeat")
        ordered = await world.order("open", peer=code, initial_amount=100_000, version="1.1")
        assert (await phone.next("pairing")).body
        asked = await phone.next_object()
        params = asked["params"]
        channel = channel_address(
            receiver.address, OWN_KEY.address, "base", params["timeout"], params["salt"], params["version"]
        )
        response = {"address_a": receiver.address, "aa_address": channel}
        await phone.send("object", {"response": response, "tag": asked["tag"], "url": None})
        done = await world.until_done(ordered)
        assert (done.error, done.result["aa_address"]) == (None, channel)
        async with world.database.connection() as conn:
            assert await contacts.of(conn, channel) == contacts.Contact(None, phone.address)
            known = await correspondents.find(conn, phone.address)
        assert known is not None
        await eventually(lambda: _is_open(world, channel), "an open channel")
        paying = await world.order("pay", channel, amount=70)
        while (request := await phone.next_object())["command"] != "pay":
            await phone.send("object", {"response": True, "tag": request["tag"], "url": None})
        package = request["params"]["signed_package"]["signed_message"]
        assert (package["payment_amount"], package["aa_address"]) == (70, channel)
        await phone.send("object", {"response": "thanks", "tag": request["tag"], "url": None})
        paid = await world.until_done(paying)
        assert paid.error is None, paid


async def _is_open(world: World, aa_address: str) -> bool:
    async with world.database.connection() as conn:
        return await conn.fetchval("SELECT status FROM channels WHERE aa_address = $1", aa_address) == "open"
