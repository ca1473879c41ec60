"""A backup of a running system is restored; the steps of docs/operations.md lead back to payments and right sums."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from shared.obyte.keys import generate_mnemonic, payment_key
from sluice.home import private_directory
from sluice.machine.account import SYSTEM_PATH, Account
from sluice.machine.embedded import postgres_programs
from sluice.payer import Payer, PayerOptions
from sluice.payer.errors import PaymentRefusedError, PaymentUncertainError
from sluice.payer.peers import RetryPolicy
from tests.integration.operations.conftest import BOUND_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from infra.topology import Topology
    from sluice.payer import PayerChannel
    from tests.integration.operations.conftest import Operator

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]

DEPOSIT = 1_000_000
MESSAGE_BYTES = 10_000
FEES = 6_000
"""More than the fees of the units of one period together, the agent's among them."""
QUICK = PayerOptions(retry=RetryPolicy(attempts=2, first_pause_s=0.05, longest_pause_s=0.1, give_up_after_s=2))
PATIENT = PayerOptions(retry=RetryPolicy(attempts=40, first_pause_s=0.05, longest_pause_s=0.5, give_up_after_s=BOUND_S))


async def eventually(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline_s = asyncio.get_running_loop().time() + BOUND_S
    while not await holds():
        assert asyncio.get_running_loop().time() < deadline_s, f"no {what} within {BOUND_S:g} s"
        await asyncio.sleep(0.1)


async def payer_of(stack: AsyncExitStack, topology: Topology, home: Path, options: PayerOptions) -> Payer:
    mnemonic = generate_mnemonic()
    await topology.fund(payment_key(mnemonic).address, 10 * DEPOSIT)
    opened = Payer.open(home, hub_url=topology.ledger.url, network="devnet", mnemonic=mnemonic, options=options)
    return await stack.enter_async_context(opened)


async def open_channel(payer: Payer, topology: Topology) -> PayerChannel:
    channel = await payer.open_channel(topology.url, DEPOSIT)
    await channel.wait_open(BOUND_S)
    return channel


def base_backup(topology: Topology, target: Path) -> None:
    """What the page says: `pg_basebackup`, of the running server."""
    account = Account()
    private_directory(target, account.owner)
    words = ["--dbname", f"host={topology.postgres.sockets} user=postgres", "--pgdata", str(target)]
    command = account.command(
        postgres_programs() / "pg_basebackup", *words, "--wal-method=stream", "--checkpoint=fast", needs=target
    )
    subprocess.run(command, env={"PATH": SYSTEM_PATH, "LC_ALL": "C"}, check=True, capture_output=True, timeout=BOUND_S)


async def reasons(topology: Topology) -> list[str]:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{topology.fronts[0].url}readyz")
        found: list[str] = answer.json()["reasons"]
        return found


async def is_ready(topology: Topology) -> bool:
    try:
        return not await reasons(topology)
    except httpx.HTTPError:
        return False


async def test_a_release_is_rolled_out_and_back_while_payments_go_on(
    topology: Topology, operator: Operator, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        payer = await payer_of(stack, topology, tmp_path / "payer", PATIENT)
        channel = await open_channel(payer, topology)
        receipts = [await channel.pay(10)]
        rolled = asyncio.Event()

        async def go_on_paying() -> None:
            while not rolled.is_set():
                receipts.append(await channel.pay(10))

        paying = asyncio.create_task(go_on_paying())
        try:
            for phase in ("pre", "post"):
                migrated = await operator.sluice("migrate", "--phase", phase, login="sluice_migrator")
                assert migrated.returncode == 0, migrated.stderr
                for front in topology.fronts:
                    await front.restart()
                for worker in topology.workers:
                    await worker.restart()
            await topology.active_worker()
        finally:
            rolled.set()
            await paying
        assert len(receipts) > 10
        assert channel.state.spent_by_me == 10 * len(receipts)
        shown = await operator.told("channels", "show", channel.aa_address)
        assert shown["spent_by_peer"] == 10 * len(receipts)
        await channel.close()  # what is open would be in doubt after the restore of the next test
        await channel.settle(BOUND_S)


async def test_a_restored_backup_pays_nobody_wrongly_and_payments_flow_again(  # noqa: PLR0915 (one story, in order)
    topology: Topology, operator: Operator, tmp_path: Path
) -> None:
    data, backup, postgres = topology.home / "postgres", topology.home / "backup", topology.postgres
    [worker] = topology.workers
    async with AsyncExitStack() as stack:
        payers = [await payer_of(stack, topology, tmp_path / f"payer-{number}", QUICK) for number in range(3)]
        busy = await open_channel(payers[0], topology)
        quiet = await open_channel(payers[1], topology)
        await busy.pay(40_000)
        await quiet.pay(7_000)

        paying = asyncio.create_task(busy.pay(1_000))  # the system runs while it is backed up
        await asyncio.to_thread(base_backup, topology, backup)
        await paying
        await busy.pay(30_000)
        late = await open_channel(payers[2], topology)
        await late.pay(20_000)
        receipts = {busy.aa_address: 71_000, quiet.aa_address: 7_000, late.aa_address: 20_000}

        # The disk is lost: another cluster, made of the backup. The mark stays where it is.
        worker.kill()
        postgres.kill()
        data.rename(topology.home / "lost")
        backup.rename(data)
        await postgres.start()

        # Before the worker has looked, fronts take nothing.
        async def waits() -> bool:
            return await reasons(topology) == ["watcher_silent"]

        await eventually(waits, "watcher_silent")
        for channel in (busy, quiet):
            with pytest.raises((PaymentRefusedError, PaymentUncertainError)):
                await channel.pay(100)
            receipts[channel.aa_address] += 100  # signed, and so a part of what the peer will admit

        await worker.start()
        await eventually(lambda: is_ready(topology), "front that is ready")
        told = await operator.findings()
        assert told["alarms"]["verdict"] == "fail"
        assert "restored_database" in told["alarms"]["found"]
        assert "trust-database" in told["records"]["advice"]

        # What is unsafe is refused: to credit, and to close.
        with pytest.raises(PaymentRefusedError, match="close the channel") as refused:
            await busy.pay(100)
        assert refused.value.code == "channel_unsure"
        receipts[busy.aa_address] += 100
        closing = await operator.sluice("channels", "close", busy.aa_address, "--receiver")
        assert closing.returncode == 1
        assert "restored" in closing.stderr

        # The channel that the backup does not know: its payer tells of it, and it is as unsure as the others.
        for _ in range(2):
            with pytest.raises(PaymentRefusedError):
                await late.pay(100)
            receipts[late.aa_address] += 100
        known = {channel["aa_address"] for channel in await operator.told("channels", "list")}
        assert known >= set(receipts)

        # Where the peer says the same as we do, a person's word is enough, and nothing was lost in it.
        shown = await operator.told("channels", "show", quiet.aa_address)
        assert shown["spent_by_peer"] == 7_000
        trusted = await operator.sluice("wallet", "trust-database", quiet.aa_address, "--yes")
        assert trusted.returncode == 0, trusted.stderr
        await payers[1].resend((await payers[1].payments(aa_address=quiet.aa_address))[-1].id)
        await quiet.pay(500)
        receipts[quiet.aa_address] += 500

        # The others are closed by their peers, for all that was ever signed.
        before = (await operator.told("wallet", "balance"))["base"]
        units = {unit["unit"] for unit in await operator.told("wallet", "history")}
        for channel in (busy, late):
            await channel.close()
            summary = await channel.settle(BOUND_S)
            signed = receipts[channel.aa_address]
            assert 0 <= DEPOSIT - signed + MESSAGE_BYTES - summary.received < FEES
        spent = 0

        async def is_paid() -> bool:
            nonlocal spent
            made = [unit for unit in await operator.told("wallet", "history") if unit["unit"] not in units]
            after = (await operator.told("wallet", "balance"))["base"]
            spent = sum(unit["fees"] for unit in made)
            gained = sum(after[kind] - before[kind] for kind in ("stable", "pending"))
            return gained == receipts[busy.aa_address] + receipts[late.aa_address] - spent

        await eventually(is_paid, "balance that is right to the unit")

        # A quarter of an hour later they deposit again, and it is over.
        with psycopg.connect(postgres.url(), autocommit=True) as administrator:
            administrator.execute("UPDATE instance SET restored_at = restored_at - interval '1 hour'")
        await busy.deposit(DEPOSIT)
        await busy.wait_open(BOUND_S)
        await busy.pay(3_000)

        async def is_calm() -> bool:
            found = await operator.findings()
            return found["alarms"]["found"] == "none" and found["records"]["verdict"] == "ok"

        await eventually(is_calm, "end of the alarm")
        audited = await operator.sluice("audit", "--deep", "--ledger")
        assert audited.returncode == 0, audited.stdout
        await busy.close()
        summary = await busy.settle(BOUND_S)
        assert 0 <= DEPOSIT - 3_000 + MESSAGE_BYTES - summary.received < FEES
        await quiet.close()
        summary = await quiet.settle(BOUND_S)
        assert 0 <= DEPOSIT - receipts[quiet.aa_address] + MESSAGE_BYTES - summary.received < FEES
