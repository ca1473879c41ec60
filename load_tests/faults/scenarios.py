"""What is done to the topology while payments flow. Each strike ends when the part is back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from infra.topology import PartError, StandbyServer
from load_tests.faults.campaign import Scenario
from load_tests.faults.cutting import Cutter, end_somebodys_connection
from load_tests.faults.disks import FullDiskOfTables, FullDiskOfTheLog
from load_tests.faults.stage import LEASE_TTL_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.topology import Part
    from load_tests.faults.stage import Stage
    from shared.settings import Settings

_LATER_S = 1.0
"""Up to so long a killed part stays away before it is started again."""


class Kills:
    """Kill a process of each kind, in an order and with a victim that chance decides, again and again."""

    def __init__(self) -> None:
        self._left: list[tuple[Part, ...]] = []

    async def __call__(self, stage: Stage, _number: int) -> None:
        """Kill one and start it again."""
        topology = stage.topology
        if not self._left:
            servers = (topology.postgres,), (topology.redis,), (topology.nginx,)
            self._left = [topology.fronts, topology.workers, *servers]
            stage.chance.shuffle(self._left)
        victim = stage.chance.choice(self._left.pop())
        victim.kill()
        await asyncio.sleep(_LATER_S * stage.chance.random())
        await victim.start()
        stage.count(f"{victim.name} killed")


async def restart_servers(stage: Stage, number: int) -> None:
    """Restart Postgres and Redis in turn, as an upgrade of the machine does."""
    await _restarted(stage, (stage.topology.postgres, stage.topology.redis)[number % 2])


async def freeze(stage: Stage, number: int) -> None:
    """Stop the time of the active worker for longer than its lease lasts, or of a front for a while."""
    topology = stage.topology
    if number % 2:
        front = stage.chance.choice(topology.fronts)
        front.freeze()
        await asyncio.sleep(1 + 2 * stage.chance.random())
        front.thaw()
        stage.count("front frozen")
        return
    frozen = await topology.active_worker()
    frozen.freeze()
    await asyncio.sleep(2 * LEASE_TTL_S)
    if await topology.active_worker() is frozen:
        raise PartError("a frozen worker has kept the lease")
    frozen.thaw()
    await asyncio.sleep(LEASE_TTL_S / 2)
    if await frozen.is_active():
        raise PartError("a worker woke up and believes to hold a lease that is another one's")
    stage.count("worker frozen")


async def roll(stage: Stage, number: int) -> None:
    """Replace one part as a new release does, ten workers and six fronts in sixteen steps: nobody is to notice."""
    topology = stage.topology
    if number % 8 in (1, 4, 7):
        front = topology.fronts[stage.counts.get("front rolled", 0) % len(topology.fronts)]
        await _restarted(stage, front, "front rolled")
    else:
        await _restarted(stage, await topology.active_worker(), "worker rolled")
        await topology.active_worker()


async def _restarted(stage: Stage, part: Part, name: str = "") -> None:
    if not await part.stop():
        raise PartError(f"{part.name} did not stop when it was asked to")
    await part.start()
    stage.count(name or f"{part.name} restarted")


class Promotion:
    """Lose the primary for good and promote the stand-by that each commit has waited for."""

    def __init__(self) -> None:
        self._standby: StandbyServer | None = None

    async def prepare(self, stage: Stage) -> None:
        """Add the stand-by, let commits wait for it, and tell fronts and workers of both."""
        topology = stage.topology
        primary, home = topology.postgres, topology.home / "standby"
        standby = StandbyServer("standby", primary, home, stage.account, stage.hands)
        stage.undo.callback(stage.hands.close)
        stage.undo.push_async_callback(standby.stop)
        await standby.start()
        await standby.require()
        await moved(stage, lambda login: primary.url_with(standby, login=login))
        self._standby = standby

    async def strike(self, stage: Stage, number: int) -> None:
        """Kill the one, promote the other; once, whatever is asked for."""
        if self._standby is None:
            raise PartError("there is no stand-by")
        if number:
            await asyncio.sleep(_LATER_S)
            return
        stage.topology.postgres.kill()
        await asyncio.sleep(_LATER_S * stage.chance.random())
        await self._standby.promote()
        stage.count("stand-by promoted")


async def moved(stage: Stage, url_of: Callable[[str], str]) -> None:
    """Let fronts and workers use another address of the database; `url_of` gives it for a login."""
    topology = stage.topology
    stage.database_url = url_of("sluice_worker_login")

    def told(settings: Settings, login: str) -> Settings:
        return settings.connected(database_url=url_of(login))

    for worker in topology.workers:
        worker.settings = told(worker.settings, "sluice_worker_login")
    for front in topology.fronts:
        front.settings = told(front.settings, "sluice_front_login")
    await _renewed(*topology.workers, *topology.fronts)
    await topology.active_worker()


async def _renewed(*parts: Part) -> None:
    """Start parts anew, all at once: nobody pays now, so nobody has to leave with care."""
    for part in parts:
        part.kill()
        await part.start(ready=False)
    for part in parts:
        await part.wait_ready()


class Cuts:
    """Cut connections to Postgres in the middle of whatever is on them, answers to commits included."""

    def __init__(self) -> None:
        self._cutter: Cutter | None = None

    async def prepare(self, stage: Stage) -> None:
        """Put a cable that can be cut between the fronts and Postgres."""
        postgres = stage.topology.postgres
        self._cutter = cutter = Cutter(postgres.sockets, stage.chance)
        await stage.undo.enter_async_context(cutter)
        await self._through(stage, cutter.over(postgres.url("sluice_front_login")))

    async def strike(self, stage: Stage, _number: int) -> None:
        """Cut for three seconds; the server ends connections by itself meanwhile, the worker's too."""
        if self._cutter is None:
            raise PartError("there is no cable to be cut")
        ended = 0
        with self._cutter.cutting() as cuts:
            for _ in range(20):
                await asyncio.sleep(0.3 * stage.chance.random())
                ended += await asyncio.to_thread(end_somebodys_connection, stage.topology.postgres.url())
        stage.count("connections cut", cuts.made)
        stage.count("connections ended by the server", ended)

    async def restore(self, stage: Stage) -> None:
        """Take the cable away."""
        await self._through(stage, stage.topology.postgres.url("sluice_front_login"))

    async def _through(self, stage: Stage, url: str) -> None:
        for front in stage.topology.fronts:
            front.settings = front.settings.connected(database_url=url)
        await _renewed(*stage.topology.fronts)


def scenarios() -> dict[str, Scenario]:
    """Return all of them by name, in the order in which they are played: the fail-over comes last."""
    cuts, promotion, tables, log = Cuts(), Promotion(), FullDiskOfTables(), FullDiskOfTheLog()
    return {
        scenario.name: scenario
        for scenario in (
            Scenario("rolls", "workers and fronts are replaced one by one", roll, times=16, spares_payers=True),
            Scenario("kills", "processes of every kind are killed with SIGKILL", Kills(), times=10),
            Scenario("restarts", "Postgres and Redis are restarted", restart_servers, times=4),
            Scenario("freezes", "the active worker and fronts are frozen", freeze, times=4),
            Scenario(
                "cuts",
                "connections to Postgres are cut in mid-transaction",
                cuts.strike,
                times=3,
                prepare=cuts.prepare,
                restore=cuts.restore,
            ),
            Scenario(
                "disk",
                "the disk of the tables is full",
                tables.strike,
                times=2,
                prepare=tables.prepare,
                restore=tables.restore,
            ),
            Scenario(
                "log-disk",
                "the disk of the write-ahead log is full",
                log.strike,
                times=2,
                prepare=log.prepare,
                restore=log.restore,
            ),
            Scenario("promotion", "the primary is lost", promotion.strike, prepare=promotion.prepare),
        )
    }
