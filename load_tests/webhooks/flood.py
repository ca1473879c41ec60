"""How long other channels' events take to arrive while one channel has far more to tell than can be sent."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from load_tests.webhooks.stage import percentile_ms
from shared.bus import EVENT
from shared.store import events
from shared.store.events import EventKind, NewEvent

if TYPE_CHECKING:
    from load_tests.webhooks.stage import Stage

_CHANNELS = 20
_EVERY_S = 0.02
_BOUND_S = 120.0
_FLOODED = "F" * 32

_OPEN = """
    INSERT INTO channels (aa_address, own_address, peer_address, asset, timeout_s, salt, version, role)
    VALUES ($1, repeat('O', 32), repeat('P', 32), 'base', 1000, 's', '1.2', 'B')
"""

_FLOOD = """
    INSERT INTO payments (aa_address, period, amount_spent, payment_amount, asset)
    SELECT $1, 1, n, 1, 'base' FROM generate_series(1, $2::bigint) AS n
"""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long after it had happened an event of another channel came to the receiver."""

    what: str
    events: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    flood_left: int
    """Payments of the flood that had not been sent at the end."""


async def latencies(stage: Stage, *, count: int, flood: int) -> list[Latency]:
    """Measure it when nothing else happens, and from the moment on in which a flood is on record. On loopback."""
    quiet = await _latency(stage, "quiet", count)
    async with stage.database.transaction() as conn:
        await conn.execute(_OPEN, _FLOODED)
    return [quiet, await _latency(stage, "beside a flood", count, flood=flood)]


async def _latency(stage: Stage, what: str, count: int, *, flood: int = 0) -> Latency:
    path = "/" + what.replace(" ", "-")
    [webhook] = await stage.begin(path)
    if flood:
        async with stage.database.transaction() as conn:
            await conn.execute(_FLOOD, _FLOODED, flood)
    async with stage.sending() as bus:
        for number in range(count):
            data = {"amount": 600, "happened_s": time.monotonic()}
            async with stage.database.transaction() as conn:
                new = NewEvent(EventKind.CHANNEL_REFILLED, f"{number % _CHANNELS:A>32}", data)
                await events.add(conn, new)
            bus.publish(EVENT, {})
            await asyncio.sleep(_EVERY_S)
        async with asyncio.timeout(_BOUND_S):
            while len((tally := await stage.tally(path))["latencies_s"]) < count:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.1)
    if tally["disordered"]:
        raise RuntimeError(f"events came in another order than they had happened in: {tally}")
    async with stage.database.connection() as conn:
        sent = await conn.fetchval(
            "SELECT count(*) FROM webhook_deliveries WHERE webhook_id = $1 AND lane = $2 AND state = 'delivered'",
            webhook,
            _FLOODED,
        )
    found = tally["latencies_s"]
    return Latency(
        what,
        count,
        percentile_ms(found, 0.5),
        percentile_ms(found, 0.99),
        percentile_ms(found, 1.0),
        flood - sent,
    )
