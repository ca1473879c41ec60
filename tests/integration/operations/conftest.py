"""The production shape as processes, and what an operator's hands do with it: the steps of docs/operations.md."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from infra.topology import EdgeError, Topology, nginx_program
from shared.settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

BOUND_S = 60.0
OVERRIDES = {"lease_ttl_s": 2.0, "webhook_allowed_networks": ("127.0.0.0/8",)}


@pytest.fixture(scope="module")
def topology(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    try:
        nginx_program()
    except EdgeError as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("operations") / "home"
    running = Topology(home, fronts=2, workers=1, stabilise_after_s=0.05, overrides=OVERRIDES)
    asyncio.run(running.__aenter__())  # it is of no event loop: each test has its own
    yield running
    asyncio.run(running.__aexit__())


class Operator:
    """Types `sluice …` with the settings of a topology, as the login that the page names."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        self.environment = {**inherited, **environment(topology.settings)}

    async def sluice(self, *words: str, login: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command; whatever it says is the test's to judge."""
        given = dict(self.environment)
        if login is not None:
            given["SLUICE_DATABASE_URL"] = self._topology.postgres.url(login)
        command = [sys.executable, "-m", "sluice.cli", *words]
        return await asyncio.to_thread(
            subprocess.run, command, env=given, capture_output=True, text=True, timeout=BOUND_S, check=False
        )

    async def told(self, *words: str) -> Any:
        """Run a command that must succeed and return its JSON."""
        done = await self.sluice(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    async def findings(self) -> dict[str, dict[str, str]]:
        """What the doctor says, by check; of several of one name the last."""
        return {finding["check"]: finding for finding in json.loads((await self.sluice("doctor", "--json")).stdout)}


@pytest.fixture
def operator(topology: Topology) -> Operator:
    return Operator(topology)
