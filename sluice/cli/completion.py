"""`sluice completion`: the script that lets a shell complete commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

PROGRAM = "sluice"
VARIABLE = "_SLUICE_COMPLETE"
"""In this variable the script says what it wants: the program then completes instead of running a command."""


class Shell(StrEnum):
    """Shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: sluice completion bash > ~/.local/share/bash-completion/completions/sluice")(
        completion
    )


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print the script that completes commands and options in a shell.

    `source <(sluice completion bash)` tries it. To keep it, write it to a file that the shell reads: for zsh `_sluice`
    in a directory of its fpath, for fish `~/.config/fish/completions/sluice.fish`.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    typer.echo(get_completion_script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell.value))
