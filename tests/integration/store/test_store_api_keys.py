from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import pytest

from shared.store import api_keys, key_news
from shared.store.api_keys import KeyState, Scope
from shared.store.errors import StoreError

if TYPE_CHECKING:
    from shared.store.database import Connection, Database


async def create(worker: Database, *scopes: Scope) -> tuple[str, api_keys.ApiKey]:
    async with worker.transaction() as conn:
        return await api_keys.create(conn, "shop", scopes)


async def find(front: Database, token: str) -> api_keys.ApiKey | None:
    async with front.connection() as conn:
        return await api_keys.find(conn, token)


async def test_a_token_finds_its_key_and_scopes(front: Database, worker: Database) -> None:
    token, key = await create(worker, Scope.READ, Scope.RECEIVE)
    await create(worker, Scope.ADMIN)
    assert await find(front, token) == key
    assert (key.name, key.scopes) == ("shop", {Scope.READ, Scope.RECEIVE})


@pytest.mark.parametrize("wrong", ["", "sluice_", "sluice_" + "A" * 43, "\x00", "\ud800"])
async def test_any_other_token_finds_nothing(front: Database, worker: Database, wrong: str) -> None:
    token, _ = await create(worker, Scope.READ)
    assert await find(front, wrong) is None
    assert await find(front, token + "A") is None
    assert await find(front, token.lower()) is None


async def test_only_the_hash_of_the_token_is_stored(worker: Database, owner: Connection) -> None:
    token, _ = await create(worker, Scope.READ)
    row = await owner.fetchrow("SELECT * FROM api_keys")
    assert row is not None
    assert row["key_hash"] == hashlib.sha256(token.encode()).digest()
    assert token.removeprefix(api_keys.PREFIX) not in repr(dict(row))


async def test_a_token_carries_256_random_bits(worker: Database) -> None:
    sizes = []

    def random_bytes(size: int) -> bytes:
        sizes.append(size)
        return b"\xff" * size

    async with worker.transaction() as conn:
        token, _ = await api_keys.create(conn, "shop", [Scope.READ], random_bytes=random_bytes)
    assert sizes == [32]
    assert token == "sluice_" + "_" * 42 + "8"


async def test_a_revoked_key_opens_nothing(front: Database, worker: Database) -> None:
    token, key = await create(worker, Scope.READ)
    async with worker.transaction() as conn:
        assert await api_keys.revoke(conn, key.id)
        assert not await api_keys.revoke(conn, key.id)
        [listed] = await api_keys.every(conn)
    assert await find(front, token) is None
    assert listed.revoked_at is not None


async def test_use_is_noted_once_a_minute(front: Database, worker: Database, owner: Connection) -> None:
    token, key = await create(worker, Scope.READ)

    async def used() -> object:
        async with front.connection() as conn:
            await api_keys.touch(conn, key.id)
        found = await find(front, token)
        assert found is not None
        return found.last_used_at

    first = await used()
    assert first is not None
    assert await used() == first
    await owner.execute("UPDATE api_keys SET last_used_at = last_used_at - interval '61 s'")
    again = await used()
    assert again is not None
    assert again != first


@pytest.mark.parametrize("scopes", [[], ["root"]])
async def test_a_key_has_known_scopes_and_at_least_one(worker: Database, scopes: list[str]) -> None:
    with pytest.raises(StoreError, match="api_keys_scopes_check"):
        async with worker.transaction() as conn:
            await conn.execute("INSERT INTO api_keys (name, scopes, key_hash) VALUES ('x', $1, sha256('x'))", scopes)


async def test_a_key_expires_by_the_clock_of_the_database(front: Database, worker: Database, owner: Connection) -> None:
    async with worker.transaction() as conn:
        token, key = await api_keys.create(conn, "shop", [Scope.READ], expires_in_s=3_600)
    assert key.expires_in_s == pytest.approx(3_600, abs=60)
    assert (await find(front, token) or key).state is KeyState.ACTIVE
    await owner.execute("UPDATE api_keys SET expires_at = now()")
    found = await find(front, token)
    assert found is not None
    assert found.state is KeyState.EXPIRED


async def test_a_key_in_the_place_of_another_has_its_name_and_scopes(front: Database, worker: Database) -> None:
    token, key = await create(worker, Scope.READ, Scope.SPEND)
    async with worker.transaction() as conn:
        rotated = await api_keys.rotate(conn, key.id, old_ends_in_s=60, expires_in_s=600)
    assert rotated is not None
    new_token, new, old = rotated
    assert (new.name, new.scopes, new.replaces) == (key.name, key.scopes, key.id)
    assert await find(front, new_token) == new
    assert old.expires_in_s == pytest.approx(60, abs=10)
    assert (await find(front, token) or key).state is KeyState.ACTIVE


async def test_rotating_never_makes_a_key_last_longer(worker: Database) -> None:
    async with worker.transaction() as conn:
        _, key = await api_keys.create(conn, "shop", [Scope.READ], expires_in_s=60)
        rotated = await api_keys.rotate(conn, key.id, old_ends_in_s=3_600)
    assert rotated is not None
    assert rotated[2].expires_at == key.expires_at


async def test_what_has_ended_is_not_rotated(worker: Database) -> None:
    _, key = await create(worker, Scope.READ)
    async with worker.transaction() as conn:
        await api_keys.revoke(conn, key.id)
        assert await api_keys.rotate(conn, key.id, old_ends_in_s=60) is None
        assert await api_keys.rotate(conn, 999, old_ends_in_s=60) is None


async def test_who_revokes_waits_for_what_was_allowed_and_lets_nothing_in_after(
    front: Database, worker: Database
) -> None:
    _, key = await create(worker, Scope.SPEND)

    async def revoke() -> None:
        async with worker.transaction() as conn:
            assert await api_keys.revoke(conn, key.id)

    async with front.transaction() as conn:
        assert await api_keys.hold(conn, key.id)
        revoking = asyncio.create_task(revoke())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(revoking), 0.2)
    await revoking
    async with front.transaction() as conn:
        assert not await api_keys.hold(conn, key.id)


async def test_every_change_of_a_key_is_heard_and_its_use_is_not(
    front: Database, worker: Database, owner: Connection
) -> None:
    heard: asyncio.Queue[object] = asyncio.Queue()
    await owner.add_listener(key_news.CHANNEL, lambda *told: heard.put_nowait(told[-1]))
    _, first = await create(worker, Scope.READ)
    _, second = await create(worker, Scope.READ)
    async with front.connection() as conn:
        await api_keys.touch(conn, first.id, "192.0.2.1")
    async with worker.transaction() as conn:
        await api_keys.rotate(conn, first.id, old_ends_in_s=60)
    async with worker.transaction() as conn:
        await api_keys.revoke(conn, second.id)
    async with asyncio.timeout(5):
        assert [await heard.get() for _ in range(2)] == [str(first.id), str(second.id)]
    assert heard.empty()
