"""Every option that the reference's `createNewChannel` takes, as the worker carries it out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import Status
from shared.channels.refilling import AutoRefill
from shared.obyte.keys import KeyPair
from shared.store import channels, refills
from tests.integration.payer.support import Receiver, listening
from tests.integration.worker.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.worker.support import World


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with listening(Receiver(KeyPair(bytes([42]) * 32))) as receiver:
        yield receiver


async def test_all_of_them_together_in_another_asset(world: World, receiver: Receiver) -> None:
    asset = world.devnet.ledger.treasury.issue()
    world.fund(world.own, 900, asset)
    async with world.running():
        command = await world.done(
            "open",
            peer=receiver.url,
            initial_amount=700,  # of an asset less than 10 000 will do
            timeout=1_234,
            asset=asset,
            salt="second till",
            auto_refill={"amount": 100, "threshold": 50},
        )
        assert command.error is None, command.error

        async def is_open() -> bool:
            async with world.database.connection() as conn:
                [stored] = await channels.page(conn)
            return stored.channel.status is Status.OPEN and stored.channel.deposited_by_me == 700

        await eventually(is_open, "an open channel")
    async with world.database.connection() as conn:
        [stored] = await channels.page(conn)
        refill = await refills.of(conn, stored.channel.aa_address)
    assert (stored.channel.asset, stored.channel.timeout_s, stored.salt) == (asset, 1_234, "second till")
    assert refill == AutoRefill(threshold=50, amount=100)
    [asked] = [json.loads(body)["params"] for body in receiver.bodies]
    assert (asked["asset"], asked["timeout"], asked["salt"]) == (asset, 1_234, "second till")
    assert stored.channel.aa_address == command.result["aa_address"]


async def test_without_options_the_timeout_is_the_default_and_the_salt_50_characters_of_chance(
    world: World, receiver: Receiver
) -> None:
    async with world.running(channel_timeout_s=1_111):
        for _ in range(2):
            command = await world.done("open", peer=receiver.url, initial_amount=20_000)
            assert command.error is None, command.error
    asked = [json.loads(body)["params"] for body in receiver.bodies]
    assert [params["timeout"] for params in asked] == [1_111, 1_111]
    salts = [params["salt"] for params in asked]
    assert [len(bytes.fromhex(salt)) for salt in salts] == [25, 25]
    assert salts[0] != salts[1]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"timeout": 0}, "bad_command"),
        ({"timeout": 1.5}, "bad_command"),
        ({"salt": ""}, "bad_command"),
        ({"salt": "x" * 51}, "bad_command"),
        ({"salt": True}, "bad_command"),  # over JSON-RPC it means a salt by chance, which is what no salt means here
        ({"asset": "x" * 44}, "bad_command"),
        ({"auto_refill": {"amount": 10_000, "threshold": 1}}, "invalid_amount"),
        ({"auto_refill": {"amount": 20_000}}, "bad_command"),
    ],
)
async def test_options_that_break_a_rule_open_nothing(world: World, options: dict[str, Any], code: str) -> None:
    async with world.running():
        peer = KeyPair(bytes([42]) * 32).address
        command = await world.done("open", peer=peer, initial_amount=300_000, **options)
    assert (command.error or "").split(":")[0] == code
    async with world.database.connection() as conn:
        assert await channels.page(conn) == []
