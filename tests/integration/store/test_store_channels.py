# ruff: noqa: S608 - the columns are the test's own

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shared.channels.model import MAX_AMOUNT, Status
from shared.store import channels
from shared.store.channels import Insertion
from shared.store.errors import StaleChannelError, StoreError
from tests.integration.store.builders import ASSET, OWN, PEER, address, insert_open, new_channel

if TYPE_CHECKING:
    from shared.store.database import Connection, Database

OTHER_PEER = "P" * 32


# ------------------------------------------------------------------------------------------------------- inserting


async def test_a_new_channel_is_closed_and_empty(front: Database) -> None:
    async with front.transaction() as conn:
        assert await channels.insert(conn, new_channel(peer_url="https://peer/")) is Insertion.CREATED
        stored = (await channels.find(conn, [address()]))[address()]
    assert (stored.salt, stored.version, stored.role, stored.peer_url) == ("salt 0", "1.1", "A", "https://peer/")
    assert not stored.has_peer_units
    assert stored.created_at == stored.updated_at
    assert (stored.channel.status, stored.channel.period, stored.channel.timeout_s) == (Status.CLOSED, 0, 1_000)
    assert (stored.channel.own_address, stored.channel.peer_address, stored.channel.asset) == (OWN, PEER, "base")


async def test_inserting_the_same_channel_again_changes_nothing(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn)
    async with front.transaction() as conn:
        assert await channels.insert(conn, new_channel(peer_url="https://other/")) is Insertion.EXISTING
        stored = (await channels.find(conn, [address()]))[address()]
    assert stored.channel == channel
    assert stored.peer_url is None


@pytest.mark.parametrize("salt", ["salt", None])
async def test_one_channel_asked_for_at_once_is_created_once(front: Database, salt: str | None) -> None:
    async def ask() -> Insertion:
        async with front.transaction() as conn:
            return await channels.insert(conn, new_channel(salt=salt))

    outcomes = await asyncio.gather(*(ask() for _ in range(6)))
    assert sorted(outcomes) == [Insertion.CREATED] + [Insertion.EXISTING] * 5


@pytest.mark.parametrize("change", [{"timeout_s": 1_001}, {"asset": ASSET}, {"role": "B"}, {"version": "1.2"}])
async def test_a_salt_is_used_once_by_a_peer(front: Database, change: dict[str, Any]) -> None:
    async with front.transaction() as conn:
        assert await channels.insert(conn, new_channel(0, salt="same")) is Insertion.CREATED
        assert await channels.insert(conn, new_channel(1, salt="same", **change)) is Insertion.CONFLICT
        assert await channels.insert(conn, new_channel(0, salt="same", **change)) is Insertion.CONFLICT
        other = new_channel(2, salt="same", peer_address=OTHER_PEER)
        assert await channels.insert(conn, other) is Insertion.CREATED


async def test_channels_without_salt_do_not_collide(front: Database) -> None:
    async with front.transaction() as conn:
        for number in range(2):
            new = new_channel(number, salt=None, timeout_s=1_000 + number)
            assert await channels.insert(conn, new) is Insertion.CREATED
        assert await channels.insert(conn, new_channel(0, salt=None)) is Insertion.EXISTING


async def test_channels_that_were_never_opened_are_limited_per_peer_and_in_total(
    front: Database, worker: Database
) -> None:
    async def ask(number: int, peer: str = PEER) -> Insertion:
        async with front.transaction() as conn:
            new = new_channel(number, peer_address=peer)
            return await channels.insert(conn, new, max_unopened_of_peer=2, max_unopened=3)

    async with worker.transaction() as conn:
        await insert_open(conn, 9)
    assert sorted(await asyncio.gather(*map(ask, range(4)))) == [Insertion.CREATED] * 2 + [Insertion.TOO_MANY] * 2
    assert await ask(4, OTHER_PEER) is Insertion.CREATED
    assert await ask(5, OTHER_PEER) is Insertion.TOO_MANY
    assert await ask(4, OTHER_PEER) is Insertion.EXISTING
    assert await ask(9) is Insertion.EXISTING


# ------------------------------------------------------------------------------------ what cannot be stored at all

CLOSING = {"status": "closing_initiated_by_me", "close_started_at_s": 1}


@pytest.mark.parametrize(
    ("constraint", "state"),
    [
        ("channels_amounts_in_range", {"deposited_by_peer": -1}),
        ("channels_amounts_in_range", {"deposited_by_me": MAX_AMOUNT + 1}),
        ("channels_amounts_in_range", {"spent_by_peer": MAX_AMOUNT + 1, "claim": "x"}),
        ("channels_amounts_in_range", {"spent_by_me": -1}),
        ("channels_amounts_in_range", {"credit": -1}),
        (
            "channels_amounts_in_range",
            {"status": "closing_initiated_by_peer", "close_started_at_s": 1, "claimed_by_peer": -1},
        ),
        ("channels_credit_was_signed", {"spent_by_peer": 5, "claim": "x", "credit": 6}),
        ("channels_claim_proves_spent", {"spent_by_peer": 5}),
        ("channels_claim_proves_spent", {"claim": "x"}),
        ("channels_period_started", {"period": 0}),
        ("channels_closed_by_me_is_known", {"period_closed_by_me": 2}),
        ("channels_closed_by_me_is_known", {"period": -1}),
        ("channels_closed_holds_nothing", {"status": "closed"}),
        ("channels_closing_has_a_start", {"close_started_at_s": 1}),
        ("channels_closing_has_a_start", {"status": "closing_initiated_by_me"}),
        ("channels_closing_peer_has_claimed", {"claimed_by_peer": 1}),
        ("channels_closing_peer_has_claimed", {**CLOSING, "status": "closing_initiated_by_peer"}),
        ("channels_status_check", {"status": "opening"}),
        ("channels_last_event_id_check", {"last_event_id": -1}),
        ("channels_two_parties", {"peer_address": OWN}),
        ("channels_aa_address_check", {"aa_address": "short"}),
        ("channels_role_check", {"role": "C"}),
        ("channels_timeout_s_check", {"timeout_s": 0}),
        ("channels_salt_check", {"salt": ""}),
        ("channels_asset_fkey", {"asset": ASSET}),
    ],
)
async def test_a_broken_invariant_cannot_be_stored(
    refusals: Connection, constraint: str, state: dict[str, Any]
) -> None:
    await insert_open(refusals)
    assignments = ", ".join(f"{column} = ${place}" for place, column in enumerate(state, 1))
    with pytest.raises(Exception, match=constraint) as refusal:
        await refusals.execute(f"UPDATE channels SET {assignments}", *state.values())
    assert getattr(refusal.value, "constraint_name", None) == constraint


@pytest.mark.parametrize(
    ("constraint", "change"),
    [
        ("payments_payment_amount_check", {"payment_amount": 0}),
        ("payments_payment_amount_check", {"payment_amount": MAX_AMOUNT + 1}),
        ("payments_amount_spent_check", {"amount_spent": 0}),
        ("payments_amount_spent_check", {"amount_spent": MAX_AMOUNT + 1}),
        ("payments_period_check", {"period": 0}),
        ("payments_aa_address_fkey", {"aa_address": address(1)}),
        ("payments_credited_once", {}),
    ],
)
async def test_a_payment_that_cannot_be_is_not_stored(
    refusals: Connection, constraint: str, change: dict[str, Any]
) -> None:
    await insert_open(refusals)
    row = {"aa_address": address(), "period": 1, "amount_spent": 1, "payment_amount": 1, "asset": "base"}
    columns = ", ".join(row)
    statement = f"INSERT INTO payments ({columns}) VALUES ($1, $2, $3, $4, $5)"
    await refusals.execute(statement, *row.values())
    with pytest.raises(Exception, match=constraint):
        await refusals.execute(statement, *(row | change).values())


# -------------------------------------------------------------------------------------------- the watcher's side


async def test_a_transition_is_read_back_as_it_was_written(worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn, deposited_by_me=7)
        channel = await channels.lock_one(conn, address())
        assert channel is not None
        closing = replace(
            channel,
            status=Status.CLOSING_BY_PEER,
            close_started_at_s=1_700_000_000,
            claimed_by_peer=3,
            spent_by_peer=9,
            spent_by_me=2,
            credit=4,
            claim="the best",
            period_closed_by_me=1,
            last_event_id=2,
        )
        await channels.save_transition(conn, closing)
        assert await channels.lock_one(conn, address()) == closing
        assert await channels.lock_one(conn, address(1)) is None


async def test_the_next_period_starts_from_nothing(worker: Database) -> None:
    async with worker.transaction() as conn:
        spent = await insert_open(conn, spent_by_peer=9, spent_by_me=8, claim="x")
        closed = replace(
            spent,
            status=Status.CLOSED,
            deposited_by_peer=0,
            spent_by_peer=0,
            spent_by_me=0,
            claim=None,
            last_event_id=3,
        )
        await channels.save_transition(conn, closed)
        reopened = replace(closed, status=Status.OPEN, period=2, last_event_id=4)
        await channels.save_transition(conn, reopened)
        assert await channels.lock_one(conn, address()) == reopened


async def test_several_events_may_be_saved_as_one_step(worker: Database) -> None:
    async with worker.transaction() as conn:
        spent = await insert_open(conn, spent_by_peer=9, claim="x")
        reopened = replace(spent, period=2, spent_by_peer=0, claim=None, last_event_id=4)
        await channels.save_transition(conn, reopened)
        assert await channels.lock_one(conn, address()) == reopened


@pytest.mark.parametrize(
    "change",
    [
        {"spent_by_peer": 8},
        {"spent_by_peer": 0, "claim": None},
        {"spent_by_me": 4},
        {"last_event_id": 0},
        {"aa_address": address(1)},
    ],
)
async def test_a_transition_never_forgets_what_was_signed_in_the_period(
    worker: Database, change: dict[str, Any]
) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, spent_by_peer=9, spent_by_me=5, claim="x")
    with pytest.raises(StaleChannelError):
        async with worker.transaction() as conn:
            await channels.save_transition(conn, replace(channel, **change))


async def test_payments_made_ahead_of_the_next_period_survive_its_opening(worker: Database) -> None:
    async with worker.transaction() as conn:
        ahead = await insert_open(
            conn, status=Status.CLOSED, deposited_by_peer=0, spent_by_peer=6, claim="ahead", last_event_id=3
        )
    opened = replace(ahead, status=Status.OPEN, period=2, deposited_by_peer=10, last_event_id=4)
    with pytest.raises(StaleChannelError):
        async with worker.transaction() as conn:
            await channels.save_transition(conn, replace(opened, spent_by_peer=0, claim=None))
    async with worker.transaction() as conn:
        await channels.save_transition(conn, opened)


async def test_a_claim_cannot_be_dropped_by_accident(worker: Database) -> None:
    async with worker.transaction() as conn:
        channel = await insert_open(conn, spent_by_peer=9, claim="x")
    with pytest.raises(StoreError) as refusal:
        async with worker.transaction() as conn:
            await channels.save_transition(conn, replace(channel, claim=None))
    assert refusal.value.constraint == "channels_claim_proves_spent"


async def test_the_watcher_waits_for_a_payment_and_the_other_way_round(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    order: list[str] = []
    locked = asyncio.Event()

    async def pay() -> None:
        async with front.transaction() as conn:
            await channels.lock(conn, [address()])
            locked.set()
            order.append("payment")

    async def watch() -> None:
        await locked.wait()
        async with worker.transaction() as conn:
            await channels.lock_one(conn, address())
            order.append("event")

    await asyncio.gather(watch(), pay())
    assert order == ["payment", "event"]


async def test_referring_to_a_locked_channel_waits_for_nobody(front: Database, worker: Database) -> None:
    async with worker.transaction() as conn:
        await insert_open(conn)
    async with worker.transaction() as conn:
        await channels.lock_one(conn, address())
        async with front.transaction() as other:
            await other.execute("SET LOCAL lock_timeout = '100ms'")
            await other.execute(
                "INSERT INTO commands (kind, aa_address, params, idempotency_key) VALUES ('close', $1, '{}', 'k')",
                address(),
            )


async def test_every_channel_is_found_to_be_watched(front: Database, worker: Database) -> None:
    async with front.transaction() as conn:
        for number in range(5):
            await channels.insert(conn, new_channel(number))
    async with worker.transaction() as conn:
        first = await channels.to_watch(conn, limit=3)
        assert first + await channels.to_watch(conn, first[-1], limit=3) == [address(number) for number in range(5)]
        assert await channels.not_watched(conn, limit=2) == [address(0), address(1)]
        await channels.mark_watched(conn, [address(0), address(1), address(3)])
        assert await channels.not_watched(conn) == [address(2), address(4)]
        assert len(await channels.to_watch(conn)) == 5


async def test_a_channel_committed_late_is_still_found_to_be_watched(front: Database, worker: Database) -> None:
    async with front.transaction() as late:
        await channels.insert(late, new_channel(0))
        async with front.transaction() as early:
            await channels.insert(early, new_channel(1))
        async with worker.transaction() as conn:
            assert await channels.not_watched(conn) == [address(1)]
            await channels.mark_watched(conn, [address(1)])
    async with worker.transaction() as conn:
        assert await channels.not_watched(conn) == [address(0)]


async def test_channels_are_listed_newest_first_in_pages(front: Database, worker: Database) -> None:
    for number in range(3):
        async with worker.transaction() as conn:
            await insert_open(conn, number, asset=ASSET if number == 1 else "base")
    async with front.transaction() as conn:
        await channels.insert(conn, new_channel(3, peer_address=OTHER_PEER))

        async def listed(**which: Any) -> list[str]:
            return [stored.channel.aa_address for stored in await channels.page(conn, **which)]

        assert await listed(limit=2) == [address(3), address(2)]
        assert await listed(limit=2, after=address(2)) == [address(1), address(0)]
        assert await listed(after=address(0)) == []
        assert await listed(status=Status.OPEN) == [address(2), address(1), address(0)]
        assert await listed(status=Status.OPEN, asset="base") == [address(2), address(0)]
        assert await listed(peer_address=OTHER_PEER) == [address(3)]
