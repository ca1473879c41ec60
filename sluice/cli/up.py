"""`sluice up`: everything on this machine."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import read_settings, run

if TYPE_CHECKING:
    from shared.settings import Settings

Fronts = Annotated[int, typer.Option(min=1, max=64, help="Front processes; they share one port.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice up --fronts 2")(up)


def up(
    fronts: Fronts = 1,
    rpc: Annotated[bool, typer.Option("--rpc", help="JSON-RPC on loopback without a key, on SLUICE_RPC_PORT.")] = False,
    rpc_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The same on this port. Anyone on this machine may spend there."),
    ] = None,
) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, Redis, local ledger, worker and fronts.

    Servers named by SLUICE_DATABASE_URL and SLUICE_REDIS_URL are used as they are; the others are embedded.
    """
    settings = read_settings(attach=False)
    run(_up(settings, fronts, rpc_port or (settings.rpc_port if rpc else None)))


async def _up(settings: Settings, fronts: int, rpc_port: int | None) -> None:
    from rich.console import Console

    from sluice.machine.progress import Steps
    from sluice.machine.supervisor import Stack

    console = Console(highlight=False)
    stop_on_signals()
    try:
        async with Stack(settings, fronts=fronts, rpc_port=rpc_port, progress=Steps(console)) as stack:
            console.print(f"\n[bold]Sluice runs[/] on {stack.url} (API: {stack.url}docs)")
            if rpc_port is not None:
                console.print(f"JSON-RPC without a key, for all programs of this machine: http://127.0.0.1:{rpc_port}/")
            console.print("next, in another terminal: sluice doctor; docs/running.md: Pay yourself")
            console.print(f"logs are in {settings.home / 'logs'}; Ctrl-C stops everything", soft_wrap=True)
            try:
                await stack.watch()
            finally:
                console.print("stopping")
    except asyncio.CancelledError:
        console.print("stopped")


def stop_on_signals() -> None:
    """Let Ctrl-C and SIGTERM cancel the current task, so that it stops what it started."""
    task = asyncio.current_task()
    if task is not None:
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
