"""Any order of payments for requests, over two fronts at once, leaves their sums exact and tells each thing once.

Waves of payments (in parts, too much, repeated, in another asset, for nothing, after a cancellation or the expiry) go
to two fronts, while several tellers tell at the same time, some of which stop in the middle. In the end each request's
sums are those of its payments, the state is what follows from them, and the stream has each event once.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus import Bus
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt
from shared.receiving.verification import SignedPayment, verify_payment_package
from shared.requests.standing import RequestState
from shared.store import events, lease, payment_requests
from shared.store.database import Database, Role
from shared.store.payment_requests import NewRequest, NotCancellableError
from tests.receiving_support import ROOMY, Payer, Worker, administrator, database_of, payer_key
from worker.guard import Guard
from worker.payment_requests import RequestPace, RequestTelling

if TYPE_CHECKING:
    from collections.abc import Iterator

AMOUNT = 60
PAYERS = 3
"""The last one pays in another asset."""
REQUESTS = 2
_examples = itertools.count(1)


@dataclass(frozen=True)
class Step:
    """One thing that happens in a wave."""

    kind: str
    front: int
    payer: int
    request: int
    amount: int


steps = st.builds(
    Step,
    kind=st.sampled_from(["pay", "pay", "pay", "pay", "again", "nothing", "cancel", "expire", "tell", "die"]),
    front=st.integers(0, 1),
    payer=st.integers(0, PAYERS - 1),
    request=st.integers(0, REQUESTS - 1),
    amount=st.integers(1, 70),
)
waves = st.lists(st.lists(steps, min_size=1, max_size=8), min_size=1, max_size=5)


@dataclass
class Peer:
    """A payer, and what he has sent with which message."""

    payer: Payer
    spent: int = 0
    sent: list[tuple[SignedPayment, str]] = field(default_factory=list)

    def sign(self, amount: int, message: str) -> tuple[SignedPayment, str]:
        self.spent += amount
        self.sent.append((verify_payment_package(self.payer.package(self.spent, amount), DEVNET), message))
        return self.sent[-1]


class World:
    """Two fronts and two tellers on one database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runner = asyncio.Runner()
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.worker = Worker(await Database.connect(self.url, role=Role.WORKER))
        await self.worker.initialise()
        rules = AcceptanceRules({}, ROOMY, watcher_max_silence_s=3600, batch_max=4)
        self.databases = [await Database.connect(self.url, role=Role.FRONT) for _ in range(2)]
        self.fronts = [Acceptor(database, rules, Bus(None)) for database in self.databases]
        async with self.worker.database.transaction() as conn:
            held = await lease.acquire(conn, "wallet", "me", ttl_s=3600)
        assert held is not None
        self.tellers = [
            RequestTelling(Guard(self.worker.database, held), Bus(None), RequestPace(again_s=0.002)) for _ in range(2)
        ]

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()

    async def _stop(self) -> None:
        for front in self.fronts:
            await front.close()
        for database in (*self.databases, self.worker.database):
            await database.close()

    async def example(self, script: list[list[Step]]) -> None:
        number = next(_examples)
        asset = base64.b64encode(number.to_bytes(32)).decode()
        other = base64.b64encode((10**6 + number).to_bytes(32)).decode()
        assets = [asset] * (PAYERS - 1) + [other]
        peers = [Peer(Payer(payer_key(number * PAYERS + place), asset=assets[place])) for place in range(PAYERS)]
        for peer in peers:
            await self.worker.open(peer.payer)
        async with self.databases[0].transaction() as conn:
            expires_at = datetime.now(UTC) + timedelta(hours=1)
            made = [
                await payment_requests.insert(conn, NewRequest(AMOUNT, asset, expires_at=expires_at))
                for _ in range(REQUESTS)
            ]
        ids = [request.id for request in made]
        for wave in script:
            await asyncio.gather(*(work for step in wave for work in self.begin(step, peers, ids)))
            await asyncio.gather(*(self.check(request_id) for request_id in ids))
        await asyncio.gather(*(teller.round() for teller in self.tellers))
        for request_id in ids:
            await self.check(request_id)
            await self.check_events(request_id)

    def begin(self, step: Step, peers: list[Peer], ids: list[str]) -> Iterator[Any]:
        front, peer, request_id = self.fronts[step.front], peers[step.payer], ids[step.request]
        match step.kind:
            case "pay":
                yield self.pay(front, *peer.sign(step.amount, f'{{"request":"{request_id}","n":1}}'))
            case "again" if peer.sent:
                package = peer.sent[step.amount % len(peer.sent)]
                yield from (self.pay(front, *package) for front in self.fronts)
            case "nothing":
                yield self.pay(
                    front, *peer.sign(step.amount, f'{{"memo":"\\"request\\"","at":{{"request":"{request_id}"}}}}')
                )
            case "cancel":
                yield self.cancel(request_id)
            case "expire":
                yield self.expire(request_id)
            case "tell":
                yield from (teller.round() for teller in self.tellers)
            case "die":
                yield self.die(step.amount)

    async def pay(self, front: Acceptor, package: SignedPayment, message: str) -> None:
        assert isinstance(await front.submit(package, message), Receipt)

    async def cancel(self, request_id: str) -> None:
        async with self.databases[0].transaction() as conn:
            try:
                await payment_requests.cancel(conn, request_id)
            except NotCancellableError:
                return

    async def expire(self, request_id: str) -> None:
        """Let a request expire at this very moment."""
        async with administrator(self.url) as conn:
            await conn.execute(
                "UPDATE payment_requests SET expires_at = least(expires_at, clock_timestamp()) WHERE id = $1",
                request_id,
            )

    async def die(self, turns: int) -> None:
        """Tell, and be cut off somewhere in the middle."""
        task = asyncio.create_task(self.tellers[0].round())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def check(self, request_id: str) -> None:
        """The sums are those of the payments that name the request, each of them once."""
        async with administrator(self.url) as conn, conn.transaction(isolation="repeatable_read"):
            request = await payment_requests.get(conn, request_id)
            assert request is not None
            paid = await conn.fetch(
                "SELECT id, asset, payment_amount FROM payments WHERE message LIKE $1 ORDER BY id",
                f'{{"request":"{request_id}%',
            )
            links = await payment_requests.payments_page(conn, request_id, limit=200)
            of_state = {
                state: {item.id for item in await payment_requests.page(conn, state=state)} for state in RequestState
            }
        assert Counter((link.reference, link.asset, link.amount) for link in links) == Counter(
            (str(row["id"]), row["asset"], row["payment_amount"]) for row in paid
        )
        counted = [link for link in links if link.is_counted]
        assert all(link.is_counted == (link.asset == request.asset) for link in links)
        assert request.in_time == sum(link.amount for link in counted if not link.is_late)
        assert request.late == sum(link.amount for link in counted if link.is_late)
        assert (request.payments, request.foreign) == (len(links), len(links) - len(counted))
        assert [state for state, found in of_state.items() if request_id in found] == [request.standing.state]

    async def check_events(self, request_id: str) -> None:
        async with administrator(self.url) as conn:
            request = await payment_requests.get(conn, request_id)
            assert request is not None
            links = await payment_requests.payments_page(conn, request_id, limit=200)
            newest = await events.newest_id(conn)
            rows = await conn.fetch(
                "SELECT kind, data FROM events WHERE data ->> 'request' = $1 AND id <= $2 ORDER BY id",
                request_id,
                newest,
            )
        standing = request.standing
        told = Counter(row["kind"] for row in rows)
        assert told["payment_request_paid"] == standing.is_paid
        assert told["payment_request_cancelled"] == (request.cancelled_at is not None)
        is_unpaid_at_expiry = standing.is_expired and not standing.is_paid and request.cancelled_at is None
        assert told["payment_request_expired"] == is_unpaid_at_expiry
        assert told["payment_request_other_asset"] == request.foreign
        assert told["payment_request_late"] <= sum(link.is_late for link in links)
        if standing.surplus and standing.is_paid:
            assert told["payment_request_overpaid"] >= 1


@pytest.fixture(scope="module")
def world(postgres_url: str, _template: str) -> Iterator[World]:
    with database_of(postgres_url, _template, "test_payment_requests") as url:
        running = World(url)
        yield running
        running.close()


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=waves)
def test_any_order_of_payments_keeps_the_sums_and_tells_each_thing_once(world: World, script: list[list[Step]]) -> None:
    world.runner.run(world.example(script))
