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


def up(fronts: Fronts = 1) -> None:
    """Run everything on this machine until Ctrl-C: Postgres, Redis, local ledger, worker and fronts.

    Servers named by SLUICE_DATABASE_URL and SLUICE_REDIS_URL are used as they are; the others are embedded.
    """
    run(_up(read_settings(attach=False), fronts))


async def _up(settings: Settings, fronts: int) -> None:
    from rich.console import Console

    from sluice.machine.progress import Steps
    from sluice.machine.supervisor import Stack

    console = Console(highlight=False)
    stop_on_signals()
    try:
        async with Stack(settings, fronts=fronts, progress=Steps(console)) as stack:
            console.print(f"\n[bold]Sluice runs[/] on {stack.url} (API: {stack.url}docs)")
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
