"""What tests of the receiving side share: payers that sign, a stand-in for the worker's pen, and a look at all rows."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg

from shared.channels.exposure import ANY_ASSET, ExposureRules
from shared.channels.model import Channel, ExposureLimits, Status
from shared.obyte.agents import channel_address
from shared.obyte.keys import KeyPair
from shared.obyte.networks import DEVNET
from shared.obyte.signed_messages import sign_message
from shared.store import api_keys, channels, instance, peer_units
from shared.store.channel_rows import NewChannel
from shared.store.database import Database, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from shared.store.api_keys import Scope

ROOMY = ExposureRules(
    {ANY_ASSET: ExposureLimits(max_by_channel=10**12, sweep_above=10**12, max_own_deposit=10**12, max_total=10**15)}
)
"""Exposure limits that no test reaches unless it is about them."""
OWN = KeyPair(bytes(31) + b"\x63")
TIMEOUT_S = 1000
SALT = "s1"


def payer_key(number: int = 1) -> KeyPair:
    """The key of the payer of this number."""
    return KeyPair((0x1000 + number).to_bytes(32))


@dataclass
class Payer:
    """Somebody with a channel to us who signs whatever he is told to."""

    key: KeyPair = field(default_factory=payer_key)
    asset: str = "base"
    timeout_s: int = TIMEOUT_S
    salt: str | None = SALT
    version: str = "1.1"

    @property
    def address(self) -> str:
        return self.key.address

    @property
    def channel(self) -> str:
        return channel_address(OWN.address, self.address, self.asset, self.timeout_s, self.salt, self.version)

    @property
    def parameters(self) -> dict[str, Any]:
        given = {"address": self.address, "timeout": self.timeout_s, "asset": self.asset, "version": self.version}
        return given if self.salt is None else {**given, "salt": self.salt}

    def package(self, amount_spent: Any, payment_amount: Any, *, period: Any = 1, **changes: Any) -> dict[str, Any]:
        """Sign a payment; `changes` are further members of the signed message."""
        message = {
            "payment_amount": payment_amount,
            "amount_spent": amount_spent,
            "period": period,
            "aa_address": self.channel,
            **changes,
        }
        return sign_message(message, self.key, DEVNET)

    def first_package(self, amount_spent: int, payment_amount: int) -> dict[str, Any]:
        """Sign a payment on a channel that the receiver may not know yet."""
        return self.package(amount_spent, payment_amount, channel_parameters=self.parameters)


class Worker:
    """Writes what the worker would write, through the repositories and in its role."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def initialise(self) -> None:
        async with self.database.transaction() as conn:
            await instance.declare(conn, network="devnet", own_address=OWN.address)
            await instance.heartbeat(conn)

    async def insert(self, payer: Payer, *, role: Any = "A") -> None:
        new = NewChannel(
            aa_address=payer.channel,
            own_address=OWN.address,
            peer_address=payer.address,
            asset=payer.asset,
            timeout_s=payer.timeout_s,
            salt=payer.salt,
            version=payer.version,
            role=role,
        )
        async with self.database.transaction() as conn:
            await channels.insert(conn, new)

    async def open(self, payer: Payer, *, deposit: int = 1_000_000, **state: Any) -> None:
        """Bring the payer's channel into a state, by default open in period 1 with a confirmed deposit."""
        await self.insert(payer)
        given = {
            "status": Status.OPEN,
            "period": 1,
            "deposited_by_peer": deposit,
            "definition_confirmed": True,
            "last_event_id": 1,
        }
        await self.change(payer, **{**given, **state})

    async def change(self, payer: Payer, **state: Any) -> None:
        async with self.database.transaction() as conn:
            channel = await channels.lock_one(conn, payer.channel)
            assert channel is not None
            await channels.save_transition(conn, replace(channel, **state))

    async def read(self, payer: Payer) -> Channel:
        """Return the channel with its claim."""
        async with self.database.transaction() as conn:
            channel = await channels.lock_one(conn, payer.channel)
        assert channel is not None
        return channel

    async def see_unit(
        self, payer: Payer, unit: str = "u", *, amount: int = 0, closes: bool = False, definition: bool = True
    ) -> None:
        """Note an unconfirmed unit of the payer, seen now."""
        async with self.database.transaction() as conn:
            await peer_units.add(
                conn, payer.channel, f"{unit:=<44}", amount=amount, closes=closes, publishes_definition=definition
            )

    async def make_key(self, *scopes: Scope) -> str:
        async with self.database.transaction() as conn:
            token, _ = await api_keys.create(conn, "test", scopes)
        return token


@contextlib.contextmanager
def database_of(postgres_url: str, template: str, name: str) -> Iterator[str]:
    """A database copied from the template that several tests share."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        yield postgres_url.replace("/sluice?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextlib.asynccontextmanager
async def worker(database_url: str) -> AsyncIterator[Worker]:
    """A stand-in for the worker, of an initialised receiver whose watcher is awake."""
    database = await Database.connect(database_url, role=Role.WORKER)
    try:
        pen = Worker(database)
        await pen.initialise()
        yield pen
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def administrator(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection that may do anything."""
    conn = await asyncpg.connect(database_url)
    try:
        yield conn
    finally:
        await conn.close()


async def all_rows(database_url: str) -> dict[str, list[str]]:
    """Every row of every table, as text: what must be the same before and after something that changes nothing.

    That something was refused is told to those who follow the events; it is no change.
    """
    async with administrator(database_url) as conn:
        tables = [row[0] for row in await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        told = " WHERE kind <> 'payment_refused'"
        return {
            table: sorted(
                row[0]
                for row in await conn.fetch(f'SELECT t::text FROM "{table}" t{told if table == "events" else ""}')  # noqa: S608
            )
            for table in sorted(tables)
        }
