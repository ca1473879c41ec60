"""`sluice channels …`: the receiver's channels."""

from __future__ import annotations

import asyncio
import dataclasses
import time
import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from shared.store.commands import CommandState
from sluice.cli.common import (
    AsJson,
    CommandError,
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
    commands = group("channels", "The receiver's channels.")
    commands.command("list", epilog="Example: sluice channels list --limit 20")(list_channels)
    commands.command(epilog="Example: sluice channels show AA_ADDRESS --json")(show)
    commands.command(epilog="Example: sluice channels close AA_ADDRESS")(close)
    app.add_typer(commands)


def list_channels(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 100, as_json: AsJson = False
) -> None:
    """List channels, newest first."""
    found = run(_page(limit))
    if as_json:
        print_json([_fields(channel) for channel in found])
        return
    print_table(
        ["channel", "peer", "asset", "status", "period", "deposited", "received", "credit", "spent"],
        [
            (
                *(c.aa_address, c.peer_address, c.asset, c.status.value, c.period),
                *(c.deposited_by_peer, c.spent_by_peer - c.credit, c.credit, c.spent_by_me),
            )
            for c in (stored.channel for stored in found)
        ],
        empty="There are no channels.",
    )


def show(aa_address: Address, as_json: AsJson = False) -> None:
    """Show one channel."""
    found = run(_find(aa_address))
    if found is None:
        raise CommandError(f"there is no channel {aa_address}")
    if as_json:
        print_json(_fields(found))
    else:
        print_fields(_fields(found))


def close(
    aa_address: Address,
    wait: Annotated[bool, typer.Option(help="Wait until the closing is on the ledger.")] = True,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Wait at most this long.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Close a channel with the best package we hold. The worker does it; nothing more is accepted meanwhile."""
    command = run(_close(aa_address, timeout if wait else 0))
    if command.state is CommandState.FAILED:
        raise CommandError(command.error or "the worker could not close the channel")
    if wait and command.state is not CommandState.SUCCEEDED:
        raise CommandError(f"command {command.id} is still {command.state}: is a worker running?")
    fields = {"command": str(command.id), "state": command.state.value, **(command.result or {})}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


async def _close(aa_address: str, timeout_s: float) -> Command:
    from shared.store import channels, commands

    async with open_database(read_settings()) as database:
        async with database.transaction() as conn:
            if not await channels.find(conn, [aa_address]):
                raise CommandError(f"there is no channel {aa_address}")
            command = await commands.insert(
                conn, "close", {}, idempotency_key=f"cli-{uuid.uuid4()}", aa_address=aa_address
            )
        # The worker looks for commands every second; it need not be called.
        deadline = time.monotonic() + timeout_s
        while command.state in {CommandState.QUEUED, CommandState.RUNNING} and time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            async with database.connection() as conn:
                command = await commands.get(conn, command.id) or command
        return command


async def _page(limit: int) -> list[StoredChannel]:
    from shared.store import channels

    async with open_database(read_settings()) as database, database.connection() as conn:
        return await channels.page(conn, limit=limit)


async def _find(aa_address: str) -> StoredChannel | None:
    from shared.store import channels

    async with open_database(read_settings()) as database, database.connection() as conn:
        return (await channels.find(conn, [aa_address])).get(aa_address)


def _fields(stored: StoredChannel) -> dict[str, object]:
    # The claim is a bearer secret: it is no part of what is read here, and no part of what is shown either.
    channel = {name: value for name, value in dataclasses.asdict(stored.channel).items() if name != "claim"}
    return {
        **channel,
        "status": stored.channel.status.value,
        "salt": stored.salt,
        "version": stored.version,
        "peer_url": stored.peer_url,
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
    }
