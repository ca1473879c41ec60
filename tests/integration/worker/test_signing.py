"""Packages that are signed and handed over sealed: each command signs one, and only who asked can open it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import worker.commands.signing
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import verify_signed_message
from shared.sealing import Reader, SealingError
from shared.store import sent_payments
from shared.store.sent_payments import SentState
from tests.integration.worker.support import OWN_KEY, Crash
from worker.commands.signing import sign_payment

if TYPE_CHECKING:
    from shared.store.commands import Command
    from tests.integration.worker.support import Peer, World

READER = Reader(b"the API key of whoever asks for it")


def opened(command: Command) -> dict[str, Any]:
    package: dict[str, Any] = json.loads(READER.open(command.result["sealed_package"]))
    return package


async def earned(world: World, amount: int = 5_000) -> Peer:
    """A channel of a peer who has paid us this much: what we can spend back."""
    peer = await world.peer()
    await world.open(peer)
    await world.pay(peer, amount)
    return peer


async def sign(world: World, peer: Peer, amount: int) -> Command:
    return await world.done("sign", peer.channel, amount=amount, seal_to=READER.public_key)


async def states(world: World, peer: Peer) -> list[tuple[int, SentState]]:
    async with world.database.connection() as conn:
        return [(item.amount_spent, item.state) for item in await sent_payments.of_channel(conn, peer.channel)]


async def test_packages_are_signed_one_upon_the_other_and_opened_by_who_asked(world: World) -> None:
    async with world.running():
        peer = await earned(world)
        first, second = await sign(world, peer, 700), await sign(world, peer, 300)
    assert {name: first.result[name] for name in ("period", "amount", "amount_spent")} == {
        "period": 1,
        "amount": 700,
        "amount_spent": 700,
    }
    said: Any = verify_signed_message(opened(second), DEVNET, expected_signer=OWN_KEY.address).payload
    assert said == {"payment_amount": 300, "amount_spent": 1_000, "period": 1, "aa_address": peer.channel}
    assert (await world.channel(peer)).spent_by_me == 1_000
    assert await states(world, peer) == [(1_000, SentState.SIGNED), (700, SentState.SIGNED)]
    with pytest.raises(SealingError):
        Reader(b"the API key of somebody else here").open(first.result["sealed_package"])


async def test_a_command_that_is_cut_off_after_signing_hands_over_the_same_package(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Crash(after=sign_payment)
    runtime = world.runtime(ttl_s=1.0)
    async with world.running(runtime):
        peer = await earned(world)
        monkeypatch.setattr(worker.commands.signing, "sign_payment", crash)
        command_id = await world.order("sign", peer.channel, amount=700, seal_to=READER.public_key)
        await crash.reached.wait()
        monkeypatch.undo()
        await world.expire_lease()
        command = await world.until_done(command_id)
    assert command.attempts > 1
    assert opened(command)["signed_message"]["amount_spent"] == 700
    assert (await world.channel(peer)).spent_by_me == 700
    assert await states(world, peer) == [(700, SentState.SIGNED)]


async def test_what_cannot_be_signed_changes_nothing(world: World) -> None:
    async with world.running():
        peer = await earned(world)
        too_much = await sign(world, peer, 5_001)
        weak_key = await world.done("sign", peer.channel, amount=1, seal_to="A" * 43 + "=")
        no_key = await world.done("sign", peer.channel, amount=1)
    codes = [(command.error or "").split(":")[0] for command in (too_much, weak_key, no_key)]
    assert codes == ["insufficient_funds", "bad_command", "bad_command"]
    assert await states(world, peer) == []


async def test_the_owner_of_an_address_learns_of_the_channel_from_the_package(world: World) -> None:
    async with world.running():
        peer = await world.stranger()
        opening = await world.done("open", peer=peer.address, initial_amount=100_000, salt="s", timeout=900)
        command = await world.done("sign", opening.result["aa_address"], amount=700, seal_to=READER.public_key)
    assert opened(command)["signed_message"]["channel_parameters"] == {
        "address": OWN_KEY.address,
        "asset": "base",
        "timeout": 900,
        "version": opening.result["version"],
        "salt": "s",
    }
