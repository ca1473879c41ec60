"""`sluice demo`: the whole story on this machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from sluice.cli.common import read_settings, run
from sluice.cli.up import Fronts, stop_on_signals

if TYPE_CHECKING:
    from shared.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice demo --payments 200")(demo)


def demo(
    fronts: Fronts = 2,
    payments: Annotated[int, typer.Option(min=1, max=10_000, help="How many payments to stream.")] = 1_000,
) -> None:
    """Start everything, open a channel, stream payments through all fronts, close it, and add up the books."""
    run(_demo(read_settings(attach=False), fronts, payments))


async def _demo(settings: Settings, fronts: int, payments: int) -> None:
    from sluice.demo import run as tell

    stop_on_signals()
    try:
        await tell(settings, fronts=fronts, payments=payments)
    except asyncio.CancelledError:
        # Unlike `sluice up`, a story that was interrupted did not end well.
        raise typer.Exit(130) from None
