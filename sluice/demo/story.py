"""`sluice demo`: the whole story on one machine, with a real payer, real signatures and a local ledger.

A payer opens a channel, streams payments through several fronts, loses an answer and asks again, is impersonated by
somebody who tampers with a package; the worker closes the channel and the ledger pays out. At the end everything is
added up, from the receiver's database and from the ledger, and must agree to the last unit.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.audit import RULES, Audit
from shared.channels.model import Status
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.history import prove_history
from shared.obyte.hub_client import HubClient
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules
from shared.store import channels, commands, payments
from shared.store.audit.reading import snapshot
from shared.store.audit.rules import Limits
from shared.store.commands import CommandState
from shared.store.database import Database, Role
from sluice.demo.books import AgentBooks, books_of
from sluice.demo.wire import Balancer
from sluice.machine.progress import Steps
from sluice.machine.supervisor import Stack
from sluice.payer import Payer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shared.obyte.history import ProvenUnit
    from shared.settings import Settings
    from sluice.payer import PayerChannel
    from sluice.payer.payments import Receipt

FUNDS = 10_000_000
DEPOSIT = 1_000_000
AMOUNT = 100
AT_A_TIME = 16
STEP_BOUND_S = 60
POLL_S = 0.1
AUDIT_S = 60
_COLUMNS: tuple[tuple[str, Literal["left", "right"]], ...] = (
    ("", "left"),
    ("expected", "right"),
    ("found", "right"),
    ("", "left"),
)


class DemoError(Exception):
    """The story did not end well; the message says where."""

    code = "demo_failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """What is left when the channel is closed. Amounts in bytes."""

    paid: int
    credited: int
    payments: int
    to_receiver: int
    to_payer: int
    books: AgentBooks
    held: int


async def run(settings: Settings, *, fronts: int = 2, payments: int = 1_000) -> None:
    """Tell the story; raises DemoError if any part of it is not as it should be."""
    console = Console(highlight=False)
    settings = _prepared(settings)
    began = time.monotonic()
    async with Stack(settings, fronts=fronts, progress=Steps(console)) as stack:
        balancer = Balancer(stack.front_urls)
        database = await Database.connect(stack.settings.database_dsn, role=Role.WORKER, application_name="demo")
        try:
            async with (
                HubClient(stack.settings.hub_url, DEVNET) as hub,
                httpx.AsyncClient(transport=balancer, timeout=10) as http,
                Payer.open(settings.home / "payer", hub_url=stack.settings.hub_url, network=DEVNET, http=http) as payer,
            ):
                story = _Story(console, stack, payer, hub, database, balancer)
                await story.tell(payments)
        finally:
            await database.close()
    console.print(f"\n[bold green]All books agree.[/] [dim]{time.monotonic() - began:.0f} s in all[/]")


class _Story:
    def __init__(
        self, console: Console, stack: Stack, payer: Payer, hub: HubClient, database: Database, balancer: Balancer
    ) -> None:
        self._console = console
        self._stack = stack
        self._payer = payer
        self._hub = hub
        self._database = database
        self._balancer = balancer

    async def tell(self, count: int) -> None:
        channel = await self._open()
        receipts = await self._stream(channel, count)
        await self._resend(receipts[-1], channel)
        await self._tamper(channel)
        ending = await self._close(channel, receipts)
        await self._audit()
        self._show(ending)

    async def _open(self) -> PayerChannel:
        await self._hub.request("devnet/fund", {"address": self._payer.address, "amount": FUNDS})
        await _until(self._has_funds)
        channel = await self._payer.open_channel(self._stack.url, DEPOSIT)
        self._say("channel", f"{channel.aa_address}, {_shown(DEPOSIT)} bytes deposited, waiting for the ledger …")
        began = time.monotonic()
        await channel.wait_open(STEP_BOUND_S)
        await self._until_stored(channel, Status.OPEN)
        self._say("deposit stable", f"after {time.monotonic() - began:.1f} s, seen by payer and receiver")
        return channel

    async def _stream(self, channel: PayerChannel, count: int) -> list[Receipt]:
        receipts: list[Receipt] = []
        left = iter(range(count))
        columns = (TextColumn("  payments"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task("", total=count)

            async def pay_on() -> None:
                for number in left:
                    receipts.append(await channel.pay(AMOUNT, message={"order": number}))
                    progress.advance(task)

            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(pay_on())
            took_s = time.monotonic() - began
        shares = ", ".join(_shown(number) for number in self._balancer.requests.values())
        self._say(
            f"{_shown(count)} payments",
            f"of {AMOUNT} bytes, {count / took_s:,.0f} per second (signing, storing and sending included),"
            f" requests by front: {shares}",
        )
        return receipts

    async def _resend(self, receipt: Receipt, channel: PayerChannel) -> None:
        before = await self._credited(channel)
        again = await self._payer.resend(receipt.payment_id)
        if not again.duplicate or again.receiver_payment_id != receipt.receiver_payment_id:
            raise DemoError("a payment sent again did not get its first receipt")
        if await self._credited(channel) != before:
            raise DemoError("a payment sent again was credited again")
        self._say("sent again", f"payment {again.receiver_payment_id}: same receipt, not credited twice")

    async def _tamper(self, channel: PayerChannel) -> None:
        before = await self._credited(channel)
        request = json.loads(self._balancer.last_body)
        request["params"]["signed_package"]["signed_message"]["payment_amount"] += 1
        request["timestamp"] = int(time.time() * 1000)
        async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
            answer = (await http.post(f"{self._stack.url}post", json=request)).json()
        if "error" not in answer or await self._credited(channel) != before:
            raise DemoError("a tampered package was not refused")
        self._say("tampered package", f"refused: {answer['error']}")

    async def _close(self, channel: PayerChannel, receipts: list[Receipt]) -> Ending:
        credited, number = await self._credited(channel)
        async with self._database.transaction() as conn:
            command = await commands.insert(
                conn, "close", {}, idempotency_key=f"demo-{uuid.uuid4()}", aa_address=channel.aa_address
            )
        began = time.monotonic()
        summary = await channel.settle(STEP_BOUND_S)
        await self._until_stored(channel, Status.CLOSED)
        async with self._database.connection() as conn:
            done = await commands.get(conn, command.id)
        if done is None or done.state is not CommandState.SUCCEEDED:
            raise DemoError(f"the worker did not close the channel: {done and (done.error or done.state.value)}")
        self._say(
            "channel closed", f"by the worker, confirmed by the payer, paid out after {time.monotonic() - began:.1f} s"
        )
        joint = await self._hub.get_joint(summary.unit)
        if joint is None:
            raise DemoError("the ledger does not know the closing unit")
        outputs = _outputs(joint)
        return Ending(
            paid=sum(receipt.amount for receipt in receipts),
            credited=credited,
            payments=number,
            to_receiver=outputs.get(self._stack.address, 0),
            to_payer=outputs.get(self._payer.address, 0),
            books=await self._agent_books(channel.aa_address),
            held=await self._agent_balance(channel.aa_address),
        )

    async def _audit(self) -> None:
        """Hold the receiver's database against every rule about money, as `sluice audit --deep` does."""
        settings = self._stack.settings
        accepting = AcceptanceRules.of(settings)
        limits = Limits(accepting.limits, accepting.exposure)
        async with snapshot(settings.database_dsn, statement_s=AUDIT_S) as conn:
            report = await Audit(RULES, limits, default_network=settings.network, deep=True).run(conn)
        if report.broken:
            raise DemoError(f"the receiver's books break {', '.join(finding.name for finding in report.broken)}")
        self._say("audit", f"all {len(report.findings)} rules about money hold in the receiver's database")

    async def _agent_books(self, aa_address: str) -> AgentBooks:
        """Add up the agent's proven history; the last response may take the ledger a moment to prove."""
        units: list[ProvenUnit] = []
        witnesses = await self._hub.get_witnesses()

        async def is_proven() -> bool:
            answer = await self._hub.get_history(witnesses=witnesses, addresses=[aa_address])
            units[:] = prove_history(answer, witnesses, DEVNET, now_s=time.time()).units
            return all(unit.is_stable for unit in units)

        await _until(is_proven)
        return books_of(aa_address, [unit.unit for unit in units], DEVNET)

    async def _agent_balance(self, aa_address: str) -> int:
        answer: Any = await self._hub.request("light/get_balances", [aa_address])
        return int(answer.get(aa_address, {}).get("base", {}).get("total", 0))

    async def _credited(self, channel: PayerChannel) -> tuple[int, int]:
        """Return what the receiver has credited in the channel, and in how many payments."""
        total = number = 0
        async with self._database.transaction() as conn:
            async for payment in payments.export(conn, payments.Filter(aa_address=channel.aa_address)):
                total += payment.payment_amount
                number += 1
        return total, number

    async def _until_stored(self, channel: PayerChannel, status: Status) -> None:
        async def is_stored() -> bool:
            async with self._database.connection() as conn:
                found = (await channels.find(conn, [channel.aa_address])).get(channel.aa_address)
            return found is not None and found.channel.status is status

        await _until(is_stored)

    async def _has_funds(self) -> bool:
        return (await self._payer.balance(timeout_s=STEP_BOUND_S)).stable >= FUNDS

    def _show(self, end: Ending) -> None:
        books = end.books
        checks = [
            ("payments credited", end.paid, end.credited),
            ("paid out to the receiver", end.credited + MIN_AGENT_BYTES, end.to_receiver),
            ("paid out to the payer", books.received - books.fees - end.held - end.to_receiver, end.to_payer),
            ("left with the agent", books.left, end.held),
        ]
        table = Table(title="What was promised, and what the ledger says, in bytes", title_justify="left")
        for name, justify in _COLUMNS:
            table.add_column(name, justify=justify, no_wrap=True)
        for what, expected, found in checks:
            table.add_row(what, _shown(expected), _shown(found), "[green]✓[/]" if expected == found else "[red]✗[/]")
        self._console.print()
        self._console.print(table)
        fee = _shown(MIN_AGENT_BYTES)
        self._console.print(
            f"[dim]receiver: {_shown(end.credited)} payments + {fee} returned by the agent for his message\n"
            f"payer: {_shown(DEPOSIT)} deposit - {_shown(end.credited)} payments + {fee} returned for his message"
            f" - {_shown(books.fees)} network fees - {_shown(end.held)} left[/]",
            soft_wrap=True,
        )
        wrong = [what for what, expected, found in checks if expected != found]
        if wrong:
            raise DemoError(f"the books do not agree: {', '.join(wrong)}")

    def _say(self, what: str, detail: str) -> None:
        self._console.print(f"[green]✓[/] {what:<18} {detail}", soft_wrap=True)


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(STEP_BOUND_S):
        while True:
            if await is_so():
                return
            await asyncio.sleep(POLL_S)


def _prepared(settings: Settings) -> Settings:
    """Give the demo a home of its own, emptied before it begins, and free ports where the usual ones are taken."""
    home = settings.home / "demo"
    if settings.database_url is None:
        shutil.rmtree(home, ignore_errors=True)
    return settings.model_copy(
        update={
            "home": home,
            "network": "devnet",
            "wallet_file": home / "wallet.json",
            "wallet_passphrase_file": home / "wallet.passphrase",
            "port": _free(settings.port),
            "devnet_port": _free(settings.devnet_port),
        }
    )


def _free(port: int) -> int:
    for candidate in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", candidate)) as listener:
                chosen: int = listener.getsockname()[1]
                return chosen
        except OSError:
            continue
    raise DemoError("no free port on loopback")


def _outputs(unit: dict[str, Any]) -> dict[str, int]:
    return {
        output["address"]: output["amount"]
        for message in unit["messages"]
        if message["app"] == "payment"
        for output in message["payload"]["outputs"]
    }


def _shown(amount: int) -> str:
    return f"{amount:,}".replace(",", "\u202f")
