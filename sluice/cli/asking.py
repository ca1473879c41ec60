"""Asking the worker for something from the command line: a row in `commands`, and what became of it."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluice.cli.common import CommandError, OutcomeUnknownError, open_database, read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.orders import Order
    from shared.store.commands import Command
    from shared.store.database import Database

POLL_S = 0.25

Key = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="Name what the worker is asked for: the same request under the same name is done once."
    ),
]
Wait = Annotated[bool, typer.Option(help="Wait until the hub has the unit.")]
Timeout = Annotated[float, typer.Option(min=1, metavar="SECONDS", help="Wait at most this long.")]


class OrderFailedError(CommandError):
    """The worker could not do what it was asked for; `result` is what there is to know beside the reason."""

    def __init__(self, error: str, result: Mapping[str, Any]) -> None:
        super().__init__(error)
        self.result = result


async def ask_worker(
    order: type[Order],
    params: Mapping[str, Any],
    *,
    aa_address: str | None = None,
    key: str | None = None,
    wait_s: float,
) -> dict[str, Any]:
    """Queue an order and wait for its outcome; the worker looks every second, so it need not be called.

    Returns `command`, `state` and the fields of the result. Raises OrderFailedError, OutcomeUnknownError, OrderError
    for wrong parameters, IdempotencyConflictError when another request has that key.
    """
    from shared.orders import read_order
    from shared.store import commands

    read_order(order, params)
    async with open_database(read_settings()) as database:
        async with database.transaction() as conn:
            command = await commands.insert(
                conn, order.kind, params, idempotency_key=key or f"cli-{uuid.uuid4()}", aa_address=aa_address
            )
        command = await watch(database, command, wait_s)
    return outcome_of(command, has_waited=wait_s > 0)


async def watch(database: Database, command: Command, wait_s: float) -> Command:
    """Return the command as it is when it has ended, or after `wait_s`. Raises OutcomeUnknownError."""
    from shared.store import commands
    from shared.store.errors import StoreError

    deadline = time.monotonic() + wait_s
    while command.finished_at is None and time.monotonic() < deadline:
        await asyncio.sleep(POLL_S)
        try:
            async with database.connection() as conn:
                seen = await commands.get(conn, command.id) or command
        except StoreError as error:
            raise OutcomeUnknownError(f"command {command.id} was ordered; what became of it: {error}") from error
        if seen.state is not command.state and seen.finished_at is None:
            typer.echo(f"command {command.id} is {seen.state.value}", err=True)
        command = seen
    return command


def outcome_of(command: Command, *, has_waited: bool) -> dict[str, Any]:
    """Return `command`, `state` and the fields of the result. Raises OrderFailedError, OutcomeUnknownError."""
    if command.error is not None:
        raise OrderFailedError(command.error, command.result or {})
    if command.finished_at is None and has_waited:
        raise OutcomeUnknownError(
            f"command {command.id} is still {command.state.value}: it goes on; is a worker running? "
            f"`sluice commands wait {command.id}` waits for the outcome"
        )
    return {"command": command.id, "state": command.state.value, **(command.result or {})}
