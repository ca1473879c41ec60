"""Two hundred channels close in every way there is, while workers crash: each is settled by the right unit, once.

The seed is printed when the test fails; `SETTLEMENT_SEED=… make test ARGS="-k settlement_of_many"` repeats its choices.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum, auto
from typing import TYPE_CHECKING, Any

import pytest

from shared.agent.responses import amount_received
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.coins import BASE
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt
from shared.receiving.verification import verify_payment_package
from shared.store import channels, journal, lease
from shared.store.channel_rows import NewChannel
from tests.auditing import broken_rules
from tests.integration.worker.support import OWN_KEY, Cable, Peer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from devnet.dag import UnitRecord
    from shared.store.ledger_events import RecordedEvent
    from tests.integration.worker.support import World

CHANNELS = 200
CRASHES = 8
CUTS = 3
DEPOSIT = 1_000_000
MOST_PAID = DEPOSIT // 3
"""So we are the party with less in every honest closing: the agent pays it to the unit, fees are the other's."""
TTL_S = 60.0
"""Longer than a busy machine may keep us from renewing the lease; what a crash leaves behind is expired by hand."""
MOST_IDLE_LOOKS = 600
MOST_UNITS = 5 * CHANNELS
"""Of ours, those included that crashes and refusals have made void."""


class Ending(StrEnum):
    """How a channel ends."""

    HONEST = auto()
    GENEROUS = auto()
    """The peer admits a package that never reached us."""
    DISHONEST = auto()
    OURS = auto()
    """We close, and confirm after the timeout."""
    OURS_HELPED = auto()
    """We close, and the peer confirms at once."""
    BOTH = auto()
    """Both close at the same time."""
    NONE = auto()


@dataclass(slots=True)
class Account:
    """One peer's channel, and what was paid in it."""

    peer: Peer
    ending: Ending
    signed: int = 0
    paid: int = 0
    is_helped: bool = False
    packages: list[Any] = field(default_factory=list)
    keys: set[tuple[int, int]] = field(default_factory=set)

    def sign(self, rng: random.Random) -> None:
        """Sign one more package; at times more than is paid with it, or less, from what was signed too much before."""
        increase = rng.choice([rng.randint(1, 50_000), rng.randint(1, 50_000), 0])
        increase = min(increase, MOST_PAID - self.signed)
        amount = min(
            rng.choice([increase, increase, increase // 2, increase + 500]), self.signed + increase - self.paid
        )
        key = (self.signed + increase, amount)
        if amount < 1 or self.signed + increase < 1 or key in self.keys:
            return  # nothing to pay, or the same payment once more
        self.keys.add(key)
        self.signed += increase
        self.paid += amount
        terms = {"payment_amount": amount, "amount_spent": self.signed, "period": 1, "aa_address": self.peer.channel}
        self.packages.append(sign_message(terms, self.peer.key, DEVNET))


class Disasters:
    """Cuts workers off at random where it hurts, and the hub's connection too."""

    def __init__(self, world: World, cable: Cable, rng: random.Random) -> None:
        self._world = world
        self._cable = cable
        self._rng = rng
        self.crash = asyncio.Event()
        self.crashes = self.cuts = 0
        self._mending: list[asyncio.Task[None]] = []

    def around(self, function: Callable[..., Awaitable[Any]], places: Sequence[str]) -> Callable[..., Awaitable[Any]]:
        """Return the function with a crash or a cut before or after it now and then."""

        async def endangered(*args: Any, **named: Any) -> Any:
            if "before" in places:
                await self._strike()
            result = await function(*args, **named)
            if "after" in places:
                await self._strike()
            return result

        return endangered

    async def _strike(self) -> None:
        dice = self._rng.random()
        if dice < 0.03 and self.crashes < CRASHES:
            self.crashes += 1
            self.crash.set()
            await asyncio.Event().wait()
        elif dice > 0.99 and self.cuts < CUTS:
            self.cuts += 1
            await self._cable.cut()
            self._mending.append(asyncio.create_task(self._cable.mend()))

    async def survive(self, until: Callable[[], Awaitable[bool]]) -> None:
        """Run one worker after the other, each until it is cut off, to the end."""
        while True:
            self.crash.clear()
            runtime = self._world.runtime(ttl_s=TTL_S, hub_url=self._cable.url)
            running = asyncio.create_task(runtime.run())
            crashed = asyncio.create_task(self.crash.wait())
            ended = asyncio.create_task(while_it_moves(self._world, until, "the end of all channels"))
            await asyncio.wait([running, crashed, ended], return_when=asyncio.FIRST_COMPLETED)
            for task in (running, crashed):
                task.cancel()
            await asyncio.gather(running, crashed, return_exceptions=True)
            if ended.done():
                await ended
                return
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            # A killed process does not give its lease up; nobody wants to wait here until it has run out.
            await self._world.expire_lease()


async def while_it_moves(world: World, until: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait, however slow this machine is, as long as units are made, channels change and it all stays within reason."""
    seen: object = None
    idle_looks = 0
    while not await until():
        async with world.database.connection() as conn:
            now = await conn.fetchrow(
                "SELECT (SELECT sum(last_event_id) FROM channels) AS events, count(*) AS units,"
                "       count(*) FILTER (WHERE resolved_at IS NULL) AS unresolved FROM journal"
            )
        assert now["units"] <= MOST_UNITS, f"too many units were made before {what}"
        idle_looks = idle_looks + 1 if now == seen else 0
        assert idle_looks <= MOST_IDLE_LOOKS, f"it never came: {what}"
        seen = now
        await asyncio.sleep(0.1)


async def killed(*_: object) -> bool:
    """What a killed process does about its lease."""
    return False


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_two_hundred_channels_are_settled_by_the_right_unit_whatever_happens(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = int(os.environ.get("SETTLEMENT_SEED", "3"))
    print(f"SETTLEMENT_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    rng = random.Random(seed)
    accounts = await open_channels(world, rng)
    cable = Cable(world.devnet)
    await cable.mend()
    disasters = Disasters(world, cable, rng)
    async with world.running(hub_url=cable.url, ttl_s=TTL_S):
        await while_it_moves(world, world.is_awake, "a heartbeat")
        await pay(world, accounts, rng)
    await check_books(world, accounts)
    assert await broken_rules(world.database_url, world.exposure) == []
    before = world.own.balance(), world.own.balance(accounts[0].peer.asset), len(own_units(world))

    monkeypatch.setattr(lease, "release", killed)
    monkeypatch.setattr(journal, "compose", disasters.around(journal.compose, ["before", "after"]))
    monkeypatch.setattr(journal, "posted", disasters.around(journal.posted, ["before", "after"]))
    monkeypatch.setattr(HubClient, "post_joint", disasters.around(HubClient.post_joint, ["before", "after"]))
    closing = asyncio.create_task(close(world, accounts, rng))
    await disasters.survive(lambda: all_ended(world, accounts))
    await closing
    await cable.cut()

    print(f"{disasters.crashes} crashes, {disasters.cuts} cuts")  # noqa: T201
    assert disasters.crashes == CRASHES
    received = Counter[str]()
    for account in accounts:
        received += await check_account(world, account)
    await check_wallet(world, accounts, received, before)
    async with world.database.connection() as conn:
        assert await journal.unfinished(conn) == []
    assert await broken_rules(world.database_url, world.exposure) == []


async def open_channels(world: World, rng: random.Random) -> list[Account]:
    """Peers with money, and their channels: a fifth of them in an asset. The worker has not seen any yet."""
    ledger = world.devnet.ledger
    asset = ledger.treasury.issue()
    world.fund(world.own, 50_000_000)
    accounts = [
        Account(
            Peer(world.devnet, KeyPair(hashlib.sha256(b"peer %d" % number).digest()), BASE if number % 5 else asset),
            rng.choice(list(Ending)),
        )
        for number in range(CHANNELS)
    ]
    for account in accounts:
        ledger.treasury.fund(account.peer.address, 3 * DEPOSIT)
        if account.peer.asset != BASE:
            ledger.treasury.fund(account.peer.address, DEPOSIT, asset)
    ledger.settle()
    async with world.database.transaction() as conn:
        for account in accounts:
            peer = account.peer
            new = NewChannel(
                aa_address=peer.channel,
                own_address=OWN_KEY.address,
                peer_address=peer.address,
                asset=peer.asset,
                timeout_s=peer.timeout_s,
                salt=peer.salt,
                version="1.1",
                role="A",
            )
            await channels.insert(conn, new)
            peer.deposit(DEPOSIT, publish=True)
    ledger.settle()
    return accounts


async def pay(world: World, accounts: Sequence[Account], rng: random.Random) -> None:
    """Let every peer pay a few times, all at once and in any order."""
    for account in accounts:
        for _ in range(rng.randint(0, 6)):
            account.sign(rng)
    acceptor = Acceptor(
        world.database, AcceptanceRules(limits={}, exposure=world.exposure, watcher_max_silence_s=60), world.bus
    )
    try:
        while waiting := [account for account in accounts if account.packages]:
            outcomes = await asyncio.gather(
                *(acceptor.submit(verify_payment_package(account.packages.pop(0), DEVNET)) for account in waiting)
            )
            assert [outcome for outcome in outcomes if not isinstance(outcome, Receipt)] == []
    finally:
        await acceptor.close()


async def close(world: World, accounts: Sequence[Account], rng: random.Random) -> None:
    """Close the channels in any order, some together, and let time pass for those that wait for their timeout."""
    waiting = rng.sample(accounts, len(accounts))
    while waiting:
        for account in waiting[: rng.randint(1, 20)]:
            waiting.remove(account)
            if account.ending in (Ending.OURS, Ending.OURS_HELPED, Ending.BOTH):
                await world.order_close(account.peer, account.peer.channel)
            close_by_peer(account, rng)
        await asyncio.sleep(rng.choice([0.01, 0.05, 0.2]))
    helped = [account for account in accounts if account.ending is Ending.OURS_HELPED]
    late = [account for account in accounts if account.ending is Ending.OURS]

    async def are_closing() -> bool:
        async with world.database.connection() as conn:
            rows = await conn.fetch("SELECT aa_address FROM channels WHERE status = 'closing_initiated_by_me'")
        closing = {row["aa_address"] for row in rows}
        for account in helped:
            if not account.is_helped and account.peer.channel in closing:
                account.peer.trigger({"confirm": 1, "period": 1})
                account.is_helped = True
        return all(account.is_helped for account in helped) and closing >= {account.peer.channel for account in late}

    await while_it_moves(world, are_closing, "the closings of ours")
    world.devnet.skip_time(late[0].peer.timeout_s)


def close_by_peer(account: Account, rng: random.Random) -> None:
    match account.ending:
        case Ending.HONEST | Ending.BOTH:
            account.peer.close(admits=account.signed)
        case Ending.GENEROUS:
            account.peer.close(admits=account.signed + rng.randint(1, 50_000))
        case Ending.DISHONEST if account.signed:
            account.peer.close(admits=rng.randrange(account.signed))
        case Ending.DISHONEST:
            account.peer.close(admits=0)


async def all_ended(world: World, accounts: Sequence[Account]) -> bool:
    """Whether every channel that is to end has ended, and the fate of every unit of ours is known."""
    async with world.database.connection() as conn:
        left = await conn.fetchval(
            "SELECT count(*) FILTER (WHERE NOT (status = 'closed' AND period = 1))"
            "       + (SELECT count(*) FROM journal WHERE state IN ('composed', 'posted')) FROM channels"
        )
    return bool(left == sum(account.ending is Ending.NONE for account in accounts))


async def check_books(world: World, accounts: Sequence[Account]) -> None:
    """What was paid plus credit is what was signed, in every channel."""
    async with world.database.connection() as conn:
        rows = await conn.fetch(
            "SELECT aa_address, spent_by_peer, credit, deposited_by_peer, coalesce(sum(payment_amount), 0) AS paid"
            "  FROM channels LEFT JOIN payments USING (aa_address) GROUP BY aa_address"
        )
    books = {row["aa_address"]: (row["deposited_by_peer"], row["spent_by_peer"], row["paid"]) for row in rows}
    assert books == {account.peer.channel: (DEPOSIT, account.signed, account.paid) for account in accounts}
    assert all(row["spent_by_peer"] == row["paid"] + row["credit"] for row in rows)


async def check_account(world: World, account: Account) -> Counter[str]:
    """Hold one channel against the rules about money; returns what the agent has paid us, by asset."""
    events = await world.events(account.peer)
    if account.ending is Ending.NONE:
        assert [event.kind.value for event in events] == ["opened"]
        return Counter()
    assert [event.kind.value for event in events] == ["opened", "closing", "closed"], account.ending
    is_fraud = account.ending is Ending.DISHONEST and account.signed > 0
    assert bool(events[-1].payload.get("fraud_proof")) == is_fraud

    sent = {kind: len(world.triggers(account.peer, kind)) for kind in ("close", "confirm", "fraud_proof")}
    is_closed_by_us = events[1].payload["initiated_by"] == OWN_KEY.address
    assert sent["fraud_proof"] == is_fraud
    assert sent["close"] == is_closed_by_us or (account.ending is Ending.BOTH and sent["close"] <= 1)
    # Where the peer confirms in the same moment ours may have been on its way.
    assert sent["confirm"] == (not is_fraud) or (account.ending is Ending.OURS_HELPED and sent["confirm"] <= 1)
    states = Counter(
        (entry.purpose, entry.state) for entry in await world.journal(account.peer) if not is_refused(entry.error)
    )
    assert all(count == 1 for count in states.values()), states

    unit = world.devnet.ledger.state.dag.records[events[-1].unit].unit
    asset = account.peer.asset
    got = {kind: amount_received(unit, OWN_KEY.address, kind) for kind in {BASE, asset}}
    if is_fraud:
        check_everything_was_taken(world, account, events, got)
    else:
        assert got == {BASE: MIN_AGENT_BYTES, asset: account.paid + (MIN_AGENT_BYTES if asset == BASE else 0)}
    return Counter(got)


def check_everything_was_taken(
    world: World, account: Account, events: Sequence[RecordedEvent], got: dict[str, int]
) -> None:
    """The whole deposit and the bytes of all triggers, but for the fees of the agent's units and its last coin."""
    records = world.devnet.ledger.state.dag.records
    agent = account.peer.channel
    fees = sum(fees_of(records[event.unit]) for event in events)
    triggers = 2 * MIN_AGENT_BYTES + (MIN_AGENT_BYTES if account.peer.asset != BASE else 0)
    left = sum(output.amount for output in world.devnet.ledger.state.outputs.unspent(agent) if output.asset == BASE)
    deposited = DEPOSIT if account.peer.asset == BASE else 0
    assert got[BASE] == deposited + triggers - fees - left
    if account.peer.asset != BASE:
        assert got[account.peer.asset] == DEPOSIT


async def check_wallet(
    world: World, accounts: Sequence[Account], received: Counter[str], before: tuple[int, int, int]
) -> None:
    """What the wallet has is what it had, plus what agents have paid, less what its own units have cost."""
    bytes_before, asset_before, units_before = before
    mine = own_units(world)[units_before:]
    spent = sum(fees_of(record) + MIN_AGENT_BYTES for record in mine)
    assert world.own.balance() == bytes_before + received[BASE] - spent
    asset = next(account.peer.asset for account in accounts if account.peer.asset != BASE)
    assert world.own.balance(asset) == asset_before + received[asset]


def own_units(world: World) -> list[UnitRecord]:
    records = world.devnet.ledger.state.dag.records.values()
    return [record for record in records if record.authors == (OWN_KEY.address,)]


def fees_of(record: UnitRecord) -> int:
    unit = record.unit
    return sum(unit.get(name, 0) for name in ("headers_commission", "payload_commission", "tps_fee", "oversize_fee"))


def is_refused(error: str | None) -> bool:
    """Whether the hub never took the unit: another was made in its place, and only one of them had an effect."""
    return error is not None and ":" in error
