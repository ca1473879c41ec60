"""The production shape as processes: payments and events through nginx, and parts that are taken away and come back."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
import pytest_asyncio
from websockets.asyncio.client import connect

from infra.topology import PartError, Topology
from shared.obyte.keys import payment_key
from shared.store import api_keys
from shared.store.api_keys import Scope
from shared.store.database import Database, Role
from sluice.payer import Payer, PayerOptions
from sluice.payer.peers import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("needs_nginx")]

MNEMONIC = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
BOUND_S = 60
PATIENT = PayerOptions(retry=RetryPolicy(attempts=20, first_pause_s=0.05, longest_pause_s=0.5, give_up_after_s=BOUND_S))


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory, needs_nginx: None) -> Iterator[Topology]:
    home = tmp_path_factory.mktemp("topology") / "home"
    running = Topology(home, fronts=3, workers=2, stabilise_after_s=0.05, overrides={"lease_ttl_s": 2.0})
    asyncio.run(running.__aenter__())  # it is of no event loop: each test has its own
    yield running
    asyncio.run(running.__aexit__())


@pytest_asyncio.fixture
async def payer(topology: Topology, tmp_path: Path) -> AsyncIterator[Payer]:
    await topology.fund(payment_key(MNEMONIC).address, 100_000_000)
    async with Payer.open(
        tmp_path / "payer", hub_url=topology.ledger.url, network="devnet", mnemonic=MNEMONIC, options=PATIENT
    ) as payer:
        yield payer


async def test_payments_and_events_go_through_nginx_over_all_fronts(topology: Topology, payer: Payer) -> None:
    database = await Database.connect(topology.postgres.url("sluice_worker_login"), role=Role.WORKER)
    async with database.transaction() as conn:
        token, _ = await api_keys.create(conn, "reader", [Scope.READ])
    await database.close()

    async with connect(
        f"{topology.url.replace('http', 'ws')}v1/events?types=payment_received",
        additional_headers={"Authorization": f"Bearer {token}"},
    ) as follower:
        channel = await payer.open_channel(topology.url, 1_000_000)
        await channel.wait_open(BOUND_S)
        receipts = await asyncio.gather(*(channel.pay(amount) for amount in range(1, 61)))
        again = await payer.resend(receipts[-1].payment_id)

        heard: list[int] = []
        async with asyncio.timeout(BOUND_S):
            while len(heard) < len(receipts):
                told = json.loads(await follower.recv())
                if told["type"] == "payment_received":
                    heard.append(int(told["data"]["amount"]))

    assert sorted(heard) == [receipt.amount for receipt in receipts]
    assert (again.duplicate, again.receiver_payment_id) == (True, receipts[-1].receiver_payment_id)
    served = [json.loads(line) for line in topology.nginx.access_log.read_text().splitlines()]
    assert {line["front"] for line in served if line["path"] == "/post"} == {front.address for front in topology.fronts}

    async with httpx.AsyncClient(trust_env=False) as http:
        for door in ("healthz", "readyz", "metrics"):
            assert (await http.get(f"{topology.url}{door}")).status_code == 404
        assert (await http.get(f"{topology.fronts[0].url}readyz")).status_code == 200


async def test_a_front_that_was_killed_is_left_out_and_comes_back(topology: Topology, payer: Payer) -> None:
    channel = await payer.open_channel(topology.url, 1_000_000)
    await channel.wait_open(BOUND_S)
    topology.fronts[0].kill()
    receipts = await asyncio.gather(*(channel.pay(10) for _ in range(9)))
    assert channel.state.spent_by_me == sum(receipt.amount for receipt in receipts)
    assert not topology.fronts[0].is_running

    await topology.fronts[0].start()
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"{topology.fronts[0].url}readyz")).status_code == 200


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_whatever_is_taken_away_payments_go_on_and_it_comes_back(topology: Topology, payer: Payer) -> None:
    channel = await payer.open_channel(topology.url, 1_000_000)
    await channel.wait_open(BOUND_S)
    paid = 0

    async def pay() -> None:
        nonlocal paid
        receipts = await asyncio.gather(*(channel.pay(10) for _ in range(6)))
        paid += sum(receipt.amount for receipt in receipts)

    for front in topology.fronts:
        front.kill()
        await pay()
        await front.start()
    await topology.fronts[0].restart()

    for frozen in (topology.fronts[1], topology.postgres):
        frozen.freeze()
        assert {process.status() for process in _family(frozen.pid)} == {psutil.STATUS_STOPPED}
        frozen.thaw()
        assert psutil.STATUS_STOPPED not in {process.status() for process in _family(frozen.pid)}
        await frozen.wait_ready()
    await pay()

    active = await topology.active_worker()
    active.kill()
    await pay()
    stand_by = await topology.active_worker()
    assert stand_by is not active
    await active.start()

    for server in (topology.redis, topology.postgres):
        server.kill()
        await server.start()
        await pay()
        await server.restart()
        await pay()

    await topology.nginx.restart()
    await pay()
    assert channel.state.spent_by_me == paid
    with pytest.raises(PartError, match="runs already"):
        await topology.fronts[0].start()


async def test_a_directory_that_knows_another_ledger_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(PartError, match="another local ledger"):
        await Topology(tmp_path).__aenter__()


def _family(pid: int) -> list[psutil.Process]:
    main = psutil.Process(pid)
    return [main, *main.children(recursive=True)]
