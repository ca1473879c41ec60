"""`sluice commands …`: what became of what the worker was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.asking import Timeout, outcome_of, watch
from sluice.cli.common import (
    AsJson,
    CommandError,
    group,
    open_database,
    print_fields,
    print_json,
    read_settings,
    run,
)

if TYPE_CHECKING:
    from shared.store.commands import Command

Number = Annotated[int, typer.Argument(metavar="COMMAND", min=1, help="Its number, as told when it was ordered.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    commands = group("commands", "What the worker was asked for.")
    commands.command(epilog="Example: sluice commands show 12")(show)
    commands.command(epilog="Example: sluice commands wait 12 --timeout 600")(wait)
    app.add_typer(commands)


def show(command: Number, as_json: AsJson = False) -> None:
    """Show what was ordered, and how far it is."""
    found = run(_find(command))
    fields: dict[str, Any] = {
        "command": found.id,
        "kind": found.kind,
        "channel": found.aa_address,
        "state": found.state.value,
        "error": found.error,
        "attempts": found.attempts,
        "ordered": found.created_at,
        "finished": found.finished_at,
    }
    if as_json:
        print_json({**fields, "result": found.result})
    else:
        print_fields({**fields, **(found.result or {})})


def wait(command: Number, timeout: Timeout = 60, as_json: AsJson = False) -> None:
    """Wait for the outcome of an order and print it as the ordering command does.

    Exit status 1 if it has failed, 3 if it is still under way.
    """
    fields = run(_wait(command, timeout))
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


async def _find(number: int) -> Command:
    from shared.store import commands

    async with open_database(read_settings()) as database, database.connection() as conn:
        found = await commands.get(conn, number)
    if found is None:
        raise CommandError(f"there is no command {number}")
    return found


async def _wait(number: int, wait_s: float) -> dict[str, Any]:
    command = await _find(number)
    async with open_database(read_settings()) as database:
        return outcome_of(await watch(database, command, wait_s), has_waited=True)
