from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shared.store import contacts, correspondents, device_keys, handled_messages
from tests.integration.store.builders import address, insert_open

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from shared.store.database import Connection, Database

DEVICE = "0" + "A" * 32
OTHER = "0" + "B" * 32
KEY = "k" * 44
DAY_S = 86_400


@pytest.fixture
async def conn(worker: Database) -> AsyncIterator[Connection]:
    async with worker.connection() as conn:
        yield conn


async def pair(conn: Connection, device: str = DEVICE, *, name: str = "Bob", confirmed: bool = True) -> None:
    await correspondents.add(conn, device, pubkey=device + "k" * 11, hub="hub", name=name, is_confirmed=confirmed)


# ------------------------------------------------------------------------------------------------------------- keys


async def test_a_device_is_written_down_once_and_follows_its_hub(conn: Connection) -> None:
    assert await device_keys.read(conn) is None
    first = await device_keys.declare(conn, pubkey=KEY, hub="a", temp_key=b"one")
    assert (first.pubkey, first.hub, first.temp_key, first.previous_temp_key, first.is_used) == (
        KEY, "a", b"one", None, False,
    )  # fmt: skip
    second = await device_keys.declare(conn, pubkey=KEY, hub="b", temp_key=b"two")
    assert (second.hub, second.temp_key) == ("b", b"one")
    assert "one" not in repr(second)


async def test_rotation_keeps_the_key_before(conn: Connection) -> None:
    await device_keys.declare(conn, pubkey=KEY, hub="a", temp_key=b"one")
    await device_keys.mark_used(conn)
    await device_keys.rotate(conn, b"two")
    found = await device_keys.read(conn)
    assert found is not None
    assert (found.temp_key, found.previous_temp_key, found.is_used) == (b"two", b"one", False)
    assert 0 <= found.age_s < 60


async def test_keys_of_another_device_are_replaced_by_choice_only(conn: Connection) -> None:
    await device_keys.declare(conn, pubkey=KEY, hub="a", temp_key=b"one")
    assert (await device_keys.declare(conn, pubkey="x" * 44, hub="a", temp_key=b"two")).pubkey == KEY
    await device_keys.replace(conn, pubkey="x" * 44, temp_key=b"two")
    found = await device_keys.read(conn)
    assert found is not None
    assert (found.pubkey, found.temp_key, found.previous_temp_key) == ("x" * 44, b"two", None)


# --------------------------------------------------------------------------------------------------- correspondents


async def test_a_name_counts_once_and_a_hub_always(conn: Connection) -> None:
    await pair(conn, name="asked", confirmed=False)
    await pair(conn, name="Bob", confirmed=True)
    await correspondents.add(conn, DEVICE, pubkey=DEVICE + "k" * 11, hub="new", name="Mallory", is_confirmed=False)
    found = await correspondents.find(conn, DEVICE)
    assert found is not None
    assert (found.name, found.hub, found.is_confirmed) == ("Bob", "new", True)
    assert await correspondents.count(conn) == 1


async def test_a_correspondent_that_is_heard_may_have_moved(conn: Connection) -> None:
    await pair(conn)
    await correspondents.heard(conn, DEVICE, None)
    before = await correspondents.find(conn, DEVICE)
    await correspondents.heard(conn, DEVICE, "hub")
    assert await correspondents.find(conn, DEVICE) == before
    await correspondents.heard(conn, DEVICE, "elsewhere")
    after = await correspondents.find(conn, DEVICE)
    assert before is not None
    assert after is not None
    assert (before.hub, after.hub) == ("hub", "elsewhere")


async def test_forgetting_and_pages(conn: Connection) -> None:
    await pair(conn)
    await pair(conn, OTHER)
    assert [item.device_address for item in await correspondents.page(conn)] == [OTHER, DEVICE]
    assert [item.device_address for item in await correspondents.page(conn, after=OTHER)] == [DEVICE]
    assert await correspondents.forget(conn, DEVICE)
    assert not await correspondents.forget(conn, DEVICE)
    assert await correspondents.find(conn, DEVICE) is None


async def test_only_silent_devices_without_a_channel_are_forgotten_by_themselves(
    worker: Database, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    fresh = "0" + "C" * 32
    async with worker.transaction() as conn:
        await insert_open(conn)
        await contacts.note_device(conn, address(), DEVICE)
        for device in (DEVICE, OTHER, fresh):
            await pair(conn, device)
    await owner.execute("UPDATE correspondents SET paired_at = now() - interval '40 days'")
    async with worker.transaction() as conn:
        await correspondents.heard(conn, fresh, None)
        assert await correspondents.forget_idle(conn, 30 * DAY_S) == 1
        assert {item.device_address for item in await correspondents.page(conn)} == {DEVICE, fresh}


async def test_an_invitation_is_used_up(conn: Connection) -> None:
    await correspondents.invite(conn, "secret", lifetime_s=DAY_S)
    assert not await correspondents.redeem(conn, "guess", DEVICE)
    assert await correspondents.redeem(conn, "secret", DEVICE)
    assert not await correspondents.redeem(conn, "secret", DEVICE)


async def test_an_invitation_for_one_device_is_no_other_ones(conn: Connection) -> None:
    await correspondents.invite(conn, "secret", lifetime_s=DAY_S, for_device=DEVICE)
    assert not await correspondents.redeem(conn, "secret", OTHER)
    assert await correspondents.redeem(conn, "secret", DEVICE)


async def test_an_invitation_expires(conn: Connection, owner: asyncpg.Connection[asyncpg.Record]) -> None:
    await correspondents.invite(conn, "secret", lifetime_s=-1)
    assert not await correspondents.redeem(conn, "secret", DEVICE)
    await correspondents.invite(conn, "other", lifetime_s=DAY_S)
    assert await owner.fetchval("SELECT count(*) FROM pairing_secrets") == 1


async def test_no_secret_is_stored_in_clear(conn: Connection, owner: asyncpg.Connection[asyncpg.Record]) -> None:
    await correspondents.invite(conn, "hush-hush", lifetime_s=DAY_S)
    assert b"hush" not in await owner.fetchval("SELECT secret_hash FROM pairing_secrets")


# --------------------------------------------------------------------------------------- handled messages, contacts


async def test_a_message_is_handled_once_and_forgotten_later(
    conn: Connection, owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    assert not await handled_messages.is_handled(conn, KEY)
    await handled_messages.mark(conn, KEY)
    await handled_messages.mark(conn, KEY)
    assert await handled_messages.is_handled(conn, KEY)
    assert await handled_messages.drop_old(conn, DAY_S) == 0
    await owner.execute("UPDATE handled_messages SET handled_at = now() - interval '2 days'")
    assert await handled_messages.drop_old(conn, DAY_S) == 1


async def test_who_asks_first_is_the_contact_until_the_peer_himself_pays_from_elsewhere(worker: Database) -> None:
    async with worker.transaction() as conn:
        assert await contacts.of(conn, address()) is None
        await insert_open(conn)
        assert await contacts.of(conn, address()) == contacts.Contact(None, None)
        await contacts.note_device(conn, address(), DEVICE)
        await contacts.note_device(conn, address(), OTHER)
        assert await contacts.of(conn, address()) == contacts.Contact(None, DEVICE)
        await contacts.replace_device(conn, address(), OTHER)
        assert await contacts.of(conn, address()) == contacts.Contact(None, OTHER)
