"""The life of the payers' channels on the ledger: opened, deposited into again, and closed by one side or the other."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING

from load_tests.faults.payers import TIMEOUT_S, LoadChannel, LoadPayer
from load_tests.faults.wire import Kind, Line
from shared.channels.model import Status
from shared.obyte.agents import MIN_AGENT_BYTES
from shared.obyte.composing import Output, data_message, definition_message
from shared.store import commands

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from load_tests.faults.stage import Stage
    from shared.obyte.serialization import JsonValue

OPENING_S = 180.0
CLOSING_S = 300.0
_ATTEMPTS = 60
_PAUSE_S = 0.5


async def open_all(stage: Stage) -> None:
    """Begin the next period of all channels: asked for through the edge, deposited into, seen open by the worker."""
    await _each(stage, _ask)
    first, others = [payer.channels[:1] for payer in stage.payers], [payer.channels[1:] for payer in stage.payers]
    for part in (first, others):
        await asyncio.gather(*(_deposit(stage, channels) for channels in part))
        # From now on the ledger knows the payers' keys, and no unit has to show them.
        await stage.hub.request("devnet/stabilise")
        for purse in stage.purses.values():
            purse.is_disclosed = True
    await stage.waited("open", lambda: _count(stage, Status.OPEN), len(stage.channels), OPENING_S)


async def close_all(stage: Stage) -> None:
    """Close all channels, every other one by the receiver's order; return when the worker has seen the end of each."""
    ours = [channel for number, channel in enumerate(stage.channels) if number % 2 == 0]
    theirs = [channel for number, channel in enumerate(stage.channels) if number % 2]
    async with stage.books() as conn:
        for channel in ours:
            await commands.insert(
                conn, "close", {}, idempotency_key=f"faults-{uuid.uuid4()}", aa_address=channel.aa_address
            )
    closing = asyncio.create_task(_confirm(stage, ours))
    try:
        for channel in theirs:
            await _trigger(stage, channel, {"close": 1, "period": channel.period, "transferredFromMe": channel.signed})
        await stage.waited("closed", lambda: _count(stage, Status.CLOSED), len(stage.channels), CLOSING_S)
    finally:
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)


async def _each(stage: Stage, work: Callable[[Stage, LoadPayer], Awaitable[None]]) -> None:
    await asyncio.gather(*(work(stage, payer) for payer in stage.payers))


async def _ask(stage: Stage, payer: LoadPayer) -> None:
    """Tell the receiver of channels that it does not know."""
    line = Line(stage.topology.url)
    try:
        for channel in payer.channels:
            if channel.period:
                continue
            terms = {"address": payer.address, "timeout": TIMEOUT_S, "asset": "base", "salt": channel.salt}
            request = {"command": "create_channel", "params": {**terms, "version": channel.version}}
            for _ in range(_ATTEMPTS):
                answer = await line.ask(json.dumps(request).encode())
                if answer.kind.is_certain:
                    break
                await asyncio.sleep(_PAUSE_S)
            if (answer.kind, answer.code) != (Kind.REFUSED, ""):  # an answer without a receipt, and without an error
                raise RuntimeError(f"a channel was refused: {answer}")
    finally:
        line.close()


async def _deposit(stage: Stage, channels: list[LoadChannel]) -> None:
    for channel in channels:
        messages = [] if channel.period else [definition_message(channel.aa_address, channel.definition)]
        await stage.purses[channel.payer.address].post([Output(channel.aa_address, channel.payer.deposit)], messages)
        channel.begin()


async def _confirm(stage: Stage, channels: list[LoadChannel]) -> None:
    """Confirm the receiver's closings as soon as they are on the ledger, so that nobody has to wait for the timeout."""
    waiting = {channel.aa_address: channel for channel in channels}
    while waiting:
        async with stage.books() as conn:
            rows = await conn.fetch(
                "SELECT aa_address FROM channels WHERE status = 'closing_initiated_by_me' AND aa_address = ANY($1)",
                list(waiting),
            )
        for row in rows:
            channel = waiting.pop(row["aa_address"])
            await _trigger(stage, channel, {"confirm": 1, "period": channel.period})
        await asyncio.sleep(0.1)


async def _trigger(stage: Stage, channel: LoadChannel, data: dict[str, JsonValue]) -> None:
    output = Output(channel.aa_address, MIN_AGENT_BYTES)
    await stage.purses[channel.payer.address].post([output], [data_message(data)], responses=1)


async def _count(stage: Stage, status: Status) -> int:
    addresses = [channel.aa_address for channel in stage.channels]
    periods = [channel.period for channel in stage.channels]
    async with stage.books() as conn:
        return int(
            await conn.fetchval(
                "SELECT count(*) FROM channels JOIN unnest($1::text[], $2::bigint[]) AS wanted (aa_address, period)"
                " USING (aa_address, period) WHERE status = $3",
                addresses,
                periods,
                status.value,
            )
        )
