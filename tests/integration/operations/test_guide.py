"""The commands of docs/operations.md, run in their order against a receiver with the production logins."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from shared.obyte.keys import generate_mnemonic, payment_key
from sluice.machine.embedded import postgres_programs
from sluice.payer import Payer
from tests.integration.operations.conftest import BOUND_S

if TYPE_CHECKING:
    from infra.topology import Topology
    from tests.integration.operations.conftest import Operator

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/operations.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
BY_HAND = "# by hand"
OF_OTHERS = re.compile(r"\b(systemctl|docker|kubectl|nginx|timedatectl|pg_promote)\b")


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n", 1)[0][:40] for block in BLOCKS])
def test_every_block_is_what_a_shell_understands(block: str) -> None:
    checked = subprocess.run(["/bin/sh", "-n"], input=block, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert bool(OF_OTHERS.search(block)) <= block.startswith(BY_HAND), "this would touch the machine"


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_the_commands_do_what_the_page_says(topology: Topology, operator: Operator, tmp_path: Path) -> None:
    mnemonic = generate_mnemonic()
    await topology.fund(payment_key(mnemonic).address, 10_000_000)
    async with Payer.open(
        tmp_path / "payer", hub_url=topology.ledger.url, network="devnet", mnemonic=mnemonic
    ) as payer:
        channel = await payer.open_channel(topology.url, 1_000_000)
        await channel.wait_open(BOUND_S)
        await channel.pay(1_000)

        backups = tmp_path / "backups"
        backups.mkdir(mode=0o700)
        given = {
            **operator.environment,
            "PATH": f"{Path(sys.executable).parent}:{postgres_programs()}:{operator.environment['PATH']}",
            "PGHOST": str(topology.postgres.sockets),
            "PGUSER": "postgres",
            "PGDATABASE": "sluice",
            "SLUICE_WALLET_FILE": str(topology.settings.wallet_file),
            "SLUICE_WALLET_PASSPHRASE_FILE": str(topology.settings.wallet_passphrase_file),
            "SLUICE_NETWORK": "devnet",
            "SLUICE_PORT": topology.fronts[0].address.rpartition(":")[2],
            "MIGRATOR_URL": topology.postgres.url("sluice_migrator"),
            "REHEARSAL_URL": topology.postgres.url("sluice_worker_login").replace("/sluice?", "/sluice_rehearsal?"),
            "FRONTS": " ".join(front.url for front in topology.fronts),
            "WORKERS": " ".join(worker.metrics_url for worker in topology.workers),
            "BACKUPS": str(backups),
        }
        before = "sluice keys create --scope read && sluice webhooks create https://127.0.0.1:1024/"
        for block in [before, *(block for block in BLOCKS if not block.startswith(BY_HAND))]:
            done = await asyncio.to_thread(
                subprocess.run,
                ["/bin/sh", "-eu", "-c", block],
                env=given,
                capture_output=True,
                text=True,
                timeout=4 * BOUND_S,
                check=False,
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"

        kept = {file.name for file in backups.iterdir()}
        assert kept == {"before-upgrade.dump", "base", "sluice.dump", "wallet.json", "move"}
        # The login that was cut off is back, and everything goes on.
        for front in topology.fronts:
            await front.wait_ready()
        assert (await channel.pay(1_000)).amount == 1_000
        assert {key["state"] for key in await operator.told("keys", "list")} == {"revoked"}


async def test_a_front_whose_login_is_cut_off_says_so(topology: Topology) -> None:
    """Last on this topology: what the page promises of the login of a front that was broken into."""
    import psycopg  # noqa: PLC0415

    front = topology.fronts[0]
    with psycopg.connect(topology.postgres.url(), autocommit=True) as administrator:
        administrator.execute("ALTER ROLE sluice_front_login NOLOGIN")
        administrator.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sluice_front_login'"
        )
        try:
            async with httpx.AsyncClient(trust_env=False) as http:
                answer = await http.get(f"{front.url}readyz")
            assert (answer.status_code, answer.json()["reasons"]) == (503, ["database_unavailable"])
        finally:
            administrator.execute("ALTER ROLE sluice_front_login LOGIN")
    await front.wait_ready()
