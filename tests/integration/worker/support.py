"""A receiver's worker on a local ledger, and a peer who does what a test tells him to."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from devnet.parents import offer_parents
from shared.bus import Bus
from shared.obyte.agents import MIN_AGENT_BYTES, channel_address, channel_definition
from shared.obyte.coins import BASE, Coin
from shared.obyte.composing import Output, Parents, compose, data_message, definition_message
from shared.obyte.hub_client import HubClient
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.selection import FeeLimit
from shared.obyte.signed_messages import sign_message
from shared.receiving.acceptance import AcceptanceRules, Acceptor
from shared.receiving.outcomes import Receipt
from shared.receiving.verification import verify_payment_package
from shared.store import channels, commands, instance, journal, ledger_events, peer_units
from shared.store.channel_rows import NewChannel
from tests.receiving_support import ROOMY
from worker.commands import CommandPace
from worker.commands.ordered_units import UnitPace
from worker.commands.paying import PayingPace
from worker.cross_checks import CrossCheckPace
from worker.exposure import ExposurePace
from worker.refilling import RefillPace
from worker.runtime import Runtime
from worker.session_pace import SessionPace
from worker.settlement import SettlementPace
from worker.vault import Circumstances, Pace
from worker.watcher import WatcherPace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    import pytest

    from devnet.parents import ParentsOffer
    from devnet.server import Devnet
    from shared.channels.model import Channel, PeerUnit
    from shared.store.commands import Command
    from shared.store.database import Database
    from shared.store.journal import Entry
    from shared.store.ledger_events import RecordedEvent

_channel_address = functools.cache(channel_address)  # tests ask for it all the time

OWN_KEY = KeyPair(bytes([7]) * 32)
BOUND_S = 20.0
TIMEOUT_S = 1_000
FAST = Pace(
    watcher=WatcherPace(idle_s=0.1, gather_s=0.005, everything_s=2.0),
    settlement=SettlementPace(
        round_s=0.05,
        ledger_time_s=0.05,
        margin_s=0.0,
        retry_first_s=0.05,
        retry_longest_s=0.2,
        bounced_first_s=0.05,
        bounced_longest_s=0.2,
    ),
    commands=CommandPace(
        poll_s=0.1,
        units=UnitPace(first_s=0.05, longest_s=0.2, patience_s=5.0),
        paying=PayingPace(ready_s=1.0, delivery_s=1.0),
    ),
    refilling=RefillPace(round_s=0.1, retry_first_s=0.05, retry_longest_s=0.2),
    exposure=ExposurePace(round_s=0.1, rest=1.0),
    hub=SessionPace(retry_first_s=0.05, retry_longest_s=0.2, answer_s=2.0, slack_s=0.0),
    cross_checks=CrossCheckPace(again_s=0.1, patience_s=5.0),
    agents_s=0.05,
)


async def eventually(check: Callable[[], Awaitable[Any]], what: str, *, bound_s: float = BOUND_S) -> Any:
    """Return the first true answer of `check`, which is asked again and again for a bounded time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(bound_s):
            while not (answer := await check()):  # noqa: ASYNC110 - what is waited for is in a database
                await asyncio.sleep(0.02)
            return answer
    raise AssertionError(f"it never came: {what}")


def hide_unit(monkeypatch: pytest.MonkeyPatch, unit: str) -> None:
    """Let the hub behave as if it had never heard of a unit."""
    honest = HubClient.get_history

    async def withhold(client: HubClient, **params: Any) -> Any:
        answer = await honest(client, **params)
        if isinstance(answer, dict) and "joints" in answer:
            answer["joints"] = [joint for joint in answer["joints"] if joint["unit"]["unit"] != unit]
            answer["aa_responses"] = [r for r in answer.get("aa_responses", []) if r["trigger_unit"] != unit]
            return answer if answer["joints"] else {}
        return answer

    monkeypatch.setattr(HubClient, "get_history", withhold)


class Crash:
    """A point that a worker reaches and never passes. Put in place of a coroutine function or method."""

    def __init__(self, after: Callable[..., Awaitable[Any]] | None = None) -> None:
        self._after = after
        self.reached = asyncio.Event()

    def __get__(self, instance: Any, _owner: Any) -> Any:
        return functools.partial(self, instance)

    async def __call__(self, *args: Any, **named: Any) -> Any:
        if self._after is not None:
            await self._after(*args, **named)
        self.reached.set()
        await asyncio.Event().wait()


class Cable:
    """A connection to the hub that can be cut and mended."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self._devnet.port)
        both = {writer, hub_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, hub_writer))
                tasks.create_task(self._pump(hub_reader, writer))
        finally:
            self._writers -= both

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()


class Party:
    """Somebody with money who writes units straight into the local ledger."""

    def __init__(self, devnet: Devnet, key: KeyPair) -> None:
        self.devnet = devnet
        self.key = key

    @property
    def address(self) -> str:
        return self.key.address

    def post(
        self,
        payments: Sequence[Output],
        messages: Sequence[Mapping[str, Any]] = (),
        *,
        responses: int | None = None,
        instead_of: tuple[ParentsOffer, list[Coin]] | None = None,
    ) -> str:
        """Compose a unit by the ledger's own knowledge, post it, return its hash.

        `instead_of`: what `prospect` returned before the unit that this one is to conflict with.
        """
        ledger = self.devnet.ledger
        state = ledger.state
        offer, coins = instead_of or self.prospect(*(payment.address for payment in payments))
        last_ball_mci = offer.last_ball.mci or 0
        joint = compose(
            network=state.network,
            key=self.key,
            coins=coins,
            parents=Parents(
                offer.timestamp_s,
                offer.parents,
                str(offer.last_ball.ball),
                offer.last_ball.hash,
                last_ball_mci,
                offer.tps_fee,
                offer.triggered_agents,
            ),
            payments=payments,
            messages=messages,
            include_definition=state.definition_before(self.address, last_ball_mci) is None,
            max_aa_responses=responses,
            fee_limit=FeeLimit(math.inf),
        )
        return ledger.post(joint.as_json(), with_conflicts=instead_of is not None).hash

    def prospect(self, *payees: str) -> tuple[ParentsOffer, list[Coin]]:
        """Where a unit made now would attach, and what it could spend."""
        ledger = self.devnet.ledger
        offer = offer_parents(ledger.state, ledger.now_s(), [self.address], [self.address, *payees])
        return offer, self.coins()

    def coins(self) -> list[Coin]:
        state = self.devnet.ledger.state
        return [
            Coin(
                unit=output.outpoint.unit,
                message_index=output.outpoint.message_index,
                output_index=output.outpoint.output_index,
                address=self.address,
                asset=output.asset,
                amount=output.amount,
                is_stable=state.dag.records[output.outpoint.unit].is_stable,
                mci=state.dag.records[output.outpoint.unit].mci,
            )
            for output in state.outputs.unspent(self.address)
        ]

    def balance(self, asset: str = BASE) -> int:
        return sum(coin.amount for coin in self.coins() if coin.asset == asset)


@dataclass
class Peer(Party):
    """The other side of one channel, who asked us for it (so we are A)."""

    devnet: Devnet
    key: KeyPair
    asset: str = BASE
    timeout_s: int = TIMEOUT_S
    salt: str = "salt"
    spent: int = 0
    last_package: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def channel(self) -> str:
        return _channel_address(OWN_KEY.address, self.address, self.asset, self.timeout_s, self.salt)

    def deposit(self, amount: int, *, publish: bool = False) -> str:
        definition = channel_definition(OWN_KEY.address, self.address, self.asset, self.timeout_s, self.salt)
        messages = [definition_message(self.channel, definition)] if publish else []
        if self.asset == BASE:
            return self.post([Output(self.channel, amount)], messages)
        return self.post([Output(self.channel, MIN_AGENT_BYTES), Output(self.channel, amount, self.asset)], messages)

    def trigger(self, data: dict[str, Any], *, amount: int = MIN_AGENT_BYTES) -> str:
        return self.post([Output(self.channel, amount)], [data_message(data)], responses=1)

    def close(self, admits: int, *, period: int = 1) -> str:
        """Close, admitting to have spent this much."""
        return self.trigger({"close": 1, "period": period, "transferredFromMe": admits})

    def package(self, amount: int, *, period: int = 1) -> dict[str, Any]:
        """Sign a payment."""
        self.spent += amount
        message = {
            "payment_amount": amount,
            "amount_spent": self.spent,
            "period": period,
            "aa_address": self.channel,
        }
        self.last_package = sign_message(message, self.key, DEVNET)
        return self.last_package


class World:
    """The ledger, the database and the bus that workers and peers of one test share."""

    def __init__(self, devnet: Devnet, database: Database, database_url: str) -> None:
        self.devnet = devnet
        self.database = database
        self.database_url = database_url
        self.bus = Bus(None)
        self.exposure = ROOMY
        self.own = Party(devnet, OWN_KEY)
        self._numbers = itertools.count()

    def given(self, **changes: Any) -> Circumstances:
        given = Circumstances(
            key=OWN_KEY,
            network=self.devnet.ledger.network,
            network_name="devnet",
            hub_url=self.devnet.url,
            bus=self.bus,
            exposure=self.exposure,
            pace=FAST,
            clock=self.devnet.ledger.now_s,
            jitter=random.Random(1).random,
        )
        return replace(given, **changes)

    def runtime(self, *, ttl_s: float = 2.0, database: Database | None = None, **changes: Any) -> Runtime:
        return Runtime(database or self.database, self.given(**changes), lease_ttl_s=ttl_s)

    @contextlib.asynccontextmanager
    async def running(self, runtime: Runtime | None = None, **changes: Any) -> AsyncIterator[Runtime]:
        """A worker that holds the lease within the block and is stopped in the ordinary way after it."""
        runtime = runtime or self.runtime(**changes)
        task = asyncio.create_task(runtime.run())
        try:
            await asyncio.wait_for(runtime.holding.wait(), BOUND_S)
            yield runtime
        finally:
            runtime.stop()
            await asyncio.wait_for(task, BOUND_S)

    def fund(self, party: Party, amount: int = 10_000_000, asset: str = BASE) -> None:
        self.devnet.ledger.treasury.fund(party.address, amount, asset)
        self.devnet.ledger.settle()

    async def peer(self, number: int = 1, **changes: Any) -> Peer:
        """A peer with money and a channel that nobody has funded yet."""
        peer = await self.stranger(number, **changes)
        await self.add_channel(peer)
        return peer

    async def stranger(self, number: int = 1, **changes: Any) -> Peer:
        """A peer with money whose channel we do not know."""
        peer = Peer(self.devnet, KeyPair(bytes([100 + number]) * 32), **changes)
        self.fund(peer)
        return peer

    async def add_channel(self, peer: Peer) -> None:
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
        async with self.database.transaction() as conn:
            await channels.insert(conn, new)
        self.bus.publish("channel_changed", {"aa_address": peer.channel})

    async def open(self, peer: Peer, deposit: int = 1_000_000) -> None:
        """Fund the peer's channel and wait until the worker has seen it open."""
        peer.deposit(deposit, publish=True)
        await self.until(peer, lambda channel: channel.status == "open", "open")

    async def is_awake(self) -> bool:
        async with self.database.connection() as conn:
            known = await instance.read(conn)
        return known is not None and known.watcher_age_s is not None

    async def pay(self, peer: Peer, *amounts: int) -> None:
        """Let the peer pay through the way every door's payments take."""
        # The fronts take payments once a whole round of the watcher has ended.
        await eventually(self.is_awake, "a heartbeat")
        rules = AcceptanceRules(limits={}, exposure=self.exposure, watcher_max_silence_s=60)
        acceptor = Acceptor(self.database, rules, self.bus)
        try:
            for amount in amounts:
                outcome = await acceptor.submit(verify_payment_package(peer.package(amount), DEVNET))
                assert isinstance(outcome, Receipt), outcome
        finally:
            await acceptor.close()

    async def order_close(self, peer: Peer, key: str = "close-1") -> int:
        return await self.order("close", peer.channel, key=key)

    async def order(self, kind: str, aa_address: str | None = None, *, key: str = "", **params: Any) -> int:
        """Queue a command; without a key of its own one that no other command has."""
        async with self.database.transaction() as conn:
            key = key or f"test-{next(self._numbers)}"
            command = await commands.insert(conn, kind, params, idempotency_key=key, aa_address=aa_address)
        self.bus.publish("command", {"id": command.id})
        return command.id

    async def done(self, kind: str, aa_address: str | None = None, **params: Any) -> Command:
        """Order something and return the command when it is over."""
        return await self.until_done(await self.order(kind, aa_address, **params))

    async def command(self, command_id: int) -> Command:
        async with self.database.connection() as conn:
            command = await commands.get(conn, command_id)
        assert command is not None
        return command

    async def channel(self, peer: Peer) -> Channel:
        async with self.database.transaction() as conn:
            channel = await channels.lock_one(conn, peer.channel)
        assert channel is not None
        return channel

    async def until(self, peer: Peer, check: Callable[[Channel], bool], what: str) -> Channel:
        async def look() -> Channel | None:
            channel = await self.channel(peer)
            return channel if check(channel) else None

        found: Channel = await eventually(look, f"channel {what}")
        return found

    async def until_done(self, command_id: int) -> Command:
        async def look() -> Command | None:
            command = await self.command(command_id)
            return command if command.finished_at is not None else None

        done: Command = await eventually(look, f"the end of command {command_id}")
        return done

    async def units_of_peer(self, peer: Peer) -> tuple[PeerUnit, ...]:
        async with self.database.connection() as conn:
            return (await peer_units.of(conn, [peer.channel])).get(peer.channel, ())

    async def until_units(self, peer: Peer, check: Callable[[tuple[PeerUnit, ...]], bool]) -> tuple[PeerUnit, ...]:
        async def look() -> tuple[tuple[PeerUnit, ...]] | None:
            units = await self.units_of_peer(peer)
            return (units,) if check(units) else None

        [found] = await eventually(look, "the units of the peer that are looked for")
        units: tuple[PeerUnit, ...] = found
        return units

    async def events(self, peer: Peer) -> list[RecordedEvent]:
        async with self.database.connection() as conn:
            return await ledger_events.of(conn, peer.channel)

    async def until_journaled(self, peer: Peer) -> None:
        async def look() -> bool:
            return bool(await self.journal(peer))

        await eventually(look, "a journal entry")

    async def expire_lease(self) -> None:
        """What happens to a worker that is frozen for longer than its lease lasts."""
        async with self.database.transaction() as conn:
            await conn.execute("UPDATE lease SET expires_at = '-infinity'")

    async def journal(self, peer: Peer) -> list[Entry]:
        async with self.database.connection() as conn:
            return await journal.of_channel(conn, peer.channel)

    def triggers(self, peer: Peer, kind: str) -> list[str]:
        """Units of ours on the ledger that tell the peer's channel this: what counting shows is really sent once."""
        return [
            record.hash
            for record in self.devnet.ledger.state.dag.records.values()
            if record.unit["authors"][0]["address"] == self.own.address
            and any(message["app"] == "data" and kind in message["payload"] for message in record.unit["messages"])
            and any(
                output["address"] == peer.channel
                for message in record.unit["messages"]
                if message["app"] == "payment"
                for output in message["payload"]["outputs"]
            )
        ]
