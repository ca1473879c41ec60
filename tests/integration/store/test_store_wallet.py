# ruff: noqa: PT012 - a transaction is a block

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shared.store import journal, wallet_units
from shared.store.errors import StoreError, UnfinishedUnitError
from shared.store.journal import UnitState
from shared.store.wallet_units import Sequence
from tests.integration.store.builders import address, insert_open, unit

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

JOINT: dict[str, Any] = {"unit": {"z": "NUL \x00 and \ud800", "a": [1, {"amount": 9_000_000_000_000_000}], "e": 1e300}}


async def compose(conn: Connection, number: int, purpose: str = "close", period: int = 1) -> journal.Entry:
    return await journal.compose(conn, purpose, unit(number), JOINT, aa_address=address(), period=period)


@pytest.fixture
async def wallet(worker: Database) -> Database:
    async with worker.transaction() as conn:
        await insert_open(conn)
    return worker


# ---------------------------------------------------------------------------------------------------------- journal


async def test_a_unit_is_kept_exactly_as_it_was_signed(wallet: Database) -> None:
    async with wallet.transaction() as conn:
        entry = await compose(conn, 1)
    async with wallet.connection() as conn:
        [found] = await journal.unfinished(conn)
        assert await journal.get(conn, unit(1)) == entry
        assert await journal.get(conn, unit(2)) is None
    assert found == entry
    assert (found.purpose, found.aa_address, found.period, found.state) == ("close", address(), 1, UnitState.COMPOSED)
    assert found.joint == JOINT
    assert list(found.joint["unit"]) == ["z", "a", "e"]
    assert "NUL" not in repr(found)


@pytest.mark.parametrize("posted", [False, True])
async def test_there_is_never_a_second_unit_for_one_purpose(wallet: Database, *, posted: bool) -> None:
    async with wallet.transaction() as conn:
        await compose(conn, 1)
        if posted:
            assert await journal.posted(conn, unit(1))
        with pytest.raises(UnfinishedUnitError):
            await compose(conn, 2)
        assert [entry.unit for entry in await journal.unfinished(conn)] == [unit(1)]


async def test_other_purposes_and_periods_are_others(wallet: Database) -> None:
    async with wallet.transaction() as conn:
        await compose(conn, 1)
        await compose(conn, 2, purpose="confirm")
        await compose(conn, 3, period=2)
        for number in (4, 5):
            await journal.compose(conn, "withdraw", unit(number), JOINT, reference=str(number))
        assert [entry.unit for entry in await journal.unfinished(conn)] == [unit(number) for number in range(1, 6)]
        assert [entry.unit for entry in await journal.of_channel(conn, address())] == [unit(1), unit(2), unit(3)]


@pytest.mark.parametrize("fate", ["stable", "failed"])
async def test_only_a_known_fate_makes_room_for_another_try(wallet: Database, fate: str) -> None:
    async with wallet.transaction() as conn:
        await compose(conn, 1)
        await journal.posted(conn, unit(1))
        resolved = journal.stable(conn, unit(1)) if fate == "stable" else journal.failed(conn, unit(1), "double spend")
        assert await resolved
        assert not await journal.stable(conn, unit(1))
        assert not await journal.failed(conn, unit(1), "again")
        assert not await journal.posted(conn, unit(1))
        await compose(conn, 2)
        entry = await journal.get(conn, unit(1))
    assert entry is not None
    assert entry.state.value == fate
    assert entry.posted_at is not None
    assert entry.resolved_at is not None
    assert entry.error == ("double spend" if fate == "failed" else None)


async def test_one_unit_is_journaled_once(wallet: Database) -> None:
    with pytest.raises(StoreError) as refusal:
        async with wallet.transaction() as conn:
            await compose(conn, 1)
            await compose(conn, 1, purpose="confirm")
    assert refusal.value.constraint == "journal_unit_key"


async def test_what_the_ledger_proves_holds_of_a_unit_that_was_given_up(wallet: Database) -> None:
    async with wallet.transaction() as conn:
        await journal.compose(conn, "withdraw", unit(1), JOINT, reference="command-1")
        await journal.failed(conn, unit(1), "refused")
        assert await journal.final(conn, unit(1))
        assert not await journal.final(conn, unit(1))
        assert not await journal.final(conn, unit(2))
        entry = await journal.get(conn, unit(1))
    assert entry is not None
    assert (entry.state, entry.error) == (UnitState.STABLE, None)


async def test_what_came_to_nothing_is_found_by_its_purpose_and_all_by_their_age(wallet: Database) -> None:
    async with wallet.transaction() as conn:
        for number, reference in ((1, "a"), (2, "a"), (3, "b"), (4, "a")):
            await journal.compose(conn, "withdraw", unit(number), JOINT, reference=reference)
            if number < 4:
                await journal.failed(conn, unit(number), "refused")
        await compose(conn, 5)
        found = await journal.failed_for(conn, "withdraw", aa_address=None, period=None, reference="a")
        of_channel = await journal.failed_for(conn, "close", aa_address=address(), period=1, reference="")
        newest = await journal.page(conn, limit=2)
        older = await journal.page(conn, before=newest[-1].id)
    assert [entry.unit for entry in found] == [unit(2), unit(1)]
    assert of_channel == []
    assert [entry.unit for entry in newest] == [unit(5), unit(4)]
    assert [entry.unit for entry in older] == [unit(3), unit(2), unit(1)]


# ----------------------------------------------------------------------------------------------------- wallet units


async def stream(database: Database) -> list[tuple[str, int | None, bool, Sequence]]:
    async with database.transaction() as conn:
        return [
            (found.unit, found.mci, found.is_stable, found.sequence)
            async for found in wallet_units.stream(conn, prefetch=2)
        ]


async def test_units_are_kept_and_become_stable(worker: Database) -> None:
    async with worker.transaction() as conn:
        await wallet_units.save(conn, unit(1), JOINT, mci=None, is_stable=False)
        await wallet_units.save(conn, unit(2), JOINT, mci=5, is_stable=True)
        assert [found.unit for found in await wallet_units.unstable(conn)] == [unit(1)]
        assert await wallet_units.last_stable_mci(conn) == 5
        await wallet_units.save(conn, unit(1), JOINT, mci=4, is_stable=True)
        found = await wallet_units.get(conn, unit(1))
    assert found is not None
    assert found.joint == JOINT
    assert await stream(worker) == [(unit(1), 4, True, Sequence.GOOD), (unit(2), 5, True, Sequence.GOOD)]


async def test_what_is_stable_never_changes_again(worker: Database) -> None:
    async with worker.transaction() as conn:
        await wallet_units.save(conn, unit(1), JOINT, mci=4, is_stable=True)
        await wallet_units.save(conn, unit(1), JOINT, mci=None, is_stable=False, sequence=Sequence.TEMP_BAD)
        assert not await wallet_units.mark_bad(conn, unit(1))
    assert await stream(worker) == [(unit(1), 4, True, Sequence.GOOD)]


async def test_late_news_does_not_forget_the_main_chain_index(worker: Database) -> None:
    async with worker.transaction() as conn:
        await wallet_units.save(conn, unit(1), JOINT, mci=4, is_stable=False)
        await wallet_units.save(conn, unit(1), JOINT, mci=None, is_stable=False)
        assert await wallet_units.mark_bad(conn, unit(1))
        assert not await wallet_units.mark_bad(conn, unit(2))
        await wallet_units.save(conn, unit(3), JOINT, mci=None, is_stable=False)
    assert await stream(worker) == [(unit(1), 4, False, Sequence.TEMP_BAD), (unit(3), None, False, Sequence.GOOD)]
