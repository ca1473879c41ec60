"""The payer's database: one SQLite file. All SQL of the payer is here.

A commit is on the disk when it returns (synchronous=FULL): a package that left, a unit that was posted can never be
forgotten. Functions take a connection inside a transaction; `PayerStore.run` gives both, in the one thread that may
write. The file holds signed packages and is as secret as the seed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from shared.agent.packages import ChannelTerms, SignedPayment
from shared.channels.model import Channel, Status
from sluice.payer.errors import PayerError, WalletError
from sluice.payer.schema import SCHEMA, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from shared.obyte.serialization import JsonValue

T = TypeVar("T")
PaymentState: TypeAlias = Literal["signed", "accepted", "refused"]
"""`signed`: it may have left, its fate is unknown."""
Purpose: TypeAlias = Literal["open", "deposit", "close", "confirm", "fraud_proof"]
UnitState: TypeAlias = Literal["composed", "posted", "done", "bounced", "failed", "replaced"]
"""`composed`: journaled, perhaps posted. `posted`: a hub has it. `done`: the agent has answered it."""

_ON_ITS_WAY = "('composed', 'posted')"
# Doubt about restored books, and who has robbed whom, is the receiver's to know.
_RECEIVERS = frozenset({"unsure_period", "peer_has_robbed"})
_STATE_FIELDS = tuple(item.name for item in fields(Channel) if item.name not in _RECEIVERS)


@dataclass(frozen=True, slots=True)
class StoredChannel:
    """A channel with what only the payer's side knows of it."""

    state: Channel
    peer_url: str
    is_known_by_peer: bool
    salt: str | None
    version: str

    @property
    def terms(self) -> ChannelTerms:
        """What makes the channel this one."""
        state = self.state
        return ChannelTerms(state.own_address, state.asset, state.timeout_s, self.version, self.salt)


@dataclass(frozen=True, slots=True)
class StoredPayment:
    """A signed payment and what became of it; `message` and `answer` (the peer's, once known) are JSON texts."""

    id: int
    aa_address: str
    period: int
    payment_amount: int
    amount_spent: int
    package: str = field(repr=False)
    message: str | None = field(repr=False)
    state: PaymentState
    answer: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A unit of ours and what it is for. `amount`: what it deposits, in the channel's asset."""

    unit: str
    purpose: Purpose
    aa_address: str
    period: int
    amount: int
    joint: dict[str, JsonValue] = field(repr=False)
    state: UnitState = "composed"
    reason: str | None = None

    @property
    def content(self) -> dict[str, JsonValue]:
        """The unit itself."""
        unit = self.joint["unit"]
        return unit if isinstance(unit, dict) else {}


@dataclass(frozen=True, slots=True)
class StoredUnit:
    """A unit proven stable that touches the wallet or one of its channels."""

    content: dict[str, JsonValue] = field(repr=False)
    is_nonserial: bool
    mci: int | None


class PayerStore:
    """The database file, used from one thread of its own."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="payer-store")
        self._connection = self._thread.submit(_connect, path).result()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction and return its result once that is committed. Whatever it raises undoes all."""
        return await asyncio.wrap_future(self._thread.submit(_in_transaction, self._connection, work))

    def close(self) -> None:
        """Finish what is under way and close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()


def bind_identity(connection: sqlite3.Connection, *, network: str, address: str) -> None:
    """Tie the database to one network and wallet, or check that it is tied to these. Raises WalletError."""
    if meta(connection, "network", network) != network:
        raise WalletError("another_network", "this payer's home belongs to another network")
    if meta(connection, "address", address) != address:
        raise WalletError("another_wallet", "this payer's home belongs to another wallet")


def meta(connection: sqlite3.Connection, name: str, default: str | None = None) -> str | None:
    """Return a lasting fact; `default` is made the fact when there was none."""
    if default is not None:
        connection.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO NOTHING", (name, default))
    row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def replace_meta(connection: sqlite3.Connection, name: str, value: str) -> None:
    """Note a fact in place of what was noted before."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
    )


def insert_channel(connection: sqlite3.Connection, channel: StoredChannel, now_s: float) -> None:
    """Store a new channel."""
    own = {
        "peer_url": channel.peer_url,
        "is_known_by_peer": channel.is_known_by_peer,
        "salt": channel.salt,
        "version": channel.version,
        "created_at_s": now_s,
    }
    row = {**{name: getattr(channel.state, name) for name in _STATE_FIELDS}, **own}
    columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT INTO channels ({columns}) VALUES ({marks})", row)  # noqa: S608 (names of our own)


def update_channel(connection: sqlite3.Connection, before: StoredChannel, after: StoredChannel) -> None:
    """Store what changed of a channel."""
    changed = {
        name: getattr(after.state, name)
        for name in _STATE_FIELDS
        if getattr(after.state, name) != getattr(before.state, name)
    }
    if after.is_known_by_peer != before.is_known_by_peer:
        changed["is_known_by_peer"] = after.is_known_by_peer
    if changed:
        assignments = ", ".join(f"{name} = :{name}" for name in changed)
        connection.execute(
            f"UPDATE channels SET {assignments} WHERE aa_address = :key",  # noqa: S608 (names of our own)
            {**changed, "key": after.state.aa_address},
        )


def channels(connection: sqlite3.Connection) -> list[StoredChannel]:
    """Return all channels, oldest first."""
    return [_channel(row) for row in connection.execute("SELECT * FROM channels ORDER BY created_at_s, aa_address")]


def insert_payment(
    connection: sqlite3.Connection, signed: SignedPayment, message: str | None, now_s: float
) -> StoredPayment:
    """Store a signed payment and return it with its number; `message` is JSON text."""
    cursor = connection.execute(
        "INSERT INTO payments (aa_address, period, payment_amount, amount_spent, package, message, state, created_at_s)"
        " VALUES (?, ?, ?, ?, ?, ?, 'signed', ?) RETURNING *",
        (
            signed.aa_address,
            signed.period,
            signed.payment_amount,
            signed.amount_spent,
            signed.package,
            message,
            now_s,
        ),
    )
    return _payment(cursor.fetchone())


def payment_of(connection: sqlite3.Connection, payment_id: int) -> StoredPayment:
    """Return one payment. Raises PayerError `unknown_payment`."""
    row = connection.execute("SELECT * FROM payments WHERE id = ?", (payment_id,)).fetchone()
    if row is None:
        raise PayerError("unknown_payment", f"there is no payment {payment_id}")
    return _payment(row)


def payments(
    connection: sqlite3.Connection, *, state: PaymentState | None = None, aa_address: str | None = None
) -> list[StoredPayment]:
    """Return payments, oldest first, of one state and one channel where these are given."""
    rows = connection.execute(
        "SELECT * FROM payments WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR aa_address = ?2) ORDER BY id",
        (state, aa_address),
    )
    return [_payment(row) for row in rows]


def settle_payment(connection: sqlite3.Connection, payment_id: int, state: PaymentState, answer: str) -> None:
    """Store the peer's answer. A payment once accepted stays accepted."""
    connection.execute(
        "UPDATE payments SET state = ?, answer = ? WHERE id = ? AND state <> 'accepted'", (state, answer, payment_id)
    )


def insert_unit(connection: sqlite3.Connection, entry: JournalEntry, now_s: float) -> None:
    """Journal a unit of ours: from now on it will be posted, and nothing else in its place.

    The same ingredients make the same unit, so one that failed may come again.
    """
    connection.execute(
        "INSERT INTO journal (unit, purpose, aa_address, period, amount, joint, state, created_at_s)"
        " VALUES (?, ?, ?, ?, ?, ?, 'composed', ?)"
        " ON CONFLICT (unit) DO UPDATE SET state = 'composed', reason = NULL WHERE state IN ('failed', 'replaced')",
        (entry.unit, entry.purpose, entry.aa_address, entry.period, entry.amount, json.dumps(entry.joint), now_s),
    )


def set_unit_state(
    connection: sqlite3.Connection, unit: str, state: UnitState, reason: str | None = None
) -> JournalEntry | None:
    """Move a unit of ours that is on its way to another state; None when it is not on its way (any more)."""
    row = connection.execute(
        f"UPDATE journal SET state = ?, reason = ? WHERE unit = ? AND state IN {_ON_ITS_WAY} RETURNING *",  # noqa: S608
        (state, reason, unit),
    ).fetchone()
    return None if row is None else _entry(row)


def journal_entry(connection: sqlite3.Connection, unit: str) -> JournalEntry | None:
    """Return a unit of ours, None when it is not ours."""
    row = connection.execute("SELECT * FROM journal WHERE unit = ?", (unit,)).fetchone()
    return None if row is None else _entry(row)


def units_on_their_way(connection: sqlite3.Connection, aa_address: str | None = None) -> list[JournalEntry]:
    """Return our units that the agent has not answered yet, in the order of their making."""
    rows = connection.execute(
        f"SELECT * FROM journal WHERE state IN {_ON_ITS_WAY} AND (?1 IS NULL OR aa_address = ?1)"  # noqa: S608
        " ORDER BY rowid",
        (aa_address,),
    )
    return [_entry(row) for row in rows]


def journal(connection: sqlite3.Connection, aa_address: str) -> list[JournalEntry]:
    """Return all units ever made for a channel, in the order of their making."""
    rows = connection.execute("SELECT * FROM journal WHERE aa_address = ? ORDER BY rowid", (aa_address,))
    return [_entry(row) for row in rows]


def pending_deposits(connection: sqlite3.Connection, aa_address: str) -> int:
    """Return the sum of deposits on their way to a channel."""
    [(total,)] = connection.execute(
        f"SELECT coalesce(sum(amount), 0) FROM journal WHERE aa_address = ? AND state IN {_ON_ITS_WAY}"  # noqa: S608
        " AND purpose IN ('open', 'deposit')",
        (aa_address,),
    )
    return int(total)


def save_units(connection: sqlite3.Connection, found: Iterable[StoredUnit]) -> None:
    """Keep units proven stable."""
    connection.executemany(
        "INSERT INTO units VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [(str(unit.content["unit"]), json.dumps(unit.content), unit.is_nonserial, unit.mci) for unit in found],
    )


def stable_units(connection: sqlite3.Connection) -> Iterator[StoredUnit]:
    """Return the units proven stable so far, in the order of the main chain."""
    for row in connection.execute("SELECT content, is_nonserial, mci FROM units ORDER BY mci, rowid"):
        yield StoredUnit(json.loads(row[0]), bool(row[1]), row[2])


def insert_settlement(connection: sqlite3.Connection, aa_address: str, period: int, summary: str) -> None:
    """Keep how a period ended (JSON text)."""
    connection.execute("INSERT INTO settlements VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (aa_address, period, summary))


def settlement(connection: sqlite3.Connection, aa_address: str, period: int) -> str | None:
    """Return how a period ended (JSON text), None while it has not."""
    row = connection.execute(
        "SELECT summary FROM settlements WHERE aa_address = ? AND period = ?", (aa_address, period)
    ).fetchone()
    return None if row is None else str(row[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    [(version,)] = connection.execute("PRAGMA user_version")
    if version > SCHEMA_VERSION:
        connection.close()
        raise WalletError("newer_store", "this payer's home was made by a newer version")
    if version < SCHEMA_VERSION:
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    return connection


def _in_transaction(connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _channel(row: sqlite3.Row) -> StoredChannel:
    values = {name: row[name] for name in _STATE_FIELDS}
    values["status"] = Status(values["status"])
    values["definition_confirmed"] = bool(values["definition_confirmed"])
    return StoredChannel(Channel(**values), row["peer_url"], bool(row["is_known_by_peer"]), row["salt"], row["version"])


def _payment(row: sqlite3.Row) -> StoredPayment:
    return StoredPayment(*(row[item.name] for item in fields(StoredPayment)))


def _entry(row: sqlite3.Row) -> JournalEntry:
    values = {item.name: row[item.name] for item in fields(JournalEntry)}
    return JournalEntry(**{**values, "joint": json.loads(values["joint"])})
