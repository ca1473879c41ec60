"""Two fronts and a worker on one database: what the reference loses in races (its R1, R4, R5, R6)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
from typing import TYPE_CHECKING

import pytest

from shared.bus import Bus
from shared.channels.closing import order_close
from shared.channels.errors import NotClosableError
from shared.channels.model import UnconfirmedLimits
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.errors import UnavailableError
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.verification import verify_payment_package
from shared.store import channels
from shared.store.database import Database, Limits, Role
from shared.store.errors import StoreError
from tests.receiving_support import ROOMY, Payer, administrator, payer_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterable

    from tests.receiving_support import Worker

RULES = AcceptanceRules({"base": UnconfirmedLimits(1000, 1000, 0)}, ROOMY, watcher_max_silence_s=60)


@contextlib.asynccontextmanager
async def acceptor(
    database_url: str, rules: AcceptanceRules = RULES, *, connections: int = 4, lock_s: float = 1.0
) -> AsyncIterator[Acceptor]:
    limits = Limits(lock_s=lock_s)
    database = await Database.connect(database_url, role=Role.FRONT, max_connections=connections, limits=limits)
    running = Acceptor(database, rules, Bus(None))
    try:
        yield running
    finally:
        await running.close()
        await database.close()


@pytest.fixture
async def fronts(database_url: str) -> AsyncIterator[list[Acceptor]]:
    async with acceptor(database_url) as one, acceptor(database_url) as other:
        yield [one, other]


def submit(front: Acceptor, payer: Payer, amount_spent: int, amount: int) -> Awaitable[Receipt | Refusal]:
    return front.submit(verify_payment_package(payer.package(amount_spent, amount), DEVNET))


def receipts(outcomes: Iterable[object]) -> list[Receipt]:
    return [outcome for outcome in outcomes if isinstance(outcome, Receipt)]


async def paid(database_url: str) -> int:
    async with administrator(database_url) as conn:
        return int(await conn.fetchval("SELECT coalesce(sum(payment_amount), 0) FROM payments"))


async def test_r05_two_fronts_lose_no_update_of_one_channel(
    fronts: list[Acceptor], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    outcomes = await asyncio.gather(*(submit(fronts[n % 2], payer, n, 1) for n in range(1, 301)))
    credited = receipts(outcomes)
    channel = await worker.read(payer)
    assert channel.spent_by_peer == 300
    assert await paid(database_url) == len(credited) == channel.spent_by_peer - channel.credit
    assert all(isinstance(outcome, Receipt) or outcome.code == "over_credit" for outcome in outcomes)


async def test_r05_a_package_sent_to_both_fronts_at_once_is_credited_once(
    fronts: list[Acceptor], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    for n in range(1, 21):
        one, other = receipts(await asyncio.gather(*(submit(front, payer, 10 * n, 10) for front in fronts)))
        assert one.payment_id == other.payment_id
        assert {one.duplicate, other.duplicate} == {False, True}
    assert await paid(database_url) == 200


async def test_packages_that_overtake_each_other_between_fronts_are_all_credited(
    fronts: list[Acceptor], worker: Worker, database_url: str
) -> None:
    payer = Payer()
    await worker.open(payer)
    later = await submit(fronts[0], payer, 30, 10)
    earlier = await submit(fronts[1], payer, 10, 10)
    middle = await submit(fronts[0], payer, 20, 10)
    assert len(receipts([later, earlier, middle])) == 3
    channel = await worker.read(payer)
    assert (channel.spent_by_peer, channel.credit) == (30, 0)
    assert channel.claim is not None
    assert json.loads(channel.claim)["signed_message"]["amount_spent"] == 30
    assert await paid(database_url) == 30


async def test_the_limit_of_an_asset_is_exact_when_many_channels_race_for_it(
    fronts: list[Acceptor], worker: Worker, database_url: str
) -> None:
    payers = [Payer(payer_key(number)) for number in range(30)]
    for payer in payers:
        await worker.insert(payer)
        await worker.see_unit(payer, amount=5000)
    attempts = [submit(fronts[n % 2], payer, n, 7) for payer in payers for n in range(7, 70, 7)]
    random.Random(1).shuffle(attempts)
    await asyncio.gather(*attempts)
    async with administrator(database_url) as conn:
        used = await conn.fetchval("SELECT sum(unconfirmed_used) FROM channels")
    assert 1000 - 7 < used <= 1000


async def test_the_last_of_an_assets_allowance_goes_to_one_of_two_channels(worker: Worker, database_url: str) -> None:
    assets = [base64.b64encode(bytes([number]) * 32).decode() for number in range(15)]
    rules = AcceptanceRules(dict.fromkeys(assets, UnconfirmedLimits(10, 10, 0)), ROOMY, watcher_max_silence_s=60)
    async with acceptor(database_url, rules) as one, acceptor(database_url, rules) as other:
        for asset in assets:
            payers = [Payer(payer_key(number), asset=asset, salt=asset) for number in range(2)]
            for payer in payers:
                await worker.insert(payer)
                await worker.see_unit(payer, amount=5000)
            outcomes = await asyncio.gather(submit(one, payers[0], 7, 7), submit(other, payers[1], 7, 7))
            assert len(receipts(outcomes)) == 1


async def test_r06_no_receipt_is_worth_more_than_the_claim_a_closing_takes(
    fronts: list[Acceptor], worker: Worker
) -> None:
    payers = [Payer(payer_key(number)) for number in range(5)]
    for payer in payers:
        await worker.open(payer)
    claims: dict[str, int] = {}

    async def close(payer: Payer) -> None:
        async with worker.database.transaction() as conn:
            channel = await channels.lock_one(conn, payer.channel)
            assert channel is not None
            closed, order = order_close(channel)
            await channels.save_transition(conn, closed)
        claims[payer.channel] = json.loads(order.claim)["signed_message"]["amount_spent"] if order.claim else 0

    tasks = [submit(fronts[n % 2], payer, n, 1) for n in range(1, 101) for payer in payers]
    closings = [close(payer) for payer in payers]
    outcomes = await asyncio.gather(*tasks[:250], *closings, *tasks[250:])
    for receipt in receipts(outcomes):
        assert receipt.amount_spent <= claims[receipt.aa_address]
    for payer in payers:
        late = await submit(fronts[0], payer, 1000, 1)
        assert isinstance(late, Refusal)
        assert late.code == "period_closed_by_me"


async def test_r01_receiving_and_closing_at_once_never_wait_for_each_other_for_ever(
    worker: Worker, database_url: str
) -> None:
    payers = [Payer(payer_key(number)) for number in range(8)]
    for payer in payers:
        await worker.open(payer)

    async def watch(payer: Payer) -> None:
        with contextlib.suppress(NotClosableError):
            async with worker.database.transaction() as conn:
                channel = await channels.lock_one(conn, payer.channel)
                assert channel is not None
                await channels.save_transition(conn, order_close(channel)[0])

    async with acceptor(database_url, connections=1) as one, acceptor(database_url, connections=1) as other:
        work: list[Awaitable[object]] = [watch(payer) for payer in payers]
        work += [submit((one, other)[n % 2], payer, n, 1) for payer in payers for n in range(1, 30)]
        random.Random(2).shuffle(work)
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*work)
    assert all(isinstance(outcome, Receipt | Refusal) for outcome in outcomes if outcome is not None)


async def test_r04_a_database_error_fails_its_own_package_only_and_leaves_no_lock(
    worker: Worker, database_url: str
) -> None:
    payer, neighbour = Payer(), Payer(payer_key(2))
    await worker.open(payer)
    await worker.open(neighbour)
    async with administrator(database_url) as conn:
        await conn.execute("ALTER TABLE payments ADD CHECK (payment_amount <> 13)")
    async with acceptor(database_url) as front:
        poisoned, good, later = await asyncio.gather(
            submit(front, payer, 13, 13),
            submit(front, neighbour, 10, 10),
            submit(front, payer, 20, 7),
            return_exceptions=True,
        )
        assert isinstance(poisoned, StoreError)
        assert isinstance(good, Receipt)
        assert isinstance(later, Receipt)
        assert isinstance(await submit(front, payer, 30, 10), Receipt)
    assert (await worker.read(payer)).spent_by_peer == 30


async def test_r04_whoever_holds_a_channels_lock_too_long_holds_up_that_channel_only(
    worker: Worker, database_url: str
) -> None:
    frozen, payer = Payer(), Payer(payer_key(2))
    await worker.open(frozen)
    await worker.open(payer)
    async with acceptor(database_url, lock_s=0.2) as front:
        async with worker.database.transaction() as conn:
            await channels.lock_one(conn, frozen.channel)
            stuck, good = await asyncio.gather(
                submit(front, frozen, 10, 10), submit(front, payer, 10, 10), return_exceptions=True
            )
        assert isinstance(stuck, UnavailableError)
        assert stuck.code == "database_unavailable"
        assert isinstance(good, Receipt)
        assert isinstance(await submit(front, frozen, 10, 10), Receipt)


async def test_a_caller_who_is_gone_takes_nobody_with_him(worker: Worker, database_url: str) -> None:
    payer = Payer()
    await worker.open(payer)
    async with acceptor(database_url) as front:
        gone = asyncio.ensure_future(submit(front, payer, 10, 10))
        stays = asyncio.ensure_future(submit(front, payer, 20, 10))
        await asyncio.sleep(0)
        gone.cancel()
        assert isinstance(await stays, Receipt)
        again = await submit(front, payer, 10, 10)
        assert isinstance(again, Receipt)
        assert again.duplicate


async def test_closing_finishes_what_waits_and_takes_no_more(worker: Worker, database_url: str) -> None:
    payer = Payer()
    await worker.open(payer)
    async with acceptor(database_url) as front:
        waiting = [asyncio.ensure_future(submit(front, payer, n, 1)) for n in range(1, 51)]
        await asyncio.sleep(0)
        await front.close()
        assert len(receipts(await asyncio.gather(*waiting))) == 50
        with pytest.raises(UnavailableError) as caught:
            await submit(front, payer, 51, 1)
        assert caught.value.code == "shutting_down"


async def test_a_strangers_part_of_the_queue_is_bounded(worker: Worker, database_url: str) -> None:
    payer = Payer()
    await worker.open(payer)
    rules = AcceptanceRules(RULES.limits, ROOMY, watcher_max_silence_s=60, batch_max=1, queue_max=4)
    async with acceptor(database_url, rules) as front:
        outcomes = await asyncio.gather(*(submit(front, payer, n, 1) for n in range(1, 6)), return_exceptions=True)
    overloaded = [outcome for outcome in outcomes if isinstance(outcome, UnavailableError)]
    assert len(receipts(outcomes)) == 2
    assert [error.code for error in overloaded] == ["overloaded"] * 3


async def test_a_batch_takes_no_more_than_its_limit(worker: Worker, database_url: str) -> None:
    payer = Payer()
    await worker.open(payer)
    rules = AcceptanceRules(RULES.limits, ROOMY, watcher_max_silence_s=60, batch_max=7)
    async with acceptor(database_url, rules) as front:
        outcomes = await asyncio.gather(*(submit(front, payer, n, 1) for n in range(1, 31)))
    assert len(receipts(outcomes)) == 30
    async with administrator(database_url) as conn:
        sizes = await conn.fetch("SELECT count(*) FROM payments GROUP BY accepted_at")
    assert max(row[0] for row in sizes) == 7
    assert len(sizes) == 5


async def test_r04_a_bad_package_beside_a_held_lock_still_fails_alone(worker: Worker, database_url: str) -> None:
    frozen, payer = Payer(), Payer(payer_key(2))
    await worker.open(frozen)
    await worker.open(payer)
    async with administrator(database_url) as conn:
        await conn.execute("ALTER TABLE payments ADD CHECK (payment_amount <> 13)")
    async with acceptor(database_url, lock_s=0.2) as front, worker.database.transaction() as conn:
        await channels.lock_one(conn, frozen.channel)
        stuck, poisoned, good = await asyncio.gather(
            submit(front, frozen, 10, 10),
            submit(front, payer, 13, 13),
            submit(front, payer, 20, 7),
            return_exceptions=True,
        )
    assert isinstance(stuck, UnavailableError)
    assert isinstance(poisoned, StoreError)
    assert isinstance(good, Receipt)
