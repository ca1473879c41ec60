from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from shared.agent.packages import SignedPayment
from shared.channels.model import Channel
from sluice.payer import store as payer_store
from sluice.payer.book import MAX_BATCH, ChannelBook
from sluice.payer.errors import PayerError, UnknownChannelError, WalletError
from sluice.payer.store import JournalEntry, PayerStore, StoredChannel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

FUNDING = JournalEntry("unit", "open", "AA", 1, 1000, {"unit": {}})


def channel(aa_address: str = "AA") -> StoredChannel:
    return StoredChannel(Channel(aa_address, "ME", "PEER", "base", 1000), "http://p/", True, aa_address, "1.1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[PayerStore]:
    store = PayerStore(tmp_path / "payer.sqlite3")
    yield store
    store.close()


@pytest_asyncio.fixture
async def book(store: PayerStore) -> AsyncIterator[ChannelBook]:
    book = ChannelBook(store, [])
    await book.add(channel(), FUNDING, 0.0)
    yield book
    await book.close()


def spend(amount: int) -> Callable[[sqlite3.Connection, StoredChannel], tuple[StoredChannel, int]]:
    def work(_: sqlite3.Connection, stored: StoredChannel) -> tuple[StoredChannel, int]:
        spent = stored.state.spent_by_me + amount
        return replace(stored, state=replace(stored.state, spent_by_me=spent)), spent

    return work


def fail(_: sqlite3.Connection, __: StoredChannel) -> Any:
    raise ValueError("no")


async def test_changes_build_on_each_other(book: ChannelBook, store: PayerStore) -> None:
    results = await asyncio.gather(*(book.change("AA", spend(1)) for _ in range(3 * MAX_BATCH)))
    assert sorted(results) == list(range(1, 3 * MAX_BATCH + 1))
    assert book["AA"].state.spent_by_me == 3 * MAX_BATCH
    [stored] = await store.run(payer_store.channels)
    assert stored == book["AA"]


async def test_a_change_that_fails_leaves_its_neighbours_alone(book: ChannelBook) -> None:
    def half(connection: sqlite3.Connection, stored: StoredChannel) -> Any:
        payer_store.insert_settlement(connection, "AA", 1, "{}")
        return fail(connection, stored)

    results = await asyncio.gather(
        book.change("AA", spend(1)), book.change("AA", half), book.change("AA", spend(2)), return_exceptions=True
    )
    assert [results[0], results[2]] == [1, 3]
    assert isinstance(results[1], ValueError)
    assert await book._store.run(lambda connection: payer_store.settlement(connection, "AA", 1)) is None


async def test_what_the_database_refuses_has_not_happened(book: ChannelBook) -> None:
    def bad(_: sqlite3.Connection, stored: StoredChannel) -> Any:
        return replace(stored, state=replace(stored.state, deposited_by_me=-1)), None

    with pytest.raises(sqlite3.IntegrityError):
        await book.change("AA", bad)
    assert book["AA"].state.deposited_by_me == 0


async def test_a_cancelled_caller_does_not_stop_a_change(book: ChannelBook) -> None:
    waiting = asyncio.create_task(book.change("AA", spend(5)))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await book.change("AA", spend(1)) == 6


async def test_whoever_waits_for_news_gets_it(book: ChannelBook) -> None:
    news = book.news
    await book.change("AA", spend(1))
    assert news.is_set()
    assert not book.news.is_set()


async def test_unknown_channels_are_refused(book: ChannelBook) -> None:
    with pytest.raises(UnknownChannelError):
        await book.change("BB", spend(1))


async def test_after_the_end_nothing_changes(store: PayerStore) -> None:
    book = ChannelBook(store, [])
    await book.add(channel(), FUNDING, 0.0)
    late = [asyncio.create_task(book.change("AA", spend(1))) for _ in range(5)]
    await asyncio.sleep(0)
    await book.close()
    assert await asyncio.gather(*late) == [1, 2, 3, 4, 5]
    with pytest.raises(PayerError):
        await book.change("AA", spend(1))


async def test_a_payment_of_the_same_total_cannot_be_stored_twice(book: ChannelBook, store: PayerStore) -> None:
    signed = SignedPayment("AA", 1, 10, 10, "{}")
    await store.run(lambda connection: payer_store.insert_payment(connection, signed, None, 0.0))
    with pytest.raises(sqlite3.IntegrityError):
        await store.run(lambda connection: payer_store.insert_payment(connection, signed, None, 0.0))
    assert book["AA"].state.spent_by_me == 0


async def test_commits_are_on_the_disk_when_they_return(store: PayerStore) -> None:
    def pragmas(connection: sqlite3.Connection) -> list[Any]:
        names = ("synchronous", "journal_mode", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    full = 2
    assert await store.run(pragmas) == [full, "wal", 1]


def test_the_database_is_private(store: PayerStore, tmp_path: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "payer.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(WalletError) as refused:
        PayerStore(path)
    assert refused.value.code == "newer_store"


async def test_deposits_on_their_way_are_counted_until_they_are_answered(store: PayerStore, book: ChannelBook) -> None:
    async def pending() -> int:
        return await store.run(lambda connection: payer_store.pending_deposits(connection, "AA"))

    assert book["AA"].state.deposited_by_me == 0
    assert await pending() == 1000
    await store.run(lambda connection: payer_store.set_unit_state(connection, "unit", "posted"))
    assert await pending() == 1000
    await store.run(lambda connection: payer_store.set_unit_state(connection, "unit", "done"))
    assert await pending() == 0
    assert await store.run(lambda connection: payer_store.set_unit_state(connection, "unit", "failed")) is None
