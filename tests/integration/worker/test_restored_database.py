"""The database goes back to an earlier moment: nothing is signed twice, nothing lost that the ledger can give."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from shared.channels.model import Channel, Status
from shared.obyte.composing import Output
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message
from shared.store import alarms, instance
from shared.store.alarms import AlarmKind
from shared.store.database import Database, Role
from shared.store.mark import Mark
from tests.integration.worker.support import BOUND_S, FAST, OWN_KEY, Crash, eventually
from worker.rollback import RollbackPace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.worker.support import Peer, World

PACE = replace(FAST, rollback=RollbackPace(look_s=0.05))


class Backups:
    """Backups of a test's database, and a worker that keeps a mark."""

    def __init__(self, world: World, admin_url: str, mark_file: Path) -> None:
        self.world = world
        self.mark_file = mark_file
        self._admin_url = admin_url
        self._name = urlsplit(world.database_url).path.removeprefix("/")

    @asynccontextmanager
    async def running(self, **changes: Any) -> AsyncIterator[None]:
        mark = Mark(self.mark_file, own_address=OWN_KEY.address, network="devnet")
        async with self.world.running(**{"pace": PACE, "mark": mark} | changes):
            yield

    async def make(self) -> None:
        await self._copy(self._name, f"{self._name}_backup")

    async def restore(self) -> None:
        await self._copy(f"{self._name}_backup", self._name)

    async def change(self, statement: str) -> None:
        async with self.world.database.transaction() as conn:
            await conn.execute(statement)

    async def let_an_hour_pass(self) -> None:
        """Since the database was made, and since its restore was noticed."""
        await self.change(
            "UPDATE instance SET declared_at = declared_at - interval '1h', restored_at = restored_at - interval '1h'"
        )

    async def _copy(self, source: str, target: str) -> None:
        await self.world.database.close()
        await self._administer(f"DROP DATABASE IF EXISTS {target} WITH (FORCE)")
        await self._administer(f"CREATE DATABASE {target} TEMPLATE {source}")
        self.world.database = await Database.connect(self.world.database_url, role=Role.WORKER)

    async def _administer(self, statement: str) -> None:
        admin = await asyncpg.connect(self._admin_url)
        try:
            await admin.execute(statement)
        finally:
            await admin.close()

    async def end(self) -> None:
        await self.world.database.close()
        await self._administer(f"DROP DATABASE IF EXISTS {self._name}_backup WITH (FORCE)")


@pytest.fixture
async def backups(world: World, postgres_url: str, tmp_path: Path, expected_errors: set[str]) -> AsyncIterator[Backups]:
    expected_errors.add("restored_database")
    made = Backups(world, postgres_url, tmp_path / "wallet.json.mark")
    yield made
    await made.end()


def is_unsure(channel: Channel) -> bool:
    return channel.is_unsure


def is_closed(channel: Channel) -> bool:
    return channel.period == 1 and channel.status is Status.CLOSED


async def has_alarm(world: World) -> bool:
    async with world.database.connection() as conn:
        return any(alarm.kind is AlarmKind.RESTORED_DATABASE for alarm in await alarms.active(conn))


async def is_calm(world: World) -> bool:
    return not await has_alarm(world)


async def restored_reason(world: World) -> str:
    async with world.database.connection() as conn:
        here = await instance.read(conn)
    assert here is not None
    assert here.restored_reason is not None
    return here.restored_reason


async def paid_channel(backups: Backups, *amounts: int) -> Peer:
    """A channel that is open and in which some was paid, while a worker was running that has stopped since."""
    world = backups.world
    async with backups.running():
        peer = await world.peer()
        await world.open(peer)
        await world.pay(peer, *amounts)
    return peer


async def test_what_was_paid_after_the_backup_is_kept_when_the_peer_closes(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.make()
    async with backups.running():
        await world.pay(peer, 30_000)
    await backups.restore()
    before = world.own.balance()
    async with backups.running():
        await world.until(peer, is_unsure, "unsure")
        await eventually(world.is_awake, "a heartbeat")
        await eventually(lambda: has_alarm(world), "the alarm")
        peer.close(admits=70_000)
        await world.until(peer, is_closed, "closed")
    [confirm] = world.triggers(peer, "confirm")
    unit = world.devnet.ledger.state.dag.records[confirm].unit
    assert unit["messages"][0]["payload"] == {"confirm": 1, "period": 1}
    fees = unit["headers_commission"] + unit["payload_commission"] + unit["tps_fee"]
    # The agent returns the 10 000 bytes of the trigger: what is left is what was paid, all of it.
    assert world.own.balance() - before == 70_000 - fees


async def test_no_package_is_credited_again_and_nothing_is_closed_on_old_books(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.make()
    async with backups.running():
        await world.pay(peer, 30_000)
    await backups.restore()
    async with backups.running():
        await world.until(peer, is_unsure, "unsure")
        peer.spent -= 30_000
        with pytest.raises(AssertionError, match="channel_unsure"):
            await world.pay(peer, 30_000)
        command = await world.until_done(await world.order_close(peer))
    assert command.error is not None
    assert world.triggers(peer, "close") == []
    assert (await world.channel(peer)).spent_by_peer == 40_000


async def test_a_closing_for_less_than_even_the_old_claim_is_answered_with_the_proof(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.make()
    async with backups.running():
        await world.pay(peer, 30_000)
    await backups.restore()
    async with backups.running():
        peer.close(admits=10_000)
        await world.until(peer, is_closed, "closed")
    assert len(world.triggers(peer, "fraud_proof")) == 1
    assert world.triggers(peer, "confirm") == []


async def test_a_channel_that_was_opened_after_the_backup_is_unsure_too(backups: Backups) -> None:
    world = backups.world
    async with backups.running():
        peer = await world.peer()
        await eventually(world.is_awake, "a heartbeat")
    await backups.make()
    async with backups.running():
        await world.open(peer)
        await world.pay(peer, 500)
    await backups.restore()
    async with backups.running():
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        assert (await world.channel(peer)).unsure_period == 1


async def test_a_channel_that_the_backup_does_not_know_is_unsure_when_it_comes_back(backups: Backups) -> None:
    world = backups.world
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
    await backups.make()
    peer = await paid_channel(backups, 500)
    await backups.restore()
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
        await world.add_channel(peer)
        await world.until(peer, lambda channel: channel.status is Status.OPEN, "open")
        assert (await world.channel(peer)).unsure_period == 1


async def cut_off_before_posting(backups: Backups, monkeypatch: pytest.MonkeyPatch, peer: Peer) -> None:
    """Order the channel closed, and stop when the closing unit is in the journal and nobody else has seen it."""
    world = backups.world
    crash = Crash()
    with monkeypatch.context() as patch:
        patch.setattr(HubClient, "post_joint", crash)
        async with backups.running():
            await world.order_close(peer)
            await asyncio.wait_for(crash.reached.wait(), BOUND_S)
            await world.expire_lease()


async def test_a_closing_that_the_backup_was_about_to_send_is_not_sent(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = backups.world
    peer = await paid_channel(backups, 500)
    await cut_off_before_posting(backups, monkeypatch, peer)
    await backups.make()
    # What happened after the backup does not matter, only that something did.
    async with backups.running():
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    sent = world.triggers(peer, "close")
    await backups.restore()
    async with backups.running():
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
        world.devnet.skip_time(peer.timeout_s)
        await world.until(peer, is_closed, "closed")
    assert world.triggers(peer, "close") == sent
    assert len(sent) == 1


async def test_an_order_that_the_backup_was_about_to_carry_out_is_given_up(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 500)
    command_id = await world.order_close(peer)
    await backups.make()
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
    await backups.restore()
    sent = world.triggers(peer, "close")
    async with backups.running():
        command = await world.until_done(command_id)
        await eventually(world.is_awake, "a heartbeat")
    assert command.error is not None
    assert command.error.startswith("restored_database")
    assert world.triggers(peer, "close") == sent


async def test_a_worker_whose_mark_was_restored_too_knows_it_by_its_own_units_on_the_ledger(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.let_an_hour_pass()
    await backups.make()
    old_mark = backups.mark_file.read_bytes()
    async with backups.running():
        await world.until_done(await world.order_close(peer))
        await world.until(peer, lambda channel: channel.status is Status.CLOSING_BY_ME, "closing")
    await backups.restore()
    backups.mark_file.write_bytes(old_mark)
    async with backups.running():
        await eventually(lambda: has_alarm(world), "the alarm")
    assert world.triggers(peer, "close")[0] in await restored_reason(world)


async def test_a_used_database_without_its_mark_is_doubted_although_the_ledger_says_nothing(backups: Backups) -> None:
    """The backup is younger than ten minutes, and all that was lost with it are payments."""
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.make()
    async with backups.running():
        await world.pay(peer, 30_000)
    await backups.restore()
    backups.mark_file.unlink()
    async with backups.running():
        await world.until(peer, is_unsure, "unsure")
        await eventually(lambda: has_alarm(world), "the alarm")
        assert "no mark" in await restored_reason(world)
        peer.close(admits=70_000)
        await world.until(peer, is_closed, "closed")
    assert world.triggers(peer, "close") == []


async def test_a_worker_that_ended_before_its_first_mark_starts_without_alarm(
    backups: Backups, expected_errors: set[str]
) -> None:
    expected_errors.clear()
    world = backups.world
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
    backups.mark_file.unlink()
    await backups.change("UPDATE instance SET pulse = 1")
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
        assert await is_calm(world)


async def test_a_stand_by_without_a_mark_learns_it_from_a_database_in_use(
    backups: Backups, tmp_path: Path, expected_errors: set[str]
) -> None:
    """A second worker on a new machine, and then the first one goes: nothing is in doubt."""
    expected_errors.clear()
    world = backups.world
    new = Mark(tmp_path / "another machine.mark", own_address=OWN_KEY.address, network="devnet")
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
        task = asyncio.create_task((stand_by := world.runtime(pace=PACE, mark=new)).run())
        await eventually(lambda: asyncio.to_thread((tmp_path / "another machine.mark").exists), "its mark")
    await asyncio.wait_for(stand_by.holding.wait(), BOUND_S)
    await eventually(world.is_awake, "a heartbeat")
    assert await is_calm(world)
    stand_by.stop()
    await asyncio.wait_for(task, BOUND_S)


async def test_the_history_of_an_imported_seed_is_no_restore(backups: Backups, expected_errors: set[str]) -> None:
    expected_errors.clear()
    world = backups.world
    world.own.post([Output(world.own.address, 1_000)])
    await world.devnet.stabilise()
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
        assert await is_calm(world)


async def test_a_package_of_ours_that_we_do_not_know_shows_a_restore(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.let_an_hour_pass()
    terms = {"payment_amount": 7, "amount_spent": 7, "period": 1, "aa_address": peer.channel}
    ours = sign_message(terms, OWN_KEY, DEVNET)
    async with backups.running():
        await eventually(world.is_awake, "a heartbeat")
        peer.trigger({"close": 1, "period": 1, "transferredFromMe": 40_000, "sentByPeer": ours})
        await world.until(peer, is_closed, "closed")
        await eventually(lambda: has_alarm(world), "the alarm")


async def test_a_database_that_loses_its_last_transactions_under_a_running_worker_is_noticed(
    backups: Backups,
) -> None:
    world = backups.world
    async with backups.running():
        peer = await world.peer()
        await world.open(peer)
        await backups.change("UPDATE instance SET pulse = 1")
        await world.until(peer, is_unsure, "unsure")
        await eventually(lambda: has_alarm(world), "the alarm")


async def test_a_stand_by_that_takes_over_a_restored_database_knows_it(backups: Backups) -> None:
    world = backups.world
    first = world.runtime(pace=PACE)
    async with world.running(first):
        task = asyncio.create_task(
            (stand_by := world.runtime(pace=PACE, mark=Mark(backups.mark_file, own_address="A", network="n"))).run()
        )
        await eventually(lambda: asyncio.to_thread(backups.mark_file.exists), "the stand-by's mark")
        stand_by.stop()
        await asyncio.wait_for(task, BOUND_S)
    await backups.change("UPDATE instance SET pulse = 0")
    peer = await world.peer()
    async with world.running(pace=PACE, mark=Mark(backups.mark_file, own_address="A", network="n")):
        await eventually(lambda: has_alarm(world), "the alarm")
        assert (await world.channel(peer)).is_unsure


async def test_the_doubt_ends_with_the_period_and_then_as_a_whole(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    idle = await world.peer(2)
    await backups.make()
    await backups.restore()
    await backups.change("UPDATE instance SET pulse = 0")
    async with backups.running():
        await eventually(lambda: has_alarm(world), "the alarm")
        assert (await world.channel(idle)).is_unsure
        await backups.let_an_hour_pass()
        # Nobody has funded it, and who funds it now does so after the restore.
        await world.until(idle, lambda channel: not channel.is_unsure, "sure")
        assert (await world.channel(peer)).is_unsure
        peer.close(admits=40_000)
        await world.until(peer, is_closed, "closed")
        await eventually(lambda: is_calm(world), "the end of the alarm")
        peer.spent = 0
        peer.deposit(60_000)
        await world.until(peer, lambda channel: channel.period == 2, "open again")
        await eventually(world.is_awake, "a heartbeat")
        assert not (await world.channel(peer)).is_unsure


async def test_a_person_may_end_the_doubt(backups: Backups) -> None:
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.change("UPDATE instance SET pulse = 0")
    async with backups.running():
        await eventually(lambda: has_alarm(world), "the alarm")
        async with world.database.transaction() as conn:
            assert await instance.trust(conn) == 1
        await eventually(lambda: is_calm(world), "the end of the alarm")
        await world.pay(peer, 5)
        command = await world.until_done(await world.order_close(peer, "close-2"))
        assert command.error is None


async def test_a_worker_that_was_killed_starts_without_alarm(backups: Backups, expected_errors: set[str]) -> None:
    """The commit comes first and the mark second: a crash between them leaves the mark behind, never ahead."""
    expected_errors.clear()
    world = backups.world
    peer = await paid_channel(backups, 40_000)
    await backups.change("UPDATE instance SET pulse = pulse + 7")
    async with backups.running():
        await world.pay(peer, 5)
        assert await is_calm(world)
