"""Any interleaving of any packages over two fronts leaves the books right.

Waves of packages (new, repeated, held back and sent late, over the limits, of strangers, of other periods) go to two
fronts at once, while the worker confirms deposits. After every wave, for every channel: payments and credit add up to
what the peer has signed, the claim proves exactly that, every payment is on record once, the asset's unconfirmed limit
holds to the unit, and so does the limit of what is at risk in a channel, which is ordered closed once before that.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.bus import Bus
from shared.channels.exposure import ExposureRules, at_risk, is_ripe
from shared.channels.model import ExposureLimits, UnconfirmedLimits
from shared.obyte.networks import DEVNET
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt, Refusal
from shared.receiving.verification import SignedPayment, verify_payment_package
from shared.store import channels
from shared.store.database import Database, Role
from tests.auditing import OF_THE_LEDGER, broken_rules
from tests.receiving_support import Payer, Worker, administrator, database_of, payer_key

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS = 3
DEPOSIT = 100
UNCONFIRMED = 80
LIMITS = UnconfirmedLimits(max_by_asset=90, max_by_channel=60, min_age_s=0)
EXPOSURE = ExposureLimits(max_by_channel=110, sweep_above=80, max_own_deposit=0, max_total=10**6)
_examples = itertools.count(1)


@dataclass(frozen=True)
class Send:
    """One thing that happens in a wave: `kind` to channel number `channel`, through front number `front`."""

    kind: str
    front: int
    channel: int
    amount: int
    extra: int
    """Signed beyond the amount; also picks among earlier packages."""


steps = st.builds(
    Send,
    kind=st.sampled_from(["new", "new", "new", "held", "late", "again", "greedy", "stranger", "period", "deposit"]),
    front=st.integers(0, 1),
    channel=st.integers(0, CHANNELS - 1),
    amount=st.integers(1, 30),
    extra=st.integers(0, 10),
)
waves = st.lists(st.lists(steps, min_size=1, max_size=12), min_size=1, max_size=5)


@dataclass
class Peer:
    """A payer and what he has signed so far."""

    payer: Payer
    spent: int = 0
    sent: list[SignedPayment] = field(default_factory=list)
    held: list[SignedPayment] = field(default_factory=list)
    deposited: int = DEPOSIT

    def sign(self, amount: int, extra: int) -> SignedPayment:
        self.spent += amount + extra
        return verify_payment_package(self.payer.package(self.spent, amount), DEVNET)


class World:
    """Two fronts and a worker on one database, on one event loop; every example gets channels of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.runner = asyncio.Runner()
        self.limits: dict[str, UnconfirmedLimits] = {}
        self.exposure: dict[str, ExposureLimits] = {}
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.worker = Worker(await Database.connect(self.url, role=Role.WORKER))
        await self.worker.initialise()
        rules = AcceptanceRules(self.limits, ExposureRules(self.exposure), watcher_max_silence_s=3600, batch_max=5)
        self.databases = [await Database.connect(self.url, role=Role.FRONT) for _ in range(2)]
        self.fronts = [Acceptor(database, rules, Bus(None)) for database in self.databases]

    def close(self) -> None:
        self.runner.run(self._stop())
        self.runner.close()

    async def _stop(self) -> None:
        for front in self.fronts:
            await front.close()
        for database in (*self.databases, self.worker.database):
            await database.close()

    async def audit(self) -> Any:
        """What the auditor says of all examples together."""
        return await broken_rules(self.url, ExposureRules(self.exposure), self.limits, without=OF_THE_LEDGER)

    async def example(self, script: list[list[Send]]) -> None:
        number = next(_examples)
        asset = base64.b64encode(number.to_bytes(32)).decode()
        self.limits[asset], self.exposure[asset] = LIMITS, EXPOSURE
        peers = [Peer(Payer(payer_key(number * CHANNELS + index), asset=asset)) for index in range(CHANNELS)]
        for peer in peers:
            await self.worker.open(peer.payer, deposit=DEPOSIT)
            await self.worker.see_unit(peer.payer, amount=UNCONFIRMED)
        receipts: dict[tuple[str, int, int, int], list[Receipt]] = defaultdict(list)
        for wave in script:
            work = [work for step in wave for work in self.begin(step, peers[step.channel])]
            for outcome in await asyncio.gather(*work):
                if isinstance(outcome, Receipt):
                    key = (outcome.aa_address, outcome.period, outcome.amount_spent, outcome.amount)
                    receipts[key].append(outcome)
                else:
                    assert outcome is None or isinstance(outcome, Refusal)
            await self.check(peers, receipts, asset)

    def begin(self, step: Send, peer: Peer) -> Iterator[Any]:
        """Yield what a step sends, as awaitables that run at once with the rest of its wave."""
        front = self.fronts[step.front]
        match step.kind:
            case "new":
                peer.sent.append(peer.sign(step.amount, step.extra))
                yield front.submit(peer.sent[-1])
            case "held":
                peer.held.append(peer.sign(step.amount, step.extra))
            case "late" if peer.held:
                peer.sent.append(peer.held.pop(step.extra % len(peer.held)))
                yield front.submit(peer.sent[-1])
            case "again" if peer.sent:
                repeated = peer.sent[step.extra % len(peer.sent)]
                yield from (front.submit(repeated) for front in self.fronts)
            case "greedy":
                package = peer.payer.package(max(1, peer.spent), peer.spent + step.amount)
                yield front.submit(verify_payment_package(package, DEVNET))
            case "stranger":
                package = Payer(payer_key(0)).package(peer.spent + 5, 5, aa_address=peer.payer.channel)
                yield front.submit(verify_payment_package(package, DEVNET))
            case "period":
                package = peer.payer.package(peer.spent + 5, 5, period=2)
                yield front.submit(verify_payment_package(package, DEVNET))
            case "deposit":
                peer.deposited += step.amount
                yield self.confirm(peer, step.amount)

    async def confirm(self, peer: Peer, amount: int) -> None:
        """Let the agent take one more deposit."""
        async with self.worker.database.transaction() as conn:
            channel = await channels.lock_one(conn, peer.payer.channel)
            assert channel is not None
            deposited, event_id = channel.deposited_by_peer + amount, channel.last_event_id + 1
            await channels.save_transition(conn, replace(channel, deposited_by_peer=deposited, last_event_id=event_id))

    async def check(self, peers: list[Peer], receipts: Any, asset: str) -> None:
        async with administrator(self.url) as conn:
            rows = await conn.fetch("SELECT * FROM payments WHERE asset = $1", asset)
            used = await conn.fetchval("SELECT sum(unconfirmed_used) FROM channels WHERE asset = $1", asset)
            swept = await conn.fetch("SELECT aa_address FROM commands WHERE kind = 'sweep'")
        recorded = {(r["aa_address"], r["period"], r["amount_spent"], r["payment_amount"]): r["id"] for r in rows}
        assert len(recorded) == len(rows)
        assert recorded.keys() == receipts.keys()
        for key, copies in receipts.items():
            assert {receipt.payment_id for receipt in copies} == {recorded[key]}
            assert [receipt.duplicate for receipt in copies].count(False) == 1
        assert used <= LIMITS.max_by_asset
        for peer in peers:
            channel = await self.worker.read(peer.payer)
            paid = sum(row["payment_amount"] for row in rows if row["aa_address"] == channel.aa_address)
            assert paid + channel.credit == channel.spent_by_peer
            assert channel.spent_by_peer <= peer.deposited + LIMITS.max_by_channel
            assert at_risk(channel) <= EXPOSURE.max_by_channel
            orders = [row for row in swept if row["aa_address"] == channel.aa_address]
            assert len(orders) == is_ripe(channel, EXPOSURE)
            assert (channel.claim is None) == (channel.spent_by_peer == 0)
            if channel.claim is not None:
                proof = verify_payment_package(json.loads(channel.claim), DEVNET)
                assert proof.terms.amount_spent == channel.spent_by_peer
                assert proof.payer_address == channel.peer_address


@pytest.fixture(scope="module")
def world(postgres_url: str, _template: str) -> Iterator[World]:
    with database_of(postgres_url, _template, "test_two_fronts") as url:
        running = World(url)
        yield running
        broken = running.runner.run(running.audit())
        running.close()
        assert broken == []


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(script=waves)
def test_any_interleaving_over_two_fronts_keeps_the_books(world: World, script: list[list[Send]]) -> None:
    world.runner.run(world.example(script))
