"""`sluice channels …`: the receiver's channels, and with `--payer` those we pay through."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.store.commands import CommandState
from sluice.cli import payer_channels
from sluice.cli.common import (
    AsJson,
    CommandError,
    OfPayer,
    group,
    open_database,
    print_fields,
    print_json,
    print_table,
    read_settings,
    run,
)

if TYPE_CHECKING:
    from shared.store.channel_rows import StoredChannel
    from shared.store.commands import Command

POLL_S = 0.25

Address = Annotated[str, typer.Argument(metavar="AA_ADDRESS", help="The channel's address.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("channels", "The receiver's channels, and those we pay through.")
    commands.command("list", epilog="Example: sluice channels list --limit 20")(list_channels)
    commands.command(epilog="Example: sluice channels show AA_ADDRESS --json")(show)
    payer_channels.register(commands)
    commands.command(epilog="Example: sluice channels close AA_ADDRESS")(close)
    app.add_typer(commands)


def list_channels(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100,
    payer: OfPayer = False,
    as_json: AsJson = False,
) -> None:
    """List channels, newest first."""
    found = run(payer_channels.payer_channels() if payer else _page())[:limit]
    if as_json:
        print_json(found)
        return
    print_table(
        [
            "channel",
            "peer",
            "asset",
            "agent",
            "status",
            "period",
            "peer deposited",
            "we deposited",
            "received",
            "credit",
            "spent",
            "at risk",
        ],
        [
            (
                *(channel["aa_address"], channel["peer_address"], channel["asset"], channel["version"]),
                *(channel["status"], channel["period"], channel["deposited_by_peer"], channel["deposited_by_me"]),
                *(channel["spent_by_peer"] - channel["credit"], channel["credit"], channel["spent_by_me"]),
                channel["at_risk"],
            )
            for channel in found
        ],
        empty="There are no channels.",
    )


def show(aa_address: Address, payer: OfPayer = False, as_json: AsJson = False) -> None:
    """Show one channel."""
    found = run(payer_channels.payer_channel(aa_address) if payer else _find(aa_address))
    if as_json:
        print_json(found)
    else:
        print_fields(found)


def close(
    aa_address: Address,
    wait: Annotated[bool, typer.Option(help="Wait: as receiver for the closing unit, as payer for the money.")] = True,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Wait at most this long.")] = 60,
    payer: OfPayer = False,
    as_json: AsJson = False,
) -> None:
    """Close a channel with the best package we hold. Nothing more is accepted or signed in it meanwhile."""
    wait_s = timeout if wait else 0
    fields = run(payer_channels.close_as_payer(aa_address, wait_s) if payer else _close(aa_address, wait_s))
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


async def _page() -> list[dict[str, Any]]:
    from shared.store import channels

    async with open_database(read_settings()) as database, database.connection() as conn:
        return [_fields(channel) for channel in await channels.page(conn, limit=1000)]


async def _find(aa_address: str) -> dict[str, Any]:
    from shared.store import channels

    async with open_database(read_settings()) as database, database.connection() as conn:
        found = (await channels.find(conn, [aa_address])).get(aa_address)
    if found is None:
        raise CommandError(
            f"there is no channel {aa_address} that we receive through; those we pay through are found with --payer"
        )
    return _fields(found)


async def _close(aa_address: str, wait_s: float) -> dict[str, Any]:
    """Ask the worker; it looks for commands every second, so it need not be called."""
    from shared.store import commands

    await _find(aa_address)
    async with open_database(read_settings()) as database:
        async with database.transaction() as conn:
            key = f"cli-{uuid.uuid4()}"
            command = await commands.insert(conn, "close", {}, idempotency_key=key, aa_address=aa_address)
        deadline = time.monotonic() + wait_s
        while not _is_done(command) and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            async with database.connection() as conn:
                command = await commands.get(conn, command.id) or command
    if command.state is CommandState.FAILED:
        raise CommandError(command.error or "the worker could not close the channel")
    if wait_s and not _is_done(command):
        raise CommandError(f"command {command.id} is still {command.state}: is a worker running?")
    return {"command": command.id, "state": command.state.value, **(command.result or {})}


def _is_done(command: Command) -> bool:
    return command.state in {CommandState.SUCCEEDED, CommandState.FAILED}


def _fields(stored: StoredChannel) -> dict[str, Any]:
    return {
        **payer_channels.public_fields(stored.channel),
        "salt": stored.salt,
        "version": stored.version,
        "peer_url": stored.peer_url,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }
