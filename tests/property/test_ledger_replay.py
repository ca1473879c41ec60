"""Whatever happened on the ledger, in whatever pieces it is read: the rows in the database are the same in the end.

Two channels live on a local ledger: deposits (some refused), closings honest and not, confirmations, proofs of fraud,
units that bounce, double spends, several periods. One reader reads while it happens, from hubs that lag behind, leave
units out, tell things again, and it is cut off in mid-transition; another reads everything once, afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from devnet.ledger import Ledger
from devnet.state import RejectedError
from shared.channels.ledger import Meaning
from shared.obyte.composing import Output, data_message
from shared.obyte.errors import CompositionError
from shared.store import channels, deposits, instance, journal, lease, ledger_events, peer_units
from shared.store.channel_rows import NewChannel
from shared.store.database import Database, Role
from tests.devnet_support import Actor, TestChannel, history
from worker.alarms import Alarms
from worker.channel_reader import Answer, ChannelReader, Outcome
from worker.definitions import AuthorChecks
from worker.guard import Guard
from worker.news import news_by_address
from worker.rollback import Rollback, RollbackPace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shared.obyte.history import ProvenHistory
    from shared.store.database import Connection

EXAMPLES = 30
COINS = 8
"""Of each party: what was spent twice cannot be spent for a while."""
NOW_S = 1_700_000_000.0
TIMEOUT_S = 1_000
SIGNED = 150_000
US, PEER = "us", "peer"
PURPOSES = {
    "deposit": Meaning.DEPOSIT,
    "close": Meaning.CLOSE,
    "confirm": Meaning.CONFIRM,
    "confirm in time": Meaning.CONFIRM,
    "fraud_proof": Meaning.FRAUD_PROOF,
}

numbers = itertools.count(1)

channel_numbers = st.sampled_from([0, 0, 1])
parties = st.sampled_from([US, PEER])
claims = st.sampled_from([0, 40_000, SIGNED, SIGNED + 1])
actions = st.one_of(
    st.tuples(st.just("deposit"), st.sampled_from([10_000, 10_001, 70_000])),
    st.tuples(st.just("deposit"), st.just(70_000)),
    st.tuples(st.just("close"), claims),
    st.tuples(st.just("close"), claims),
    st.tuples(st.just("confirm"), st.sampled_from([0, 5_000])),
    st.tuples(st.just("confirm in time"), st.just(0)),
    st.tuples(st.just("fraud_proof"), st.just(0)),
    st.tuples(st.just("double spend"), st.just(30_000)),
)
steps = st.tuples(channel_numbers, parties, actions)
# How far the ledger moves on after a step: to where all is stable, or by some units of its order provider.
progress = st.sampled_from([None, None, None, 0, 1, 2, 3])
# What the reader gets to read then: nothing, what there is, a part of it, an answer of earlier again.
readings = st.one_of(
    st.none(), st.just("all"), st.integers(1, 2**24), st.tuples(st.just("earlier"), st.integers(0, 50))
)
crashes = st.none() | st.integers(1, 12)
stories = st.lists(st.tuples(steps, progress, readings, crashes), min_size=4, max_size=16)


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Life:
    """A ledger with two channels of ours, and what is done on it."""

    ledger: Ledger = field(default_factory=lambda: Ledger(seed=b"replay", clock=lambda: NOW_S))
    unfinished: list[tuple[str, str, int, dict[str, Any], int]] = field(default_factory=list)
    """Units of ours: purpose, channel, period, joint, what it deposits."""

    def __post_init__(self) -> None:
        self.us = Actor(self.ledger, 7)
        peers = [Actor(self.ledger, 8), Actor(self.ledger, 9)]
        for actor in (self.us, *peers):
            for _ in range(COINS):
                self.ledger.treasury.fund(actor.address, 50_000_000)
        self.ledger.settle()
        salt = f"example {next(numbers)}"
        self.channels = [TestChannel(self.ledger, self.us, peer, timeout_s=TIMEOUT_S, salt=salt) for peer in peers]

    def do(self, step: tuple[int, str, tuple[str, int]], progress: int | None) -> None:
        """Do one thing, and let the ledger move on; what the ledger does not take does not happen."""
        number, party, (name, amount) = step
        channel = self.channels[number]
        with contextlib.suppress(CompositionError):
            if channel.address not in self.ledger.state.agents:
                self.post(channel.b, channel.open_unit(70_000))
            elif name == "double spend":
                self.spend_twice(channel, amount)
            else:
                self.trigger(channel, self.us if party == US else channel.b, name, amount)
        if progress is None:
            self.ledger.settle()
        for _ in range(progress or 0):
            self.ledger.advance()

    def spend_twice(self, channel: TestChannel, amount: int) -> None:
        coins, parents = channel.b.coins()[:1], channel.b.parents()
        for extra in (0, 1):
            rival = channel.b.compose([Output(channel.address, amount + extra)], coins=coins, parents=parents)
            self.post(channel.b, rival)

    def period(self, channel: TestChannel) -> int:
        told = [
            payload["period"] + bool(payload.get("closed")) for payload in channel.responses() if "period" in payload
        ]
        return max(told, default=1)

    def trigger(self, channel: TestChannel, actor: Actor, name: str, amount: int) -> None:
        other = channel.b if actor is self.us else self.us
        period = self.period(channel)
        data: Any = None
        match name:
            case "close":
                data = {"close": 1, "period": period, "transferredFromMe": amount}
                if amount == SIGNED:
                    data["sentByPeer"] = channel.signed(other, SIGNED, period)
            case "confirm" | "confirm in time":
                data = {"confirm": 1, "period": period} | ({"additionalTransferredFromMe": amount} if amount else {})
                self.ledger.skip_agent_time(TIMEOUT_S if name == "confirm in time" else 0)
            case "fraud_proof":
                data = {"fraud_proof": 1, "period": period, "sentByPeer": channel.signed(other, SIGNED, period)}
        pays = amount if data is None else 10_000
        messages = [] if data is None else [data_message(data)]
        joint = actor.compose([Output(channel.address, pays)], messages, max_aa_responses=1)
        if self.post(actor, joint) and actor is self.us:
            self.unfinished.append((PURPOSES[name].value, channel.address, period, joint, pays if data is None else 0))

    def post(self, actor: Actor, joint: dict[str, Any]) -> bool:
        try:
            self.ledger.post(joint, with_conflicts=actor is not self.us)
        except RejectedError:
            return False
        return True

    def tell(self, choice: int | None = None) -> ProvenHistory:
        """What a hub tells of the channels now; with a `choice` it keeps some units back."""
        shown = history(self.ledger, *(channel.address for channel in self.channels))
        if choice is None or not shown.units:
            return shown
        kept = [unit for place, unit in enumerate(shown.units) if choice >> place % 24 & 1]
        return type(shown)(**{name: getattr(shown, name) for name in shown.__slots__} | {"units": tuple(kept)})


class Reader:
    """A worker's reading side on a database of its own."""

    def __init__(self, life: Life, database: Database, term: lease.Lease) -> None:
        self.life = life
        self.guard = Guard(database, term)
        self.reread: list[str] = []
        self._journaled = 0
        self._hub: Any = SimpleNamespace(get_definition=self._definition)

    async def _definition(self, address: str) -> Any:
        return self.life.ledger.state.definitions.get(address, (None,))[0]

    async def begin(self) -> None:
        async with self.guard.transaction() as conn:
            await instance.declare(conn, network="devnet", own_address=self.life.us.address)
            for channel in self.life.channels:
                await channels.insert(conn, new_channel(channel))

    async def journal(self) -> None:
        """Write down our own units, as the wallet does before it posts them."""
        new, self._journaled = self.life.unfinished[self._journaled :], len(self.life.unfinished)
        async with self.guard.transaction() as conn:
            for number, (purpose, aa_address, period, joint, amount) in enumerate(new, start=self._journaled):
                unit = joint["unit"]["unit"]
                await journal.compose(
                    conn, purpose, unit, joint, aa_address=aa_address, period=period, reference=str(number)
                )
                if amount > 10_000:
                    await deposits.add(conn, aa_address, unit, amount)

    async def read(self, told: ProvenHistory) -> None:
        for channel in self.life.channels:
            if await self._read(channel.address, told, is_whole=False) is Outcome.READ_WHOLE:
                self.reread.append(channel.address)
                assert await self._read(channel.address, self.life.tell(), is_whole=True) is Outcome.APPLIED

    async def read_everything(self) -> None:
        told = self.life.tell()
        for channel in self.life.channels:
            assert await self._read(channel.address, told, is_whole=True) is Outcome.APPLIED

    async def _read(self, address: str, told: ProvenHistory, *, is_whole: bool) -> Outcome:
        async with self.guard.reading() as conn:
            stored = (await channels.find(conn, [address]))[address]
            theirs = (await peer_units.of(conn, [address])).get(address, ())
            ours = tuple(entry for entry in await journal.unfinished(conn) if entry.aa_address == address)
        answer = Answer(
            units=tuple(news_by_address(told, [address]).get(address, ())),
            history=told,
            asked=frozenset([entry.unit for entry in ours] + [unit.unit for unit in theirs]),
            ours=ours,
        )
        # Each answer is read by another life of the worker: nothing is remembered but what is in the database.
        reader = ChannelReader(
            self.guard,
            SimpleNamespace(void=lambda _unit: None),  # type: ignore[arg-type]
            AuthorChecks(self.life.ledger.network),
            Rollback(self.guard, Alarms(self.guard), self.life.us.address, RollbackPace()),
            lambda _address: None,
        )
        return await reader.read(self._hub, stored.channel, answer, is_whole=is_whole)

    async def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that is known of the channels, but for when it was written down."""
        addresses = [channel.address for channel in self.life.channels]
        async with self.guard.reading() as conn:
            return {
                name: [tuple(row) for row in await conn.fetch(statement, addresses)]
                for name, statement in {
                    "channels": "SELECT aa_address, status, period, deposited_by_peer, deposited_by_me, spent_by_peer,"
                    " spent_by_me, credit, claim, period_closed_by_me, close_started_at_s, claimed_by_peer,"
                    " last_event_id, definition_confirmed, has_peer_units, unsure_period"
                    " FROM channels WHERE aa_address = ANY($1) ORDER BY 1",
                    "events": "SELECT aa_address, event_id, kind, period, unit, payload, mci, unit_timestamp_s"
                    " FROM ledger_events WHERE aa_address = ANY($1) ORDER BY 1, 2",
                    "deposits": "SELECT aa_address, unit, amount, state"
                    " FROM deposits WHERE aa_address = ANY($1) ORDER BY 1, 2",
                    "units of peers": "SELECT aa_address, unit"
                    " FROM peer_units WHERE aa_address = ANY($1) ORDER BY 1, 2",
                    "open units": "SELECT unit FROM journal WHERE aa_address = ANY($1)"
                    " AND state IN ('composed', 'posted') ORDER BY 1",
                }.items()
            }


def new_channel(channel: TestChannel) -> NewChannel:
    return NewChannel(
        aa_address=channel.address,
        own_address=channel.a.address,
        peer_address=channel.b.address,
        asset=channel.asset,
        timeout_s=channel.timeout_s,
        salt=channel.salt,
        version="1.1",
        role="A",
    )


class Executioner:
    """Kills the reader at the n-th thing that it writes from now on."""

    WRITES = (
        (ledger_events, "append"),
        (deposits, "settle"),
        (journal, "stable"),
        (journal, "failed"),
        (channels, "save_transition"),
        (peer_units, "add"),
        (peer_units, "remove"),
    )

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for place, name in self.WRITES:
            patch.setattr(place, name, self._around(getattr(place, name)))

    def _around(self, write: Callable[..., Any]) -> Callable[..., Any]:
        async def endangered(conn: Connection, *args: Any, **named: Any) -> Any:
            result = await write(conn, *args, **named)
            if self.left is not None:
                self.left -= 1
                if self.left <= 0:
                    raise Killed
            return result

        return endangered


@pytest.fixture
def another_database_url(postgres_url: str, _template: str) -> Iterator[str]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE replay_baseline TEMPLATE {_template}".encode())
        yield postgres_url.replace("/sluice?", "/replay_baseline?")
        connection.execute(b"DROP DATABASE replay_baseline WITH (FORCE)")


async def database_with_lease(url: str) -> tuple[Database, lease.Lease]:
    database = await Database.connect(url, role=Role.WORKER, max_connections=2)
    async with database.transaction() as conn:
        term = await lease.acquire(conn, "wallet", "replay", 100_000)
    assert term is not None
    return database, term


async def read_while_it_happens(life: Life, reader: Reader, story: list[Any], executioner: Executioner) -> None:
    answers = []
    for step, progress, reading, crash in story:
        life.do(step, progress)
        await reader.journal()
        if reading is None:
            continue
        if isinstance(reading, tuple):
            told = answers[reading[1] % len(answers)] if answers else life.tell()
        else:
            told = life.tell(None if reading == "all" else reading)
            answers.append(told)
        executioner.left = crash
        try:
            await reader.read(told)
        except Killed:
            event("killed")
        finally:
            executioner.left = None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_way_of_reading_leads_to_the_same_rows(
    database_url: str, another_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    executioner = Executioner(monkeypatch)
    with asyncio.Runner() as runner:
        one = runner.run(database_with_lease(database_url))
        two = runner.run(database_with_lease(another_database_url))

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(story=stories)
        def compare(story: list[Any]) -> None:
            runner.run(read_and_compare(story, one, two, executioner))

        try:
            compare()
        finally:
            runner.run(one[0].close())
            runner.run(two[0].close())


async def read_and_compare(
    story: list[Any], one: tuple[Database, lease.Lease], two: tuple[Database, lease.Lease], executioner: Executioner
) -> None:
    life = Life()
    torn, calm = Reader(life, *one), Reader(life, *two)
    await torn.begin()
    await calm.begin()
    await read_while_it_happens(life, torn, story, executioner)
    life.ledger.settle()
    await torn.read_everything()
    await calm.journal()
    await calm.read_everything()
    expected = await calm.rows()
    assert await torn.rows() == expected
    await torn.read_everything()
    assert await torn.rows() == expected
    assert expected["units of peers"] == []
    told = {channel.address: [p for p in channel.responses() if "event_id" in p] for channel in life.channels}
    assert {row[0]: row[12] for row in expected["channels"]} == {address: len(said) for address, said in told.items()}
    event(f"{sum(map(len, told.values())) // 4 * 4}+ events")
    if torn.reread:
        event("a gap")
