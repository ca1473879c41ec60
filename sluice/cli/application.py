"""The tree of commands."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any

import typer

from sluice.cli import (
    audit,
    channels,
    commands,
    completion,
    demo,
    devices,
    devnet,
    doctor,
    keys,
    pay,
    payments,
    relay,
    requests,
    serve,
    up,
    wallet,
    webhooks,
)
from sluice.cli.common import Commands

_PANELS = {
    "Start here": ("demo", "up", "doctor"),
    "Be paid and pay": ("channels", "payments", "requests", "pay", "resend", "wallet", "devices"),
    "Look after it": ("audit", "commands", "keys", "webhooks", "completion"),
    "Run one part": ("front", "worker", "devnet", "relay", "migrate"),
}
"""How `sluice --help` groups the commands."""


class _Root(Commands):
    """Groups the commands in `sluice --help`; who is not named in a group comes last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, group by group."""
        order = [name for names in _PANELS.values() for name in names]
        known = super().list_commands(ctx)
        return sorted(known, key=lambda name: order.index(name) if name in order else len(order))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command with the title of its group."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.rich_help_panel = next((panel for panel, names in _PANELS.items() if cmd_name in names), None)
        return command


app = typer.Typer(
    name="sluice",
    cls=_Root,
    help="A high-availability receiver for off-chain payments.",
    epilog="Start here: `sluice demo` tells the whole story, `sluice up` runs everything on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
demo.register(app)
up.register(app)
serve.register(app)
relay.register(app)
for group in (devnet, wallet, keys, channels, payments, requests, commands, devices):
    group.register(app)
pay.register(app)
doctor.register(app)
audit.register(app)
webhooks.register(app)
completion.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sluice {version('sluice')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Read the options that come before a command."""


def main() -> None:
    """Run the command line, or complete a line of it for a shell (`sluice.cli.completion`).

    Exit status: 0 done; 1 failed (one line on stderr says why), or a check found a fault; 2 wrong usage; 3 the outcome
    is not known: it may still happen, or have happened; 130 interrupted.
    """
    if completion.VARIABLE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    app(prog_name=completion.PROGRAM, args=sys.argv[1:])
