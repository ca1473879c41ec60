"""What is past is read from a stand-by, as long as that is recent enough."""

from __future__ import annotations

import asyncio
import csv
import io
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import pytest_asyncio

from front.history import History
from infra.topology import Hands, PostgresServer, StandbyServer
from shared.settings import Settings
from shared.store.api_keys import Scope
from shared.store.audit.reading import snapshot
from shared.store.database import Database, Role
from shared.store.errors import DatabaseUnavailableError
from shared.store.migrations import migrate
from sluice.home import socket_directory
from sluice.machine.account import Account
from tests.integration.front.conftest import running_front
from tests.receiving_support import Payer, worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

    from front.history import Read

pytestmark = pytest.mark.slow
CSV = {"accept": "text/csv"}
BACK_S = 20.0


class Pair:
    """A primary, a stand-by of it, and a front that knows both."""

    def __init__(self, home: Path) -> None:
        account = Account()
        self.hands = Hands()
        directory = home / "primary"
        directory.mkdir(mode=0o711)
        sockets = socket_directory(directory, account.owner)
        self.primary = PostgresServer(directory / "postgres", sockets, directory / "log", account, self.hands)
        self.standby = StandbyServer("standby", self.primary, home / "standby", account, self.hands)

    def pause(self) -> None:
        """Let the stand-by receive and show nothing new."""
        with psycopg.connect(self.standby.url(), autocommit=True) as conn:
            conn.execute("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        with psycopg.connect(self.standby.url(), autocommit=True) as conn:
            conn.execute("SELECT pg_wal_replay_resume()")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp("pair"))
    try:
        await pair.primary.start()
        migrate(pair.primary.url())
        await pair.standby.start()
        yield pair
    finally:
        await pair.standby.stop()
        await pair.primary.stop()
        pair.hands.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_lists_and_statements_come_from_the_standby_and_from_the_primary_without_it(pair: Pair) -> None:
    settings = Settings(
        database_url=pair.primary.url(), database_read_url=pair.standby.url(), database_read_max_lag_s=2
    )
    async with worker(pair.primary.url()) as pen, running_front(settings) as front:
        payer = Payer()
        await pen.open(payer)
        key = {"authorization": f"Bearer {await pen.make_key(Scope.READ)}"}

        async def get(**headers: str) -> httpx.Response:
            answer = await front.http.get("/v1/payments", headers=key | headers)
            assert answer.status_code == 200, answer.text
            return answer

        def amounts(answer: httpx.Response) -> list[int]:
            return [item["amount"] for item in answer.json()["items"]]

        def source(answer: httpx.Response) -> str | None:
            return answer.headers.get("sluice-read-from")

        await front.pay(payer.package(1, 1))
        await pair.standby.caught_up()
        forget_marks(front.app.state.history)
        listed = await get()
        assert (amounts(listed), source(listed)) == ([1], "standby")
        statement = await get(**CSV)
        assert source(statement) == "standby"
        rows = list(csv.DictReader(io.StringIO(statement.text)))
        assert [row["record"] for row in rows] == ["opening", "payment", "closing"]

        # A list may be older than a payment, and says where it comes from; who asks for it gets the newest.
        pair.pause()
        await front.pay(payer.package(3, 2))
        late, fresh = await get(), await get(**{"cache-control": "no-cache"})
        assert (amounts(late), source(late)) == ([1], "standby")
        assert (amounts(fresh), source(fresh)) == ([2, 1], None)

        # As soon as it is older than was allowed, the primary is read.
        forget_marks(front.app.state.history)
        behind = await get()
        assert (amounts(behind), source(behind)) == ([2, 1], None)
        pair.resume()
        await pair.standby.caught_up()
        again = await get()
        assert (amounts(again), source(again)) == ([2, 1], "standby")

        await pair.standby.stop()
        away = await get()
        assert (amounts(away), source(away)) == ([2, 1], None)
        assert source(await get(**CSV)) is None
        await pair.standby.start()
        await pair.standby.caught_up()
        forget_marks(front.app.state.history)
        # It is asked again and again: whether the first mark after its return is there in time is a race.
        async with asyncio.timeout(BACK_S):
            while source(back := await get()) != "standby":
                assert amounts(back) == [2, 1]
        assert amounts(back) == [2, 1]


def forget_marks(history: History) -> None:
    """Let so much time pass that no mark counts."""
    history._marks.clear()


@pytest.mark.asyncio(loop_scope="module")
async def test_history_is_read_for_a_while_without_a_primary(pair: Pair) -> None:
    now_s = 100.0
    primary = await Database.connect(pair.primary.url(), role=Role.FRONT)
    standby = await Database.connect(pair.standby.url(), role=Role.FRONT, for_reading=True)
    history = History(primary, standby, max_lag_s=5, monotonic=lambda: now_s)

    async def look(read: Read) -> Any:
        return await read.conn.fetchval("SELECT pg_is_in_recovery()")

    assert await history.read(look) == (True, True)
    await primary.close()
    now_s += 4
    assert await history.read(look) == (True, True)
    now_s += 2
    with pytest.raises(DatabaseUnavailableError):
        await history.read(look)
    await history.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_the_books_are_audited_on_the_standby(pair: Pair) -> None:
    async with snapshot(pair.standby.url(), statement_s=10) as conn:
        assert await conn.fetchval("SELECT count(*) FROM all_payments") >= 0
        assert await conn.fetchval("SELECT pg_is_in_recovery()")


@pytest.mark.asyncio(loop_scope="module")
async def test_what_was_promoted_is_no_standby_any_more(pair: Pair) -> None:
    """It has a past of its own from then on; the last test, because there is no way back."""
    await pair.standby.promote()
    primary = await Database.connect(pair.primary.url(), role=Role.FRONT)
    other = await Database.connect(pair.standby.url(), role=Role.FRONT, for_reading=True)
    history = History(primary, other, max_lag_s=5)

    async def look(read: Read) -> bool:
        return read.is_standby

    assert await history.read(look) == (False, False)
    await history.close()
    await primary.close()
