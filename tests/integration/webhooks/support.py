"""Receiving servers on loopback, and the worker's side of webhooks under a clock that a test moves."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from shared.events.horizon import Horizon
from shared.sealing import seal
from shared.store import events, lease, webhook_deliveries, webhooks
from shared.store.events import EventKind, NewEvent
from shared.store.webhook_deliveries import Filter
from shared.store.webhooks import NewWebhook, WebhookState
from shared.webhooks.addresses import AddressGuard
from shared.webhooks.calling import Caller, Limits
from shared.webhooks.signing import Secret, new_secret, verify
from tests.receiving_support import OWN
from worker.guard import Guard
from worker.webhooks.planning import Planning
from worker.webhooks.sending import Sending
from worker.webhooks.terms import WebhookPace, WebhookTerms, reader_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from shared.store.database import Database
    from shared.store.webhook_deliveries import Delivery
    from shared.store.webhooks import Webhook

LOOPBACK = ("127.0.0.0/8",)
CHANNELS = ["A" * 32, "B" * 32, "C" * 32]
BOUND_S = 20.0
SHORT = Limits(connect_s=1.0, read_s=0.4, total_s=0.5, max_bytes=2_000)


@dataclass
class Answer:
    """What a receiving server says. `stalls`: it says nothing at all."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict)
    stalls: bool = False
    hangs_up: bool = False
    pause_s: float = 0.0
    """Before each part of the body."""


@dataclass
class Request:
    headers: dict[str, str]
    body: bytes
    answered: int | None = None

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


class Receiver:
    """A server that events are sent to. It answers as `answer` says, which a test may replace."""

    def __init__(self, answer: Answer | Callable[[Request], Answer] | None = None) -> None:
        self.answer = answer or Answer()
        self.requests: list[Request] = []
        self.url = ""
        self.most_at_once = 0
        self._now = 0

    @property
    def events(self) -> list[tuple[str | None, Any]]:
        """Channel and number of what was taken, in the order in which it was."""
        return [
            (request.event["aa_address"], request.event["data"].get("amount"))
            for request in self.requests
            if request.answered is not None and 200 <= request.answered < 300
        ]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        async with server:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._answer(reader, writer)
        finally:
            self._now -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        assert head[0] == "POST /hook HTTP/1.1", head[0]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        request = Request(headers, await reader.readexactly(int(headers["content-length"])))
        self.requests.append(request)
        answer = self.answer(request) if callable(self.answer) else self.answer
        if answer.hangs_up:
            return
        if answer.stalls:
            await reader.read()  # until the caller hangs up
            return
        request.answered = answer.status
        more = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        writer.write(f"HTTP/1.1 {answer.status} X\r\ncontent-length: {len(answer.body)}\r\n{more}\r\n".encode())
        for start in range(0, len(answer.body), 1_000_000):
            await asyncio.sleep(answer.pause_s)
            writer.write(answer.body[start : start + 1_000_000])
            await writer.drain()


class Office:
    """The worker's side under one term of the lease: its clock stands still until a test moves it."""

    def __init__(self, database: Database, caller: Caller, guard: Guard, *, limits: Limits = SHORT) -> None:
        self.database = database
        self.guard = guard
        self.now_s = 1_800_000_000.0
        self.terms = WebhookTerms(
            database, AddressGuard(LOOPBACK), reader_of(OWN), pace=WebhookPace(limits=limits, poll_s=0.05)
        )
        self.planning = Planning(guard, clock=lambda: self.now_s)
        self.sending = self.sender(caller)

    def sender(self, caller: Caller) -> Sending:
        return Sending(
            self.guard, caller, self.terms, clock=lambda: self.now_s, monotonic=lambda: 0.0, jitter=lambda: 0.5
        )

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_s, UTC)

    async def add(self, url: str, *, types: tuple[str, ...] | None = None) -> tuple[int, Secret]:
        """A webhook that is sent whatever happens from now on."""
        secret = new_secret(lambda count: bytes(range(count)))
        position = await self.position()
        async with self.database.transaction() as conn:
            await webhooks.declare_signer(conn, self.terms.reader.public_key)
            new = NewWebhook(url, "", types, position, seal(secret.text, self.terms.reader.public_key))
            number, _ = await webhooks.create(conn, new, at_most=20)
        return number, secret

    async def position(self) -> int:
        decided = await Horizon().look(self.database)
        async with self.database.connection() as conn:
            return max(await events.last_id(conn, decided), (await events.stream(conn)).gone_id)

    async def happen(self, *numbers: int, channel: str | None = CHANNELS[0]) -> None:
        async with self.database.transaction() as conn:
            for number in numbers:
                await events.add(conn, NewEvent(EventKind.CHANNEL_REFILLED, channel, {"amount": number}))

    async def work(self) -> int:
        """Do everything that is to be done now; return how many attempts that were."""
        attempts = 0
        await self.planning.round()
        while sent := await self.sending.once():
            attempts += sent
        return attempts

    async def later(self, seconds: float) -> int:
        self.now_s += seconds
        return await self.work()

    async def database_now(self) -> datetime:
        async with self.database.connection() as conn:
            found: datetime = await conn.fetchval("SELECT now()")
        return found

    async def of(self, webhook_id: int) -> Webhook:
        async with self.database.connection() as conn:
            found = await webhooks.find(conn, webhook_id)
        assert found is not None
        return found

    async def deliveries(self, webhook_id: int, **wanted: Any) -> list[Delivery]:
        """The oldest first."""
        async with self.database.connection() as conn:
            return (await webhook_deliveries.page(conn, webhook_id, Filter(**wanted), before=2**62, limit=200))[::-1]

    async def attempts(self, delivery: Delivery) -> list[webhook_deliveries.Attempt]:
        """The oldest first."""
        async with self.database.connection() as conn:
            return list(await webhook_deliveries.attempts(conn, delivery.webhook_id, delivery.event_id))[::-1]

    async def set_state(self, webhook_id: int, state: WebhookState) -> None:
        found = await self.of(webhook_id)
        async with self.database.transaction() as conn:
            await webhooks.update(conn, webhook_id, url=found.url, description="", types=found.types, state=state)

    async def told(self, kind: EventKind) -> list[dict[str, Any]]:
        async with self.database.connection() as conn:
            found = await events.page(conn, after=0, until=await events.newest_id(conn))
        return [event.data for event in found if event.kind == kind]

    def verified(self, request: Request, secret: Secret) -> str:
        return verify([secret], request.headers, request.body, now_s=self.now_s)


async def guard_of(database: Database, holder: str = "me") -> Guard:
    """The right to write, taken from whoever has it."""
    async with database.transaction() as conn:
        await conn.execute("UPDATE lease SET expires_at = '-infinity'")
        held = await lease.acquire(conn, "wallet", holder, ttl_s=600)
    assert held is not None
    return Guard(database, held)


def hours(count: float) -> float:
    return timedelta(hours=count).total_seconds()


async def until(check: Callable[[], object], *, bound_s: float = BOUND_S) -> None:
    """Wait for a bounded time until something is true."""
    async with asyncio.timeout(bound_s):
        while not check():  # noqa: ASYNC110 - what is waited for rings no bell
            await asyncio.sleep(0.01)
