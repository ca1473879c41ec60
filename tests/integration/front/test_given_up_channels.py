"""Channels that were given up for want of a deposit: who needs one has it back, and strangers bring back nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shared.bus import CHANNEL_CHANGED
from shared.channels.model import Status
from shared.store import channels
from shared.store.api_keys import Scope
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, administrator, payer_key

if TYPE_CHECKING:
    from shared.settings import Settings
    from tests.integration.front.conftest import Front
    from tests.receiving_support import Worker


@pytest.fixture
async def payer(worker: Worker, database_url: str) -> Payer:
    """A payer whose channel was given up."""
    payer = Payer()
    await worker.insert(payer)
    async with administrator(database_url) as owner:
        await owner.execute("UPDATE channels SET expired_at = now(), asked_at = now() - interval '14 days'")
    return payer


async def is_watched_for(worker: Worker) -> bool:
    async with worker.database.connection() as conn:
        return bool(await channels.not_watched(conn))


async def test_asking_for_it_again_brings_it_back(front: Front, worker: Worker, payer: Payer) -> None:
    assert not await is_watched_for(worker)
    answer = await front.command("create_channel", payer.parameters)
    assert answer["response"]["aa_address"] == payer.channel
    assert await is_watched_for(worker)


async def test_a_payment_brings_it_back(front: Front, worker: Worker, payer: Payer) -> None:
    assert (await front.pay(payer.package(1, 1)))["code"] == "definition_not_published"
    assert await is_watched_for(worker)


async def test_a_payment_with_its_parameters_waits_until_the_deposit_is_seen(
    settings: Settings, worker: Worker, payer: Payer
) -> None:
    async with running_front(settings.model_copy(update={"funding_wait_s": 10.0})) as front:
        paying = asyncio.create_task(front.pay(payer.first_package(1, 1)))
        async with asyncio.timeout(10):
            while not await is_watched_for(worker):  # noqa: ASYNC110 - what is waited for is in a database
                await asyncio.sleep(0.01)
        seen = {"status": Status.OPEN, "period": 1, "deposited_by_peer": 1_000_000, "last_event_id": 1}
        await worker.change(payer, definition_confirmed=True, **seen)
        front.app.state.receiver._openings._bus.publish(CHANNEL_CHANGED, {"aa_address": payer.channel})
        assert "receipt" in await paying


async def test_asking_whether_it_is_ready_brings_it_back(front: Front, worker: Worker, payer: Payer) -> None:
    answer = await front.command("is_ready", {"aa_address": payer.channel})
    assert answer["code"] == "definition_not_published"
    assert await is_watched_for(worker)


async def test_a_stranger_brings_back_nothing(front: Front, worker: Worker, payer: Payer) -> None:
    forged = Payer(payer_key(2)).package(1, 1, aa_address=payer.channel)
    assert (await front.pay(forged))["code"] == "wrong_signer"
    assert not await is_watched_for(worker)


async def test_it_is_listed_as_what_it_is(front: Front, worker: Worker, payer: Payer) -> None:
    other = Payer(payer_key(2))
    await worker.insert(other)
    headers = {"authorization": f"Bearer {await worker.make_key(Scope.READ)}"}
    for status, address in (("expired", payer.channel), ("unfunded", other.channel)):
        found = (await front.http.get("/v1/channels", params={"status": status}, headers=headers)).json()["items"]
        assert [(one["aa_address"], one["status"]) for one in found] == [(address, status)]
    closed = await front.http.get("/v1/channels", params={"status": "closed"}, headers=headers)
    assert closed.json()["items"] == []
