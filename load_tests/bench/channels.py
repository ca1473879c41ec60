"""Open channels: of payers, and as many others as a table should hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import asyncpg

from load_tests.bench.payers import DEPOSIT, RECEIVER, TIMEOUT_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator, Sequence

    from load_tests.bench.payers import BenchPayer

_COLUMNS = (
    "aa_address", "own_address", "peer_address", "asset", "timeout_s", "salt", "version", "role", "status", "period",
    "deposited_by_peer", "last_event_id", "definition_confirmed", "is_watched",
)  # fmt: skip
_INSERT = f"""
    INSERT INTO channels ({", ".join(_COLUMNS)})
    VALUES ({", ".join(f"${place}" for place, _ in enumerate(_COLUMNS, start=1))})
"""  # noqa: S608 - constants only
_PART = 50_000


async def open_channels(dsn: str, payers: Sequence[BenchPayer]) -> None:
    """Write channels as the watcher would after a deposit of each payer became stable."""
    conn = await asyncpg.connect(dsn)
    try:
        await _begin(conn)
        await conn.executemany(_INSERT, [_of(payer) for payer in payers])
        await conn.execute("ANALYZE")
    finally:
        await conn.close()


async def fill(
    dsn: str,
    payers: Sequence[BenchPayer],
    count: int,
    chance: random.Random,
    written: Callable[[int], object] = lambda _: None,
) -> None:
    """Write `count` open channels, those of the payers scattered among the others, which nobody has keys for.

    In bulk: triggers, and with them the event of each new channel, stay away. `written` is told of each part.
    """
    conn = await asyncpg.connect(dsn, command_timeout=600)
    try:
        await _begin(conn)
        await conn.execute("SET session_replication_role = replica")
        rows = _scattered(payers, count, chance)
        for done in range(0, count, _PART):
            size = min(_PART, count - done)
            part = [next(rows) for _ in range(size)]
            await conn.copy_records_to_table("channels", records=part, columns=_COLUMNS)
            written(size)
        await settle(conn)
    finally:
        await conn.close()


async def settle(conn: asyncpg.Connection[asyncpg.Record]) -> None:
    """Have done to the channels what Postgres would do some time after a bulk load, and a checkpoint."""
    await conn.execute("VACUUM (ANALYZE) channels")
    await conn.execute("CHECKPOINT")


async def _begin(conn: asyncpg.Connection[asyncpg.Record]) -> None:
    await conn.execute("INSERT INTO assets (asset) VALUES ('base') ON CONFLICT DO NOTHING")
    await conn.execute(
        "INSERT INTO instance (network, own_address, watcher_synced_at) VALUES ('devnet', $1, now())", RECEIVER.address
    )


def _scattered(payers: Sequence[BenchPayer], count: int, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    places = dict(zip(chance.sample(range(count), len(payers)), payers, strict=True))
    for place in range(count):
        payer = places.get(place)
        if payer is not None:
            yield _of(payer)
        else:
            made = f"{chance.getrandbits(256):064X}"
            yield _row(made[:32], made[32:], f"other{place}")


def _of(payer: BenchPayer) -> tuple[Any, ...]:
    return _row(payer.aa_address, payer.key.address, payer.salt)


def _row(aa_address: str, peer_address: str, salt: str) -> tuple[Any, ...]:
    return (
        aa_address, RECEIVER.address, peer_address, "base", TIMEOUT_S, salt, "1.1", "A", "open", 1, DEPOSIT, 1, True,
        True,
    )  # fmt: skip
