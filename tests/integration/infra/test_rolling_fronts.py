"""Fronts that are restarted one by one, behind nginx and without it, under payments that nobody sends twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.front_processes import front_processes, receipts_in

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

DRAIN_WAIT_S = 0.8


@pytest.mark.usefixtures("needs_nginx")
async def test_no_request_fails_while_fronts_behind_nginx_are_rolled(tmp_path: Path, database_url: str) -> None:
    async with front_processes(tmp_path / "home", database_url, count=2, drain_wait_s=DRAIN_WAIT_S) as running:
        assert running.nginx is not None
        async with running.load(pause_s=0.005) as load:
            await load.sent(200)
            for front in running.fronts:
                assert await front.stop(), "it goes when it is asked to"
                served = running.nginx.access_log.read_text()
                await front.start()
                # nginx leaves a front that has turned connections away alone for some seconds. Whoever rolls the next
                # one sooner leaves nginx without any: the default of SLUICE_DRAIN_WAIT_S is as long.
                while f'"front":"{front.address}"' not in running.nginx.access_log.read_text()[len(served) :]:
                    await load.sent(load.tally.sent + 50)
            await load.sent(load.tally.sent + 200)
        assert load.tally.failures == {}, load.tally.examples
        assert await receipts_in(database_url) == load.tally.good
        assert load.tally.connections == len(running.payers), "nobody outside has noticed anything"
        assert running.nginx.log is not None
        # That nginx has asked another front is no failure: but an order must not be asked for twice, so nothing may
        # have been lost that was sent.
        complaints = [line for line in running.nginx.log.read_text().splitlines() if "[error]" in line]
        assert [line for line in complaints if "(111: Connection refused)" not in line] == []
